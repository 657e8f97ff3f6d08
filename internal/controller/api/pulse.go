package api

import "sync"

// pulse tells watchers which machines' live facts changed. Each watcher has a set of names, not a queue, so it is bounded
// by the number of machines however slowly it is read.
type pulse struct {
	mu       sync.Mutex
	watchers map[*beat]struct{}
}

// beat is one watcher's set.
type beat struct {
	health bool // it also wants to know of mere reports
	mu     sync.Mutex
	names  map[string]struct{}
	wake   chan struct{}
}

func newPulse() *pulse { return &pulse{watchers: map[*beat]struct{}{}} }

// touch tells of a machine whose facts changed; mere says that nothing but the figures of its health did.
func (p *pulse) touch(name string, mere bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for b := range p.watchers {
		if mere && !b.health {
			continue
		}
		b.mu.Lock()
		b.names[name] = struct{}{}
		b.mu.Unlock()
		select {
		case b.wake <- struct{}{}:
		default:
		}
	}
}

// join adds a watcher, of every report of health too where it wants that; leave removes it.
func (p *pulse) join(health bool) (b *beat, leave func()) {
	b = &beat{health: health, names: map[string]struct{}{}, wake: make(chan struct{}, 1)}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.watchers[b] = struct{}{}
	return b, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.watchers, b)
	}
}

// take empties the set.
func (b *beat) take() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	names := make([]string, 0, len(b.names))
	for name := range b.names {
		names = append(names, name)
	}
	clear(b.names)
	return names
}
