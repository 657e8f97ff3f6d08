// Package rules knows which firewall rules machines are being made for, so that the removal of the last machine does not take them away
// from the next one. It is about one process alone: what was made is asked for anew.
package rules

import (
	"context"
	"maps"
	"sync"
	"time"

	"mctl/internal/fault"
)

// Place is where a controller's rules are.
type Place struct{ Controller, Endpoint, Project string }

// Rule is one of them, by name.
type Rule struct {
	Place
	Name string
}

// Book is what is known. Its methods are safe for use at the same time.
type Book struct {
	settle time.Duration // how long what was made may be missing from lists
	mu     sync.Mutex
	held   map[hold]time.Time // until when; the zero time while it is made
	seen   map[Rule]time.Time // when a rule was last seen to be there
	making map[Rule]*turn
}

// hold is a machine that is being made, by its uid, and where its rules are.
type hold struct {
	Place
	machine string
}

// turn is a lock that a context can give up on, and how many have it or wait for it.
type turn struct {
	taken chan struct{}
	users int
}

// New makes an empty book. settle is how long what was made may be missing from lists.
func New(settle time.Duration) *Book {
	return &Book{settle: settle, held: map[hold]time.Time{}, seen: map[Rule]time.Time{}, making: map[Rule]*turn{}}
}

// Lock waits for the caller's turn with a rule, which is made or removed by one call at a time. fault.Unavailable when ctx ends first.
func (b *Book) Lock(ctx context.Context, rule Rule) (unlock func(), err error) {
	b.mu.Lock()
	found := b.making[rule]
	if found == nil {
		found = &turn{taken: make(chan struct{}, 1)}
		b.making[rule] = found
	}
	found.users++
	b.mu.Unlock()
	leave := func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		if found.users--; found.users == 0 {
			delete(b.making, rule)
		}
	}
	select {
	case <-ctx.Done():
		leave()
		return nil, fault.E("rules.Lock", fault.Unavailable, rule.Name, ctx.Err())
	case found.taken <- struct{}{}:
		return func() { <-found.taken; leave() }, nil
	}
}

// Fresh reports whether a rule was seen to be there just now.
func (b *Book) Fresh(rule Rule) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	maps.DeleteFunc(b.seen, func(_ Rule, at time.Time) bool { return time.Since(at) >= b.settle })
	_, seen := b.seen[rule]
	return seen
}

// See notes that a rule is there, Forget that it is not.
func (b *Book) See(rule Rule) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.seen[rule] = time.Now()
}

// Forget is the opposite of See.
func (b *Book) Forget(rule Rule) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.seen, rule)
}

// Use keeps the rules of a place while a machine is made and for as long afterwards as it may be missing from lists.
func (b *Book) Use(place Place, machine string) (done func()) {
	key := hold{place, machine}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.held[key] = time.Time{}
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.held[key] = time.Now().Add(b.settle)
		maps.DeleteFunc(b.held, func(_ hold, until time.Time) bool { return !until.IsZero() && until.Before(time.Now()) })
	}
}

// Release ends what Use began, for a machine that is being removed.
func (b *Book) Release(place Place, machine string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.held, hold{place, machine})
}

// Others reports whether another machine of the place is being made or was only just made.
func (b *Book) Others(place Place, machine string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for key, until := range b.held {
		if key.Place == place && key.machine != machine && (until.IsZero() || until.After(time.Now())) {
			return true
		}
	}
	return false
}
