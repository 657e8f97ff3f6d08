package event

import (
	"context"
	"iter"
	"sync"

	"mctl/internal/fault"
)

// capacity is how many events are kept.
const capacity = 10_000

// Journal keeps the newest events and wakes watchers, who read at their own pace: one that is slow holds nobody up and
// falls out of what is kept. It is safe for use at the same time.
type Journal struct {
	mu     sync.Mutex
	events []Event // oldest first, without gaps in their sequence
	last   uint64
	wake   chan struct{}
}

// NewJournal makes an empty journal.
func NewJournal() *Journal { return &Journal{wake: make(chan struct{})} }

// Emit keeps an event and gives it the next sequence. It never blocks.
func (j *Journal) Emit(e Event) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.last++
	e.Sequence = j.last
	if len(j.events) >= 2*capacity {
		j.events = append([]Event(nil), j.events[capacity:]...)
	}
	j.events = append(j.events, e)
	close(j.wake)
	j.wake = make(chan struct{})
}

// Last returns the sequence of the newest event: watching after it sees only what is to come.
func (j *Journal) Last() uint64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.last
}

// Watch yields the events after a sequence that are kept, then, with follow, each new one until ctx ends. A watcher that
// falls behind what is kept gets fault.Resync. Sequences begin anew with each process: one from the future counts as none.
func (j *Journal) Watch(ctx context.Context, after uint64, follow bool) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		started := false
		for {
			events, wake, err := j.after(after, started)
			if err != nil {
				yield(Event{}, err)
				return
			}
			for _, e := range events {
				after = e.Sequence
				if !yield(e, nil) {
					return
				}
			}
			started = true
			if len(events) > 0 {
				continue
			}
			if !follow {
				return
			}
			select {
			case <-ctx.Done():
				return
			case <-wake:
			}
		}
	}
}

func (j *Journal) after(sequence uint64, started bool) ([]Event, <-chan struct{}, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if sequence > j.last {
		sequence = 0
	}
	first := j.last - uint64(len(j.events)) // sequence before the oldest that is kept
	if sequence < first {
		if started {
			return nil, nil, fault.New("event.Watch", fault.Resync, "", "events were missed because they were read too slowly").
				WithHint("watch again from the last sequence seen")
		}
		sequence = first
	}
	return j.events[sequence-first : len(j.events) : len(j.events)], j.wake, nil
}
