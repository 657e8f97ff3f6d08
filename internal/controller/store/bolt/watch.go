package bolt

import (
	"context"
	"iter"
	"strings"
	"sync"

	"mctl/internal/controller/store"
	"mctl/internal/fault"
)

// maxHistory is how many changes are kept for watchers; one that is further behind must list anew.
const maxHistory = 8192

// broadcast keeps the newest changes of this process and wakes watchers, who read them at their own pace. A slow watcher
// holds nobody up: it falls out of the history.
type broadcast struct {
	mu      sync.Mutex
	history []store.Change // oldest first
	oldest  store.Revision // every change after it is in history
	wake    chan struct{}  // closed and replaced by each send
	closed  bool
}

func newBroadcast(revision store.Revision) *broadcast {
	return &broadcast{oldest: revision, wake: make(chan struct{})}
}

func (b *broadcast) send(changes []store.Change) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.history = append(b.history, changes...)
	if over := len(b.history) - maxHistory; over > 0 {
		b.oldest = b.history[over-1].Revision
		b.history = append([]store.Change(nil), b.history[over:]...)
	}
	close(b.wake)
	b.wake = make(chan struct{})
}

func (b *broadcast) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	close(b.wake)
	b.wake = make(chan struct{})
}

// after returns the changes that follow a revision, and what to wait on when there are none.
func (b *broadcast) after(revision store.Revision) ([]store.Change, <-chan struct{}, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil, nil, errClosed()
	}
	if revision < b.oldest {
		return nil, nil, fault.New("bolt.Watch", fault.Resync, "", "that revision is too old to watch from").WithHint("list again")
	}
	low, high := 0, len(b.history)
	for low < high {
		if middle := (low + high) / 2; b.history[middle].Revision <= revision {
			low = middle + 1
		} else {
			high = middle
		}
	}
	return b.history[low:len(b.history):len(b.history)], b.wake, nil
}

// Watch implements store.Store.
func (s *Store) Watch(ctx context.Context, prefix string, from store.Revision) iter.Seq2[store.Change, error] {
	return func(yield func(store.Change, error) bool) {
		for {
			changes, wake, err := s.watches.after(from)
			if err != nil {
				yield(store.Change{}, err)
				return
			}
			for _, change := range changes {
				from = change.Revision
				if strings.HasPrefix(change.Key, prefix) && !yield(change, nil) {
					return
				}
			}
			if len(changes) > 0 {
				continue
			}
			select {
			case <-ctx.Done():
				return
			case <-wake:
			}
		}
	}
}
