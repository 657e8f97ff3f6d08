package link

import (
	"sync"

	"mctl/internal/host"
)

// How many events wait for a controller that is away. Progress is for people who watch now, so it gets less room.
const (
	maxEvents   = 512
	maxProgress = 64
)

// outbox is what waits to be told. It outlives sessions.
type outbox struct {
	ready chan struct{} // something waits

	mu      sync.Mutex
	applied *host.Applied // the newest; kept after it was told
	told    bool          // to the present session
	events  []host.Event
}

func newOutbox() outbox { return outbox{ready: make(chan struct{}, 1)} }

func (o *outbox) report(applied host.Applied) {
	o.mu.Lock()
	o.applied, o.told = &applied, false
	o.mu.Unlock()
	signal(o.ready)
}

func (o *outbox) emit(e host.Event) {
	o.mu.Lock()
	limit := maxEvents
	if e.Type == host.EventProgress {
		limit = maxProgress
	}
	switch {
	case len(o.events) < limit:
		o.events = append(o.events, e)
	case e.Type == host.EventProgress: // it is for those who watch
	default:
		o.makeRoom()
		o.events = append(o.events, e)
	}
	o.mu.Unlock()
	signal(o.ready)
}

// makeRoom drops the oldest progress, or, without any, the oldest of all.
func (o *outbox) makeRoom() {
	at := 0
	for i, e := range o.events {
		if e.Type == host.EventProgress {
			at = i
			break
		}
	}
	o.events = append(o.events[:at], o.events[at+1:]...)
}

// begin is the start of a session: all that is known of a wish goes into its Hello. A release is said once more in a
// message of its own, since that is what the controller answers.
func (o *outbox) begin() *host.Applied {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.told = o.applied == nil || !o.applied.Released
	signal(o.ready)
	return o.applied
}

// take returns what is to be told next: the newest Applied first, else the oldest event, else nothing.
func (o *outbox) take() (*host.Applied, *host.Event) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.applied != nil && !o.told {
		o.told = true
		return o.applied, nil
	}
	if len(o.events) == 0 {
		return nil, nil
	}
	first := o.events[0]
	o.events = o.events[1:]
	return nil, &first
}

// putBack returns an event whose sending failed.
func (o *outbox) putBack(e host.Event) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.events) < maxEvents {
		o.events = append([]host.Event{e}, o.events...)
	}
}

// released reports whether the last word was said.
func (o *outbox) released() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.applied != nil && o.applied.Released && o.told
}
