package reconcile

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"mctl/internal/fault"
)

// Result says when a key wants its next step. The zero value waits for something to happen.
type Result struct {
	Again bool          // at once
	After time.Duration // after a delay; zero for none
}

// Config is what a loop needs.
type Config struct {
	// Step does one step for a key. An error makes it wait with growing pauses.
	Step func(ctx context.Context, key string) (Result, error)
	// Keys lists every key, for the first pass and each resync.
	Keys   func(ctx context.Context) ([]string, error)
	Logger hclog.Logger
	// Workers is how many keys are stepped at a time; zero means 1000. Most of a step's time is waiting for others, for a
	// host that does not answer minutes, so few workers would have every other key wait with it.
	Workers int
	// Resync is how often every key is stepped in any case, but those that pause after an error; zero means 30 s.
	Resync time.Duration
	// FirstPause and LastPause bound the pause after an error; zero means 1 s and 60 s.
	FirstPause, LastPause time.Duration
}

// Loop steps keys.
type Loop struct {
	config Config
	queue  *queue
	mu     sync.Mutex
	failed map[string]int // errors in a row by key
}

// New makes a loop. It does nothing until Run.
func New(config Config) *Loop {
	if config.Workers == 0 {
		config.Workers = 1000
	}
	if config.Resync == 0 {
		config.Resync = 30 * time.Second
	}
	if config.FirstPause == 0 {
		config.FirstPause = time.Second
	}
	if config.LastPause == 0 {
		config.LastPause = time.Minute
	}
	return &Loop{config: config, queue: newQueue(), failed: map[string]int{}}
}

// Add asks for a step of key soon. It never blocks and may be repeated.
func (l *Loop) Add(key string) { l.queue.add(key) }

// Busy counts the keys that are stepped or wait for a worker.
func (l *Loop) Busy() int { return l.queue.busy() }

// Run steps keys until ctx ends, then waits for the steps under way, whose contexts have ended too.
func (l *Loop) Run(ctx context.Context) error {
	var steps sync.WaitGroup
	defer steps.Wait()
	defer l.queue.close()
	l.resync(ctx)
	ticker := time.NewTicker(l.config.Resync)
	defer ticker.Stop()
	free := make(chan struct{}, l.config.Workers)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			l.resync(ctx)
			continue
		case <-l.queue.wake:
		}
		select {
		case <-ctx.Done():
			return nil
		case free <- struct{}{}:
		}
		key, ok := l.queue.take()
		if !ok {
			<-free
			continue
		}
		steps.Go(func() {
			defer func() { <-free }()
			l.step(ctx, key)
		})
	}
}

func (l *Loop) step(ctx context.Context, key string) {
	result, err := l.guarded(ctx, key)
	// A key is free before it is asked for again, or the wish would count as made during the work.
	l.queue.done(key)
	switch {
	case err != nil && ctx.Err() != nil:
	case err != nil:
		pause := l.pause(l.countFailure(key))
		l.config.Logger.Info("step failed", "key", key, "error", err, "op", fault.OpOf(err), "retry_in", pause)
		l.queue.addAfter(key, pause)
	default:
		l.forgetFailures(key)
		if result.Again {
			l.queue.add(key)
		} else if result.After > 0 {
			l.queue.addAfter(key, result.After)
		}
	}
}

// guarded turns a panic of one step into an error, so that one machine can't stop all the others.
func (l *Loop) guarded(ctx context.Context, key string) (result Result, err error) {
	defer func() {
		if p := recover(); p != nil {
			l.config.Logger.Error("step panicked", "key", key, "panic", p, "stack", hclog.Stacktrace())
			err = fault.New("reconcile.Step", fault.Internal, key, "internal error, see the controller's log")
		}
	}()
	return l.config.Step(ctx, key)
}

func (l *Loop) resync(ctx context.Context) {
	keys, err := l.config.Keys(ctx)
	if err != nil && ctx.Err() == nil {
		l.config.Logger.Error("resync failed", "error", err)
	}
	for _, key := range keys {
		// One that failed comes back by itself. Asked for here, all of them would come back together.
		if !l.failing(key) {
			l.queue.add(key)
		}
	}
}

// pause doubles with each failure in a row, and is spread over half of its length so that keys which failed together do
// not come back together.
func (l *Loop) pause(failures int) time.Duration {
	pause := l.config.FirstPause << min(failures-1, 16)
	pause = min(pause, l.config.LastPause)
	return pause/2 + rand.N(pause/2+1)
}

func (l *Loop) countFailure(key string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failed[key]++
	return l.failed[key]
}

func (l *Loop) failing(key string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.failed[key] > 0
}

func (l *Loop) forgetFailures(key string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.failed, key)
}
