package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"mctl/internal/agent/engine/dockerd"
	"mctl/internal/agent/engine/tree"
	"mctl/internal/fault"
)

// manner is how dockerd may be handled.
type manner struct {
	start bool          // also when somebody stopped it
	hold  bool          // a restart that is needed waits for somebody else's
	limit time.Duration // of a restart; zero for the usual
}

// configure writes daemon.json and the drop-in where they differ from the wish, and has dockerd take them over. What it is
// about to do is remembered first, so that a crash in between is made good by the next call.
func (e *Engine) configure(ctx context.Context, d demand, m *memory, s dockerd.Service, how manner) (dockerd.Service, error) {
	present, err := e.present(m, s)
	if err != nil {
		return s, err
	}
	p, err := e.plan(d, m, s, present)
	if err != nil {
		return s, err
	}
	return e.apply(ctx, m, s, present, p, how)
}

// apply brings a plan about.
func (e *Engine) apply(ctx context.Context, m *memory, s dockerd.Service, present kept, p plan, how manner) (dockerd.Service, error) {
	if m.Waiting != "" && s.Alive() && s.Invocation != m.Waiting { // the restart that was waited for
		m.Pending, m.Former, m.Waiting = nothing, nil, ""
	}
	resumed := m.Pending == restart
	changed := !tree.Same(p.files.Document, present.Document) || !tree.Same(p.files.DropIn, present.DropIn) ||
		!tree.Same(p.files.Machine, present.Machine) || m.Next != nil
	if changed || m.Pending != nothing || p.act != nothing {
		if m.Former == nil {
			m.Former = &present
			m.Former.Yielded = m.Yielded
		}
		m.Pending, m.Next, m.Neutral = stronger(m.Pending, p.act), &p.contribution, tree.Digest(p.neutral)
		m.Flags = append(m.Flags, p.flags...)
		if p.yielded != 0 {
			m.Yielded = p.yielded
		}
		if err := e.save(m); err != nil {
			return s, err
		}
	}
	act := m.Pending
	switch {
	case !s.Alive() && how.start:
		act = restart
	case !s.Alive() || act == restart && how.hold:
		act = nothing
	case act == restart:
		e.config.Progress("restarting docker for " + strings.Join(p.why, ", "))
	}
	if resumed { // systemd may not have read what is written
		if err := e.daemon.Systemctl(ctx, "daemon-reload"); err != nil {
			return s, err
		}
	}
	if err := e.enact(ctx, s, present, p, act, how.limit); err != nil {
		if ctx.Err() != nil || m.Former == nil || !refusal(err) {
			return s, err
		}
		return s, e.revert(ctx, m, s, err, act)
	}
	if s.Alive() && how.hold && m.Pending == restart {
		m.Waiting = s.Invocation
		return s, e.save(m)
	}
	if changed || m.Pending != nothing {
		m.Waiting = ""
		m.Ours, m.Next, m.Pending, m.Former, m.Neutral, m.Flags = p.contribution, nil, nothing, nil, "", p.flags
		if err := e.save(m); err != nil {
			return s, err
		}
	}
	if act == nothing {
		return s, nil
	}
	return e.daemon.Inspect(ctx)
}

// errRefused marks what dockerd itself did not take, as against files that can't be written.
type errRefused struct{ error }

func (e errRefused) Unwrap() error { return e.error }

func refusal(err error) bool { return errors.As(err, new(errRefused)) }

// enact writes the plan and has dockerd act.
func (e *Engine) enact(ctx context.Context, s dockerd.Service, present kept, p plan, what act, limit time.Duration) error {
	if what == reload && p.neutral != nil {
		if err := e.writeDocument(s, present.Document, p.neutral); err != nil {
			return err
		}
		present.Document = p.neutral
		if err := e.take(ctx, reload, 0); err != nil {
			return err
		}
	}
	if err := e.writeDocument(s, present.Document, p.files.Document); err != nil {
		return err
	}
	if err := e.writeDropIns(ctx, present, p.files); err != nil {
		return err
	}
	return e.take(ctx, what, limit)
}

// take has dockerd take over what is written.
func (e *Engine) take(ctx context.Context, what act, limit time.Duration) error {
	var err error
	switch what {
	case reload:
		err = e.daemon.Reload(ctx)
	case restart:
		err = e.daemon.Restart(ctx, limit)
	case nothing:
	}
	if err != nil {
		return errRefused{err}
	}
	return nil
}

// present reads the files, and settles what a crash left open about them.
func (e *Engine) present(m *memory, s dockerd.Service) (kept, error) {
	is, between, err := e.seen(m, s)
	if err == nil && between && e.tree.Put(s.Document, is.Document, 0o644) != nil {
		return kept{}, fault.New("engine.present", fault.Precondition, s.Document, s.Document+" can't be written")
	}
	return is, err
}

