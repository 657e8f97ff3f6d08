package google

import (
	"context"
	"maps"
	"sync"
	"time"

	"mctl/internal/fault"
)

// rules knows which firewall rules machines are being made for, so that the removal of the last machine does not take them away from the
// next one. It is about one process alone: what was made is asked for anew.
type rules struct {
	mu     sync.Mutex
	held   map[hold]time.Time   // until when; the zero time while it is made
	seen   map[string]time.Time // when a rule was last seen to be there
	making map[string]*turn     // by rule: each is made or removed by one call at a time
}

func newRules() rules {
	return rules{held: map[hold]time.Time{}, seen: map[string]time.Time{}, making: map[string]*turn{}}
}

// hold is a machine that is being made, and where its rules are.
type hold struct {
	controller, uid, endpoint, project string
}

// ruleKey tells rules of all clouds apart.
func (c *call) ruleKey(name string) string {
	return c.Place.Endpoint + " " + c.Network.Project + "/" + name
}

func (c *call) hold(uid string) hold {
	return hold{c.m.ControllerID, uid, c.Place.Endpoint, c.Network.Project}
}

// turn is a lock that a context can give up on, and how many have it or wait for it.
type turn struct {
	taken chan struct{}
	users int
}

func (r *rules) lock(ctx context.Context, key string) (unlock func(), err error) {
	r.mu.Lock()
	found := r.making[key]
	if found == nil {
		found = &turn{taken: make(chan struct{}, 1)}
		r.making[key] = found
	}
	found.users++
	r.mu.Unlock()
	leave := func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if found.users--; found.users == 0 {
			delete(r.making, key)
		}
	}
	select {
	case <-ctx.Done():
		leave()
		return nil, fault.E("google", fault.Unavailable, "", ctx.Err())
	case found.taken <- struct{}{}:
		return func() { <-found.taken; leave() }, nil
	}
}

// fresh reports whether a rule was seen to be there just now.
func (r *rules) fresh(key string, settle time.Duration) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	maps.DeleteFunc(r.seen, func(_ string, at time.Time) bool { return time.Since(at) >= settle })
	_, seen := r.seen[key]
	return seen
}

func (r *rules) see(key string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen[key] = time.Now()
}

func (r *rules) forget(key string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.seen, key)
}

// use keeps the controller's rules while a machine is made and for as long afterwards as it may be missing from lists.
func (r *rules) use(c *call) (done func()) {
	if len(c.SourceRanges) == 0 {
		return func() {} // it has none
	}
	key := c.hold(c.m.UID)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.held[key] = time.Time{}
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.held[key] = time.Now().Add(c.Limits.Settle)
		maps.DeleteFunc(r.held, func(_ hold, until time.Time) bool { return !until.IsZero() && until.Before(time.Now()) })
	}
}

// release ends what use began, for a machine that is being removed.
func (r *rules) release(of hold) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.held, of)
}

// others reports whether another machine of the controller is being made or was only just made.
func (r *rules) others(c *call) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	mine := c.hold(c.m.UID)
	for key, until := range r.held {
		key.uid = mine.uid
		if key == mine && (until.IsZero() || until.After(time.Now())) {
			return true
		}
	}
	return false
}
