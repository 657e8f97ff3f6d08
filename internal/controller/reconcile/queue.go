// Package reconcile decides when a key is stepped: at once when something happened to it, later when a step asks for it or
// failed, and now and then in any case. It never steps one key twice at a time, and knows nothing of what a step does.
package reconcile

import (
	"sync"
	"time"
)

// queue holds keys that wait for a worker. A key added while it is worked on comes back afterwards, once.
type queue struct {
	mu      sync.Mutex
	ready   []string
	waiting map[string]bool // in ready
	working map[string]bool
	dirty   map[string]bool // added while working
	timers  map[string]*time.Timer
	closed  bool
	wake    chan struct{} // holds one token while ready is not empty
}

func newQueue() *queue {
	return &queue{
		waiting: map[string]bool{},
		working: map[string]bool{},
		dirty:   map[string]bool{},
		timers:  map[string]*time.Timer{},
		wake:    make(chan struct{}, 1),
	}
}

// add makes key ready now.
func (q *queue) add(key string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.addLocked(key)
}

func (q *queue) addLocked(key string) {
	if timer, ok := q.timers[key]; ok {
		timer.Stop()
		delete(q.timers, key)
	}
	switch {
	case q.closed || q.waiting[key]:
	case q.working[key]:
		q.dirty[key] = true
	default:
		q.waiting[key] = true
		q.ready = append(q.ready, key)
		q.signal()
	}
}

// addAfter makes key ready after a delay, unless it is ready sooner for another reason.
func (q *queue) addAfter(key string, delay time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed || q.waiting[key] || q.dirty[key] || q.timers[key] != nil {
		return
	}
	q.timers[key] = time.AfterFunc(delay, func() { q.add(key) })
}

// take returns a ready key and marks it as worked on.
func (q *queue) take() (string, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed || len(q.ready) == 0 {
		return "", false
	}
	key := q.ready[0]
	q.ready = q.ready[1:]
	delete(q.waiting, key)
	q.working[key] = true
	if len(q.ready) > 0 {
		q.signal()
	}
	return key, true
}

// done ends the work on key.
func (q *queue) done(key string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.working, key)
	if q.dirty[key] {
		delete(q.dirty, key)
		q.addLocked(key)
	}
}

// busy counts the keys that are worked on or wait for a worker.
func (q *queue) busy() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.working) + len(q.ready)
}

func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	for key, timer := range q.timers {
		timer.Stop()
		delete(q.timers, key)
	}
}

func (q *queue) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}
