package event

import (
	"context"
	"iter"
	"sync"
	"time"

	"mctl/internal/fault"
)

// How much is kept: events, and bytes of what they say, since hosts may say much.
const (
	capacity = 10_000
	maxBytes = 16 << 20
)

// Journal keeps the newest events and wakes watchers, who read at their own pace: one that is slow holds nobody up and
// falls out of what is kept. It is safe for use at the same time.
type Journal struct {
	mu     sync.Mutex
	events []Event // oldest first, without gaps in their sequence; never changed, since watchers read it without the lock
	bytes  int     // of events
	last   uint64
	wake   chan struct{}
}

// NewJournal makes an empty journal. Its sequences begin at the microsecond of the start, so they are greater than those of
// any process before it: who watches on over a restart misses nothing of what the new one tells.
func NewJournal(started time.Time) *Journal {
	return &Journal{last: uint64(max(0, started.UnixMicro())), wake: make(chan struct{})}
}

// Emit keeps an event and gives it the next sequence. It never blocks.
func (j *Journal) Emit(e Event) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.last++
	e.Sequence = j.last
	j.events = append(j.events, e)
	j.bytes += weight(e)
	for len(j.events) > capacity || j.bytes > maxBytes {
		j.bytes -= weight(j.events[0])
		j.events = j.events[1:] // append moves what is left to a new array when this one is used up
	}
	close(j.wake)
	j.wake = make(chan struct{})
}

func weight(e Event) int {
	size := len(e.Machine) + len(e.UID) + len(e.Type) + len(e.Message)
	for key, value := range e.Attributes {
		size += len(key) + len(value)
	}
	return size
}

// Watch yields the events after a sequence that are kept, then, with follow, each new one until ctx ends. A watcher that
// falls behind what is kept gets fault.Resync. A sequence from the future, as of a clock that was set back, counts as none.
func (j *Journal) Watch(ctx context.Context, after uint64, follow bool) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		after := j.begin(after)
		for {
			events, wake, err := j.after(after)
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

// begin is the sequence after which a watch that asks for those after a sequence begins.
func (j *Journal) begin(after uint64) uint64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	if first := j.first(); after < first || after > j.last {
		return first
	}
	return after
}

// first is the sequence before the oldest event that is kept. The lock is held.
func (j *Journal) first() uint64 { return j.last - uint64(len(j.events)) }

// after returns the events after a sequence, and what to wait on when there are none.
func (j *Journal) after(sequence uint64) ([]Event, <-chan struct{}, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	first := j.first()
	if sequence < first {
		return nil, nil, fault.New("event.Watch", fault.Resync, "", "events were missed because they were read too slowly").
			WithHint("watch again from the last sequence seen")
	}
	return j.events[sequence-first : len(j.events) : len(j.events)], j.wake, nil
}
