package plugin

import (
	"context"
	"fmt"
	"time"

	"mctl/internal/controller/driver"
	"mctl/internal/controller/driver/plugin/folder"
	"mctl/internal/controller/driver/plugin/memory"
	"mctl/internal/controller/driver/plugin/wire"
	"mctl/internal/fault"
)

// Inspect asks the plugin how the host is.
func (d *Driver) Inspect(ctx context.Context, m driver.Machine) (driver.Instance, error) {
	return d.with(ctx, m, "Inspect", func(s *session, known *memory.Memory) (driver.Instance, error) { return s.look(ctx, known) })
}

// Start powers the host on and waits until it runs.
func (d *Driver) Start(ctx context.Context, m driver.Machine) (driver.Instance, error) {
	return d.with(ctx, m, "Start", func(s *session, known *memory.Memory) (driver.Instance, error) {
		return s.bring(ctx, known, "Start", wire.Running)
	})
}

// Stop shuts the host down, or cuts its power, and waits until it is off.
func (d *Driver) Stop(ctx context.Context, m driver.Machine, force bool) (driver.Instance, error) {
	method := "Stop"
	if force {
		method = "Kill"
	}
	return d.with(ctx, m, method, func(s *session, known *memory.Memory) (driver.Instance, error) {
		return s.bring(ctx, known, method, wire.Stopped)
	})
}

// Restart reboots the host; one that is off is started.
func (d *Driver) Restart(ctx context.Context, m driver.Machine) (driver.Instance, error) {
	return d.with(ctx, m, "Restart", func(s *session, known *memory.Memory) (driver.Instance, error) {
		state, err := s.state(ctx)
		if err != nil {
			return driver.Instance{}, s.trouble("GetState", err)
		}
		if state != wire.Running {
			return s.bring(ctx, known, "Start", wire.Running)
		}
		if err := s.do(ctx, "Restart"); err != nil {
			return driver.Instance{}, s.trouble("Restart", err)
		}
		return s.await(ctx, known, wire.Running)
	})
}

// Delete has the plugin remove the host, and removes its folder. One that the plugin does not find is gone.
func (d *Driver) Delete(ctx context.Context, m driver.Machine) error {
	known, err := memory.Recall(m.State)
	if err != nil {
		return err
	}
	dir, err := folder.Open(d.plugins.config.ownFolders(), d.account, m.UID, m.Name)
	if err != nil {
		return err
	}
	if known = recall(m, dir, known); known.Begun {
		if err := d.remove(ctx, m, dir, known); err != nil {
			dir.Close()
			return err
		}
	}
	dir.Drop()
	return nil
}

func (d *Driver) remove(ctx context.Context, m driver.Machine, dir *folder.Folder, known memory.Memory) error {
	s, err := d.open(ctx, dir, m)
	if err != nil {
		return err
	}
	defer s.close(ctx)
	if err := s.resume(ctx, known); err != nil {
		return err
	}
	return s.remove(ctx)
}

// remove has the plugin remove the host. Where it fails, it may be because there is none.
func (s *session) remove(ctx context.Context) error {
	err := s.do(ctx, "Remove")
	if err == nil || gone(err) {
		return nil
	}
	if state, asked := s.state(ctx); asked == nil && state == wire.NotFound || gone(asked) {
		return nil
	}
	return s.trouble("Remove", err)
}

// with runs the plugin for one act on a host that it made, and remembers what it tells afterwards, also where the act failed.
func (d *Driver) with(ctx context.Context, m driver.Machine, op string, act func(*session, *memory.Memory) (driver.Instance, error)) (driver.Instance, error) {
	known, err := memory.Recall(m.State)
	if err != nil {
		return driver.Instance{}, err
	}
	if !known.Begun && m.Imported == nil {
		return driver.Instance{}, notThere(op, m.Name)
	}
	dir, err := folder.Open(d.plugins.config.ownFolders(), d.account, m.UID, m.Name)
	if err != nil {
		return driver.Instance{}, err
	}
	defer dir.Close()
	known = recall(m, dir, known)
	s, err := d.open(ctx, dir, m)
	if err != nil {
		return driver.Instance{}, err
	}
	defer s.close(ctx)
	if err := s.resume(ctx, known); err != nil {
		return driver.Instance{}, err
	}
	instance, err := act(s, &known)
	s.remember(ctx, &known)
	instance.State = known.Encode()
	return instance, err
}

// remember takes over what the plugin knows now, as far as it still answers.
func (s *session) remember(ctx context.Context, known *memory.Memory) {
	if config, err := s.config(context.WithoutCancel(ctx)); err == nil {
		known.Take(config)
	}
}

func notThere(op, machine string) error {
	return fault.E("plugin."+op, fault.NotFound, machine, fmt.Errorf("the host of %q is gone", machine))
}

// bring has the host reach a state by a method, unless it is in it.
func (s *session) bring(ctx context.Context, known *memory.Memory, method string, want wire.State) (driver.Instance, error) {
	state, err := s.state(ctx)
	switch {
	case gone(err), state == wire.NotFound:
		return driver.Instance{}, notThere(method, s.machine)
	case err != nil:
		return driver.Instance{}, s.trouble("GetState", err)
	case state == want, state == wire.Starting && want == wire.Running, state == wire.Stopping && want == wire.Stopped:
	default:
		if err := s.do(ctx, method); err != nil {
			return driver.Instance{}, s.trouble(method, err)
		}
	}
	return s.await(ctx, known, want)
}

// await waits until the host is in a state, and tells how it is.
func (s *session) await(ctx context.Context, known *memory.Memory, want wire.State) (driver.Instance, error) {
	limit := time.NewTimer(s.limit)
	defer limit.Stop()
	var located time.Time // by when it must have an address
	var lacks error       // what the host that is in the state does not tell yet
	ticker := time.NewTicker(s.d.plugins.config.Look)
	defer ticker.Stop()
	for {
		state, err := s.state(ctx)
		switch {
		case gone(err), state == wire.NotFound:
			return driver.Instance{}, notThere("GetState", s.machine)
		case err != nil:
			return driver.Instance{}, s.trouble("GetState", err)
		case state == want, state == wire.None: // or it knows no states
			instance, err := s.look(ctx, known)
			lacks = err
			if located.IsZero() {
				located = time.Now().Add(min(s.limit, s.d.plugins.config.Locate))
			}
			if err == nil || fault.Is(err, fault.NotFound) || time.Now().After(located) || ctx.Err() != nil || s.over() {
				return instance, err
			}
		case state == wire.Error:
			return driver.Instance{}, s.trouble("GetState", fault.New("plugin.await", fault.Precondition, s.machine, "the plugin says that the host is in an error").
				WithHint("look at the host at its provider"))
		}
		select {
		case <-ticker.C:
		case <-limit.C:
			if lacks == nil {
				lacks = fault.New("plugin.await", fault.Precondition, s.machine,
					fmt.Sprintf("the plugin %s does not say within %s that the host is %s", s.d.plugin.label(), s.limit, powers[want])).
					WithHint(hangError{whole: true}.hint())
			}
			return driver.Instance{}, lacks
		case <-ctx.Done():
			return driver.Instance{}, ctx.Err()
		}
	}
}