// seen reads the files, and changes none. between says that daemon.json is the one in between, which stands for the former.
func (e *Engine) seen(m *memory, s dockerd.Service) (is kept, between bool, err error) {
	document, err := e.tree.Read(s.Document)
	if err != nil {
		return kept{}, false, err
	}
	if between = m.Former != nil && m.Neutral != "" && tree.Digest(document) == m.Neutral; between {
		document = m.Former.Document
	}
	if m.Next != nil && tree.Digest(document) == m.Next.Digest {
		m.Ours = *m.Next
	}
	is, err = e.dropIns(document)
	return is, between, err
}

// dropIns reads them.
func (e *Engine) dropIns(document *[]byte) (kept, error) {
	dropIn, err := e.tree.Read(dockerd.DropIn)
	if err != nil {
		return kept{}, err
	}
	machine, err := e.tree.Read(dockerd.MachineDropIn)
	return kept{Document: document, DropIn: dropIn, Machine: machine}, err
}

// write replaces a file, known to the footprint before and after.
func (e *Engine) write(path string, is, becomes *[]byte, mode fs.FileMode) error {
	if tree.Same(is, becomes) {
		return nil
	}
	if err := e.config.Footprint.File(path); err != nil {
		return err
	}
	if err := e.tree.Put(path, becomes, mode); err != nil || becomes == nil {
		return err
	}
	return e.config.Footprint.Written(path)
}

func (e *Engine) writeDocument(s dockerd.Service, is, becomes *[]byte) error {
	return e.write(s.Document, is, becomes, 0o644)
}

// writeDropIns replaces the drop-ins and tells systemd. Their environment may hold secrets, so only root reads them.
func (e *Engine) writeDropIns(ctx context.Context, is, becomes kept) error {
	if tree.Same(is.DropIn, becomes.DropIn) && tree.Same(is.Machine, becomes.Machine) {
		return nil
	}
	if err := e.write(dockerd.MachineDropIn, is.Machine, becomes.Machine, 0o600); err != nil {
		return err
	}
	if err := e.write(dockerd.DropIn, is.DropIn, becomes.DropIn, 0o600); err != nil {
		return err
	}
	return e.daemon.Systemctl(ctx, "daemon-reload")
}

// revert puts the former files back after dockerd refused the new ones, and returns why it did.
func (e *Engine) revert(ctx context.Context, m *memory, s dockerd.Service, cause error, what act) error {
	document, err := e.tree.Read(s.Document)
	if err != nil {
		return errors.Join(cause, err)
	}
	is, err := e.dropIns(document)
	if err != nil {
		return errors.Join(cause, err)
	}
	if err := errors.Join(e.writeDocument(s, document, m.Former.Document), e.writeDropIns(ctx, is, *m.Former)); err != nil {
		return errors.Join(cause, err)
	}
	hint := "the former configuration is back; remove the machine and create it with other engine options"
	if m.Yielded != m.Former.Yielded {
		hint = "the former configuration is back, dockerd listens itself; look at `journalctl -u docker` on the host, then run `mctl retry`"
	}
	if !tree.Same(is.Machine, m.Former.Machine) {
		hint = "the former configuration is back; look at `journalctl -u docker` on the host, then release the machine again"
	}
	if err := e.take(ctx, what, 0); err != nil {
		e.config.Logger.Error("docker does not run with its former configuration either", "error", err)
		hint = "docker does not run with its former configuration either; look at `journalctl -u docker` on the host"
	}
	m.Pending, m.Former, m.Next, m.Neutral, m.Waiting, m.Yielded = nothing, nil, nil, "", "", m.Former.Yielded
	if err := e.save(m); err != nil {
		return errors.Join(cause, err)
	}
	return fault.E("engine.revert", fault.Precondition, dockerd.Unit, cause).WithHint(hint)
}

// withdraw takes our part out of both files, but for that which keeps dockerd off the front's port. dockerd gets a reload at
// most: its containers go on.
func (e *Engine) withdraw(ctx context.Context, m *memory, s dockerd.Service) error {
	m.Live = false
	present, err := e.present(m, s)
	if err != nil {
		return err
	}
	p, err := e.plan(demand{port: m.Yielded}, m, s, present)
	if err != nil {
		return err
	}
	what := p.act
	if what == restart {
		what, p.neutral = reload, nil
	}
	if !s.Alive() {
		what = nothing
	}
	if err := e.enact(ctx, s, present, p, what, 0); err != nil && !refusal(err) {
		return err
	} else if err != nil {
		// What counts is that the files are as they were; dockerd reads them when it starts next.
		e.config.Logger.Warn("dockerd did not take its former configuration", "error", err)
		if err := e.enact(ctx, s, present, p, nothing, 0); err != nil {
			return fmt.Errorf("after a refused reload: %w", err)
		}
	}
	m.Ours, m.Next, m.Pending, m.Former, m.Neutral, m.Flags = contribution{}, nil, nothing, nil, "", nil
	if tree.Digest(p.files.Document) != tree.Digest(p.contribution.Original) { // its listener is still ours
		m.Ours = p.contribution
	} else if err := e.config.Footprint.Returned(s.Document); err != nil {
		return err
	}
	return e.save(m)
}
