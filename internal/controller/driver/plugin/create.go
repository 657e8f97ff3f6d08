package plugin

import (
	"context"
	"errors"
	"time"

	"mctl/internal/controller/driver"
	"mctl/internal/controller/driver/plugin/folder"
	"mctl/internal/controller/driver/plugin/memory"
	"mctl/internal/controller/driver/plugin/wire"
	"mctl/internal/fault"
)

var (
	errKey    = errors.New("the SSH key that it names can't be read")
	errConfig = errors.New("what it answers to GetConfigRaw is no JSON object")
)

// Create has the plugin make the host. Where an earlier one was cut short it takes over what that made, as far as the plugin can
// find it: by the id that it told before, or by the machine's name.
func (d *Driver) Create(ctx context.Context, m driver.Machine) (driver.Instance, error) {
	known, err := memory.Recall(m.State)
	if err != nil {
		return driver.Instance{}, err
	}
	dir, err := folder.Open(d.plugins.config.ownFolders(), d.account, m.UID, m.Name)
	if err != nil {
		return driver.Instance{}, err
	}
	defer dir.Close()
	c := &creation{d: d, m: m, dir: dir, known: known}
	instance, err := c.run(ctx)
	if len(c.known.Config) > 0 {
		instance.State = c.known.Encode()
	}
	return instance, err
}

// creation is one Create.
type creation struct {
	d     *Driver
	m     driver.Machine
	dir   *folder.Folder
	known memory.Memory
}

// errFragile is a plugin that broke while it was asked what it had made so far.
var errFragile = errors.New("it broke at a question during its Create")

func (c *creation) run(ctx context.Context) (driver.Instance, error) {
	for {
		if c.known.Begun {
			instance, found, err := c.adopt(ctx)
			if found || err != nil {
				return instance, err
			}
		}
		instance, err := c.make(ctx)
		if !errors.Is(err, errFragile) || c.known.Fragile {
			return instance, err
		}
		c.m.Progress("The plugin broke when it was asked what it had made; trying again without asking")
		c.known.Fragile = true
		if err := c.keep(); err != nil {
			return instance, err
		}
	}
}

// keep has what is known stored at once.
func (c *creation) keep() error {
	if c.m.Keep == nil {
		return nil
	}
	return c.m.Keep(c.known.Encode())
}

// adopt looks whether an earlier Create made the host. found is false where a new one has to be made: there is none, or half of one
// that was removed.
func (c *creation) adopt(ctx context.Context) (instance driver.Instance, found bool, err error) {
	s, err := c.d.open(ctx, c.dir, c.m)
	if err != nil {
		return instance, false, err
	}
	defer s.close(ctx)
	if err := s.resume(ctx, c.known); err != nil {
		return instance, false, err
	}
	state, err := s.state(ctx)
	missing := gone(err) || err == nil && state == wire.NotFound
	switch {
	case c.known.ID == "" && !c.known.Made && ctx.Err() == nil && (err != nil || missing || state == wire.None):
		c.m.Progress("An earlier attempt was cut short before the plugin told what it made; if there is a host of this name at the provider already, remove it")
		return instance, false, nil
	case missing:
		return instance, false, nil
	case err != nil:
		return instance, false, s.trouble("GetState", err)
	}
	c.m.Progress("Taking over the host that an earlier attempt made")
	if instance, err = s.bring(ctx, &c.known, "Start", wire.Running); err == nil && (c.known.Made || len(instance.Addresses) > 0) {
		c.known.Made = true
		s.remember(ctx, &c.known)
		return instance, true, nil
	}
	if ctx.Err() != nil || c.known.Made || fault.Retryable(err) {
		return instance, false, err
	}
	// The plugin did not come far enough to know where it is.
	c.m.Progress("It is not whole, and is removed")
	return driver.Instance{}, false, s.remove(ctx)
}

