package bolt

import (
	"context"
	"iter"
	"sort"
	"strings"
	"sync"

	bbolt "go.etcd.io/bbolt"

	"mctl/internal/controller/store"
	"mctl/internal/fault"
)

// How many changes are kept for watchers, and how many bytes of keys and values; one that is further behind must list anew.
const (
	maxHistory      = 8192
	maxHistoryBytes = 16 << 20
)

// broadcast keeps the newest changes of this process and wakes watchers, who read them at their own pace. It misses none,
// since the file is locked to this one process. A slow watcher holds nobody up: it falls out of the history.
type broadcast struct {
	mu      sync.Mutex
	history []store.Change // oldest first; what is in it is never changed, since watchers read it without the lock
	bytes   int            // of keys and values in history
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
	for _, change := range changes {
		b.bytes += weight(change)
	}
	for len(b.history) > maxHistory || b.bytes > maxHistoryBytes {
		b.oldest = b.history[0].Revision
		b.bytes -= weight(b.history[0])
		b.history = b.history[1:] // append moves what is left to a new array when this one is used up
	}
	close(b.wake)
	b.wake = make(chan struct{})
}

func weight(change store.Change) int { return len(change.Key) + len(change.Value) }

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
		return nil, nil, errResync("that revision is too old to watch from")
	}
	first := sort.Search(len(b.history), func(i int) bool { return b.history[i].Revision > revision })
	return b.history[first:len(b.history):len(b.history)], b.wake, nil
}

func errResync(sentence string) error {
	return fault.New("bolt.Watch", fault.Resync, "", sentence).WithHint("list again")
}

// Watch implements store.Store. A revision that is yet to come ends with fault.Resync too: it is of a store that was there
// before this one's backup was put back.
func (s *Store) Watch(ctx context.Context, prefix string, from store.Revision) iter.Seq2[store.Change, error] {
	return func(yield func(store.Change, error) bool) {
		if err := s.reached(from); err != nil {
			yield(store.Change{}, err)
			return
		}
		for at := from; ctx.Err() == nil; {
			changes, wake, err := s.watches.after(at)
			if err != nil {
				yield(store.Change{}, err)
				return
			}
			for _, change := range changes {
				at = change.Revision
				if strings.HasPrefix(change.Key, prefix) && (ctx.Err() != nil || !yield(change, nil)) {
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

func (s *Store) reached(from store.Revision) error {
	return s.read(func(tx *bbolt.Tx) error {
		if from > readRevision(tx) {
			return errResync("that revision is yet to come")
		}
		return nil
	})
}
