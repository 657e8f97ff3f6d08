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
	mu    sync.Mutex
	names map[string]struct{}
	wake  chan struct{}
}

func newPulse() *pulse { return &pulse{watchers: map[*beat]struct{}{}} }

func (p *pulse) touch(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for b := range p.watchers {
		b.mu.Lock()
		b.names[name] = struct{}{}
		b.mu.Unlock()
		select {
		case b.wake <- struct{}{}:
		default:
		}
	}
}

// join adds a watcher; leave removes it.
func (p *pulse) join() (b *beat, leave func()) {
	b = &beat{names: map[string]struct{}{}, wake: make(chan struct{}, 1)}
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
