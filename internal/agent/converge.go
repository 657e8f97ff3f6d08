package agent

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"mctl/internal/agent/link"
	"mctl/internal/fault"
	"mctl/internal/host"
)

// installer makes Docker as wanted.
type installer interface {
	Converge(ctx context.Context, want host.Engine) (host.EngineFacts, error)
	Release(ctx context.Context) error
}

// controller is the other end, as the converger sees it.
type controller interface {
	Report(applied host.Applied)
	IssueEngineCertificate(ctx context.Context, csr []byte, digest string) ([][]byte, error)
}

type convergerConfig struct {
	Logger     hclog.Logger
	Now        func() time.Time
	Engine     installer
	Controller controller
	FrontDir   string
	OpenFront  func(ctx context.Context) error // has systemd hold the front's port; nil for a test
	// ServeSwarm has systemd hold one more port for the front, none with zero; nil for a test.
	ServeSwarm func(ctx context.Context, port uint16) error
	Export     func() error // shows the front's material where docker-machine users look; nil for nowhere
	RecordFile string
	// LeavingFile is where the intent to give the host back is kept.
	LeavingFile string
}

// Pauses between tries of a wish that may be fulfilled later.
const (
	leastRetry = time.Second
	mostRetry  = time.Minute
	lookAgain  = time.Hour // timers stand still while a computer sleeps
)

// converger fulfils the newest wish, one at a time. What is being done is never cut short for a newer wish, since a package
// manager that was stopped halfway is worse than a wish that waits a minute.
type converger struct {
	config  convergerConfig
	news    chan struct{}
	noticed chan struct{} // the engine tells another version
	turned  chan struct{} // the engine went up or down

	mu      sync.Mutex
	wish    *link.Wish // the newest; nil before the first
	version string     // of the engine, as it tells; empty before the first

	// What follows belongs to run alone.
	record record
	failed *host.Applied // the last answer, when it was a failure
}

func newConverger(config convergerConfig) *converger {
	return &converger{config: config, news: make(chan struct{}, 1), noticed: make(chan struct{}, 1), turned: make(chan struct{}, 1)}
}

// see takes the version that the engine tells; somebody else may have upgraded it. It never blocks.
func (c *converger) see(version string) {
	c.mu.Lock()
	c.version = version
	c.mu.Unlock()
	select {
	case c.noticed <- struct{}{}:
	default:
	}
}

// turn takes word that the engine went up or down; a restart may have been waited for. It never blocks.
func (c *converger) turn() {
	select {
	case c.turned <- struct{}{}:
	default:
	}
}

// learn tells the controller of another version than the last answer had.
func (c *converger) learn() {
	c.mu.Lock()
	version := c.version
	c.mu.Unlock()
	if facts := &c.record.Applied.Engine; facts.Version == "" || facts.Version == version {
		return // no wish has been fulfilled yet, or it is known
	}
	c.record.Applied.Engine.Version = version
	if err := c.record.write(c.config.RecordFile); err != nil {
		c.config.Logger.Warn("the engine's new version could not be kept", "error", err)
	}
	last := c.record.Applied
	if c.failed != nil {
		c.failed.Engine.Version = version
		last = *c.failed
	}
	c.config.Controller.Report(last)
}

// want takes a wish. It never blocks.
func (c *converger) want(w link.Wish) {
	c.mu.Lock()
	c.wish = &w
	c.mu.Unlock()
	select {
	case c.news <- struct{}{}:
	default:
	}
}

func (c *converger) newest() *link.Wish {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.wish
}

// run fulfils wishes until ctx ends.
func (c *converger) run(ctx context.Context) error {
	c.record = readRecord(c.config.RecordFile)
	if c.record.Applied.Digest != "" {
		c.config.Controller.Report(c.record.Applied) // goes into the first Hello
	}
	timer := time.NewTimer(lookAgain)
	defer timer.Stop()
	pause := leastRetry
	for {
		asked := false
		select {
		case <-ctx.Done():
			return nil
		case <-c.noticed:
			c.learn()
			continue
		case <-c.turned:
			if c.record.Applied.Engine.AwaitsRestart == "" {
				continue
			}
		case <-c.news:
			asked, pause = true, leastRetry
		case <-timer.C:
		}
		wish := c.newest()
		if wish == nil || !asked && c.failed != nil && !c.retryable() {
			timer.Reset(lookAgain)
			continue
		}
		if asked && c.parked(wish) {
			c.config.Controller.Report(*c.failed)
			continue
		}
		applied := c.answer(ctx, wish)
		if ctx.Err() != nil {
			return nil
		}
		if c.newest() != wish {
			continue // its news waits; an answer to the older wish is of no use
		}
		c.config.Controller.Report(applied)
		switch {
		case applied.Released:
			<-ctx.Done() // the link ends the agent when the controller knows
			return nil
		case c.failed != nil && c.retryable():
			timer.Reset(time.Duration((0.5 + rand.Float64()/2) * float64(pause)))
			pause = min(2*pause, mostRetry)
		default:
			timer.Reset(min(max(c.untilRenewal(), leastRetry), lookAgain))
		}
	}
}

