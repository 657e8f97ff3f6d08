package cloud

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"time"

	"golang.org/x/time/rate"
	"google.golang.org/api/googleapi"

	"mctl/internal/fault"
)

// Limits of one request, and how often one that failed in passing is made again.
const (
	readLimit  = 10 * time.Second
	writeLimit = time.Minute
	waitLimit  = 3 * time.Minute // the API answers a wait after two
	tries      = 6
	hastyTries = 4
	lastPause  = 10 * time.Second
	// longestPause is how long the API may ask us to stay away.
	longestPause = time.Minute
	// grace is how long a write that was sent is listened for after its caller has gone: an instance that nobody knows of is
	// worse than a late end.
	grace = 10 * time.Second
)

// pace is how fast one project is asked: by all of its callers together, and not at all while the API wants a pause.
type pace struct {
	limiter *rate.Limiter
	mu      sync.Mutex
	resume  time.Time
}

func (p *pace) wait(ctx context.Context) error {
	for {
		p.mu.Lock()
		left := time.Until(p.resume)
		p.mu.Unlock()
		if left <= 0 {
			break
		}
		if err := Pause(ctx, left); err != nil {
			return err
		}
	}
	turn := p.limiter.Reserve()
	err := Pause(ctx, turn.Delay())
	if err != nil {
		turn.Cancel()
	}
	return err
}

func (p *pace) stop(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if until := time.Now().Add(d); until.After(p.resume) {
		p.resume = until
	}
}

// Pause waits, or returns why it was ended.
func Pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// Read asks for something, again where the failure may pass. Errors are faults: fault.NotFound is said by the API itself, never
// by something in between.
func Read[T any](ctx context.Context, c *Client, ask func(ctx context.Context) (T, error)) (T, error) {
	return call(ctx, c, readLimit, ask)
}

// write sends a change. Once it is sent its answer is waited for, whoever gave up meanwhile.
func write[T any](ctx context.Context, c *Client, send func(ctx context.Context) (T, error)) (T, error) {
	return call(ctx, c, writeLimit, func(limited context.Context) (T, error) {
		sent, cancel := context.WithCancel(context.WithoutCancel(limited))
		defer cancel()
		stop := context.AfterFunc(limited, func() {
			timer := time.AfterFunc(grace, cancel)
			context.AfterFunc(sent, func() { timer.Stop() })
		})
		defer stop()
		return send(sent)
	})
}

func call[T any](ctx context.Context, c *Client, limit time.Duration, do func(ctx context.Context) (T, error)) (T, error) {
	var none T
	var last error
	for try := 1; ; try++ {
		if err := c.pace.wait(ctx); err != nil {
			return none, first(last, c.faultOf(err))
		}
		limited, cancel := context.WithTimeout(ctx, limit)
		value, err := do(limited)
		cancel()
		if err == nil {
			return value, nil
		}
		last = c.faultOf(err)
		if ctx.Err() != nil || !c.again(err, last, try) {
			return none, last
		}
		if err := Pause(ctx, c.pauseAfter(err, try)); err != nil {
			return none, last
		}
	}
}

// again reports whether the same request may do better.
func (c *Client) again(err, translated error, try int) bool {
	if !fault.Is(translated, fault.Unavailable) {
		return false
	}
	if c.hasty {
		return try < hastyTries && !errors.Is(err, context.DeadlineExceeded)
	}
	return try < tries
}

// pauseAfter is how long to stay away: as the API asks, for all of the project's callers, else longer each time.
func (c *Client) pauseAfter(err error, try int) time.Duration {
	pause := min(c.Limits.Pause<<(try-1), lastPause)
	pause = pause/2 + rand.N(pause/2+1)
	var answer *googleapi.Error
	if !errors.As(err, &answer) {
		return pause
	}
	if asked := retryAfter(answer.Header); asked > 0 {
		pause = min(asked, longestPause)
	}
	if throttled(answer) {
		c.pace.stop(pause)
	}
	return pause
}

// retryAfter reads the header, which holds seconds or a date.
func retryAfter(header http.Header) time.Duration {
	text := header.Get("Retry-After")
	if seconds, err := strconv.Atoi(text); err == nil && seconds >= 0 {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return time.Until(at)
	}
	return 0
}

// ended is how a context that ended is told.
func ended(err error) error {
	return fault.E("cloud", fault.Unavailable, "", err)
}

func first(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