// make has the plugin make a new host.
func (c *creation) make(ctx context.Context) (driver.Instance, error) {
	c.known = memory.Memory{Fragile: c.known.Fragile}
	if err := c.dir.Renew(); err != nil {
		return driver.Instance{}, fault.E("plugin.make", fault.Precondition, c.m.Name, err)
	}
	s, err := c.d.open(ctx, c.dir, c.m)
	if err != nil {
		return driver.Instance{}, err
	}
	defer s.close(ctx)
	if err := s.prepare(ctx, c.m); err != nil {
		return driver.Instance{}, err
	}
	if err := s.do(ctx, "PreCreateCheck"); err != nil {
		return driver.Instance{}, s.trouble("PreCreateCheck", err)
	}
	baseline, err := s.config(ctx)
	if err != nil {
		return driver.Instance{}, s.trouble("GetConfigRaw", err)
	}
	if !c.known.Take(baseline) {
		return driver.Instance{}, s.trouble("GetConfigRaw", errConfig)
	}
	c.known.Begun = true
	if err := c.keep(); err != nil {
		return driver.Instance{}, err
	}
	if err := c.create(ctx, s, baseline); err != nil {
		return driver.Instance{}, err
	}
	c.known.Made = true
	if err := c.keep(); err != nil {
		return driver.Instance{}, err
	}
	instance, err := s.await(ctx, &c.known, wire.Running)
	s.remember(ctx, &c.known)
	return instance, err
}

// create calls the plugin's Create and asks it meanwhile what it has made, until it has told an id. One that is given up gets a
// moment to tell it, since a host that nobody knows of is worse than a late end.
func (c *creation) create(ctx context.Context, s *session, baseline []byte) error {
	// Its own context, so that it goes on for a moment after ours has ended.
	work, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	f := &following{c: c, s: s, baseline: baseline, created: make(chan error, 1), answers: make(chan answered, 1)}
	if !c.known.Fragile {
		f.every = duration(c.m.Options, flagPoll, defaultPoll)
	}
	go func() { f.created <- s.client.Do(work, "Create") }()
	bounded, done := context.WithTimeout(ctx, s.limit)
	finished, err := f.follow(bounded)
	done()
	if !finished {
		settle, cancel := context.WithTimeout(work, s.d.plugins.config.Settle)
		f.hurry, f.every = true, min(f.every, s.d.plugins.config.Settle/50)
		finished, err = f.follow(settle)
		cancel()
	}
	if !finished {
		s.leave(0)
		end()
		s.logger.Info("a Create was given up", "error", s.trouble("Create", <-f.created)) // without secrets
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return s.trouble("Create", hangError{"Create", s.limit, true})
	}
	if errors.Is(err, wire.ErrGone) && f.asking {
		f.take(<-f.answers) // the connection ended with both
	}
	config, asked := s.config(work)
	if asked == nil {
		c.known.Take(config)
	}
	c.known.LearnID(baseline)
	switch {
	case errors.Is(err, wire.ErrGone) && f.broke:
		return errFragile
	case err == nil:
		return s.trouble("GetConfigRaw", asked)
	}
	return s.trouble("Create", err)
}

// following asks a plugin what it has made so far.
type following struct {
	c        *creation
	s        *session
	baseline []byte        // its JSON before
	created  chan error    // what Create came to
	every    time.Duration // between two questions; zero to ask none
	hurry    bool          // end as soon as it is known what was made
	answers  chan answered // to the one question that is under way
	asking   bool
	broke    bool // at a question
}

// answered is a plugin's answer to what it has made so far.
type answered struct {
	config []byte
	err    error
}

// follow asks until Create has ended or ctx has. A question that the plugin leaves open holds nothing up.
func (f *following) follow(ctx context.Context) (finished bool, err error) {
	ticker := time.NewTicker(max(f.every, time.Millisecond))
	defer ticker.Stop()
	for {
		ticks := ticker.C
		told := f.c.known.ID != ""
		if f.hurry && (told || f.c.known.Located(f.baseline)) {
			return false, nil
		}
		if told || f.every == 0 || f.asking {
			ticks = nil
		}
		select {
		case err := <-f.created:
			return true, err
		case <-ctx.Done():
			return false, nil
		case answer := <-f.answers:
			f.asking = false
			f.take(answer)
		case <-f.s.process.Ended():
			return true, <-f.created
		case <-ticks:
			f.asking = true
			f.s.workers.Go(func() {
				config, err := f.s.client.Config(context.WithoutCancel(ctx))
				f.answers <- answered{config, err}
			})
		}
	}
}

func (f *following) take(answer answered) {
	f.broke = errors.Is(answer.err, wire.ErrGone)
	if answer.err != nil || !f.c.known.Learn(answer.config) {
		return // Create itself says what is wrong
	}
	f.c.known.LearnID(f.baseline)
	if err := f.c.keep(); err != nil {
		f.s.logger.Warn("cannot store what the plugin made", "error", err)
	}
}