func (c *converger) retryable() bool {
	return fault.Retryable(fault.New("", fault.Kind(c.failed.Failure.Kind), "", ""))
}

// parked reports whether a wish failed already in a way that only somebody's act can change. A higher generation is one.
func (c *converger) parked(wish *link.Wish) bool {
	return c.failed != nil && !c.retryable() && c.failed.Digest == wish.Digest && c.failed.Generation >= wish.Generation
}

// answer fulfils a wish and says how far it came.
func (c *converger) answer(ctx context.Context, wish *link.Wish) host.Applied {
	err := c.fulfil(ctx, wish)
	applied := c.record.Applied
	applied.Generation, applied.Digest = wish.Generation, wish.Digest
	if err == nil {
		applied.Released = wish.Release != nil
		c.failed = nil
		return applied
	}
	applied.Failure = &host.Failure{Kind: string(fault.KindOf(err)), Message: err.Error(), Hint: fault.HintOf(err)}
	c.config.Logger.Warn("the wish is not fulfilled", "generation", wish.Generation, "kind", applied.Failure.Kind, "error", err)
	c.failed = &applied
	return applied
}

// errSuperseded is retryable, and the newer wish is tried at once.
var errSuperseded = fault.New("agent.fulfil", fault.Conflict, "", "a newer wish came meanwhile")

// fulfil does what is not yet done, and records it after each part.
func (c *converger) fulfil(ctx context.Context, wish *link.Wish) error {
	if wish.Release != nil {
		switch err := c.config.Engine.Release(ctx); {
		case ctx.Err() != nil || fault.Retryable(err):
			return err
		case err != nil: // such as a daemon.json that somebody broke: what is not ours alone stays, and the rest goes
			c.config.Logger.Warn("going on although the engine keeps a part of ours", "error", err)
		}
		return leaving{PurgeEngine: wish.Release.PurgeEngine}.write(c.config.LeavingFile)
	}
	if err := stay(c.config.LeavingFile); err != nil {
		return err
	}
	want := host.Desired{Engine: wish.Engine}.Digest()
	if c.record.Engine != want || c.record.Applied.Engine.AwaitsRestart != "" {
		engine := wish.Engine
		engine.Port = wish.Front.Port
		facts, err := c.config.Engine.Converge(ctx, engine)
		if err != nil {
			return err
		}
		c.record.Engine, c.record.Applied.Engine = want, facts
		if err := c.record.write(c.config.RecordFile); err != nil {
			return err
		}
	}
	if c.newest() != wish {
		return errSuperseded
	}
	if err := c.serve(ctx, wish); err != nil {
		return err
	}
	if c.record.Applied.Engine.AwaitsRestart != "" {
		return c.fulfilled(wish) // dockerd has the port, and reads its certificates where ours would be shown
	}
	if c.config.OpenFront != nil {
		if err := c.config.OpenFront(ctx); err != nil {
			return err
		}
	}
	if c.config.ServeSwarm != nil {
		if err := c.config.ServeSwarm(ctx, wish.Front.SwarmPort); err != nil {
			return err
		}
	}
	if c.config.Export != nil {
		// Nothing reads the copies but people, so a host without them is still what was wished.
		if err := c.config.Export(); err != nil {
			c.config.Logger.Warn("the certificates could not be copied to where Docker keeps its own", "error", err)
		}
	}
	return c.fulfilled(wish)
}

// fulfilled records that a wish is.
func (c *converger) fulfilled(wish *link.Wish) error {
	if c.record.Applied.Generation == wish.Generation && c.record.Applied.Digest == wish.Digest {
		return nil
	}
	c.record.Applied.Generation, c.record.Applied.Digest = wish.Generation, wish.Digest
	return c.record.write(c.config.RecordFile)
}
