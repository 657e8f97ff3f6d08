package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"mctl/internal/agent/engine/daemon"
	"mctl/internal/agent/engine/dockerd"
	"mctl/internal/agent/engine/tree"
	"mctl/internal/fault"
	"mctl/internal/host"
)

const liveRestore = "live-restore"

// attain configures dockerd. One that has the front's port itself gives it up by a restart, which its containers outlive, or
// which waits until somebody asks for one: awaits says why then. A restart that is asked for is one.
func (e *Engine) attain(ctx context.Context, want host.Engine, d demand, m *memory, s dockerd.Service, start bool) (_ dockerd.Service, awaits string, err error) {
	if m.Waiting != "" && s.State == "failed" {
		// Somebody restarted it, and it does not start the way we have prepared.
		cause := fault.New("engine.attain", fault.Precondition, dockerd.Unit, "docker does not start without its own listener")
		return s, "", e.revert(ctx, m, s, cause, restart)
	}
	d.port = want.Port
	listens, err := e.listens(m, s, want.Port)
	if err != nil {
		return s, "", err
	}
	// A crash may have come between, and a restart of the host with it: what was begun live is ended so.
	begun := m.Live && m.Pending == restart
	does := "listens"
	if len(listens) == 0 && !begun {
		does = "is to listen"
		if listens, err = e.prepared(m, s, want.Port); err != nil {
			return s, "", err
		}
	}
	if len(listens) == 0 && !begun {
		m.Live = false
		s, err = e.configure(ctx, d, m, s, manner{start: start})
		return s, "", err
	}
	d.restart = true
	obstacle, err := e.obstacle(ctx, s)
	if err != nil {
		return s, "", err
	}
	asked := !m.First && m.Provision != want.Provision
	switch {
	case want.AdoptRestart == host.AdoptNever && !asked && !begun:
		obstacle = "--adopt-restart never"
	case obstacle == "" || begun:
		s, err = e.restartLive(ctx, d, m, s)
		return s, "", err
	case asked || want.AdoptRestart == host.AdoptNow:
		s, err = e.configure(ctx, d, m, s, manner{})
		return s, "", err
	}
	s, err = e.configure(ctx, d, m, s, manner{hold: true})
	return s, fmt.Sprintf("dockerd %s on %s itself until it restarts (%s)", does, listens[0], obstacle), err
}

// listens returns where the dockerd that runs was told to have the port itself.
func (e *Engine) listens(m *memory, s dockerd.Service, port uint16) ([]string, error) {
	if !s.Alive() || port == 0 {
		return nil, nil
	}
	content, err := e.tree.Read(s.Document)
	if err != nil {
		return nil, err
	}
	if m.Former != nil && m.Pending == restart && (m.Waiting == "" || m.Waiting == s.Invocation) {
		content = m.Former.Document // which it has read
	}
	if content == nil {
		content = new([]byte)
	}
	document, err := dockerd.ParseDocument(s.Document, *content)
	if err != nil {
		return nil, err
	}
	return daemon.NewYield(s.Running, document, port).Hosts, nil
}

// prepared returns where a dockerd that runs without the port shall have it when it starts next: somebody wrote that and restarted
// nothing, as docker-machine does where docker.socket was faster. To take it back changes the unit, and so needs the same restart.
func (e *Engine) prepared(m *memory, s dockerd.Service, port uint16) ([]string, error) {
	waits := m.Waiting != "" && m.Waiting == s.Invocation
	if !s.Alive() || port == 0 || m.Yielded != 0 && !waits {
		return nil, nil
	}
	content, err := e.tree.Read(s.Document)
	if err != nil {
		return nil, err
	}
	if waits && m.Former != nil {
		content = m.Former.Document
	}
	document, err := dockerd.ParseDocument(s.Document, tree.Bytes(content))
	if err != nil {
		return nil, err
	}
	return daemon.NewYield(s.Held, document, port).Hosts, nil
}

// obstacle says why the containers would not outlive a restart; empty when they can.
func (e *Engine) obstacle(ctx context.Context, s dockerd.Service) (string, error) {
	info, err := e.daemon.Info(ctx)
	switch {
	case err != nil:
		return "", err
	case info.LiveRestoreEnabled:
		return "", nil
	case info.InSwarm():
		return "containers of a swarm's member would stop", nil
	}
	for _, o := range s.Flags {
		if o.Flag == liveRestore {
			return "docker.service sets live-restore=false", nil
		}
	}
	return "", nil
}

// restartLive restarts dockerd for a demand while its containers go on: with live-restore, which is taken back then if it was
// not there. All is as it was before when dockerd does not come back.
func (e *Engine) restartLive(ctx context.Context, d demand, m *memory, s dockerd.Service) (dockerd.Service, error) {
	if err := e.live(ctx, m, s); err != nil {
		return s, errors.Join(err, e.calm(ctx, m))
	}
	after, err := e.configure(ctx, d, m, s, manner{limit: e.config.TakeoverLimit})
	if err != nil {
		if ctx.Err() != nil {
			return s, err
		}
		return s, errors.Join(err, e.calm(ctx, m))
	}
	d.restart, m.Live = false, false
	return e.configure(ctx, d, m, after, manner{})
}

// live switches live-restore on, by SIGHUP, and nothing else.
func (e *Engine) live(ctx context.Context, m *memory, s dockerd.Service) error {
	info, err := e.daemon.Info(ctx)
	if err != nil || info.LiveRestoreEnabled {
		return err
	}
	present, err := e.present(m, s)
	if err != nil {
		return err
	}
	p, err := e.rekey(m, s, present, true)
	if err != nil {
		return err
	}
	m.Live, m.Next = true, &p.contribution
	if err := e.save(m); err != nil {
		return err
	}
	if err := e.writeDocument(s, present.Document, p.files.Document); err != nil {
		return err
	}
	if err = e.take(ctx, reload, 0); err == nil {
		info, err = e.daemon.Info(ctx)
	}
	switch {
	case err == nil && info.LiveRestoreEnabled:
		m.Ours, m.Next = p.contribution, nil
		return e.save(m)
	case ctx.Err() != nil:
		return ctx.Err()
	case err == nil:
		err = fault.New("engine.live", fault.Precondition, dockerd.Unit, "docker does not switch live-restore on, so its containers would stop with it").
			WithHint("have docker take live-restore, or create the machine with --adopt-restart never or now")
	}
	return errors.Join(err, e.writeDocument(s, p.files.Document, present.Document))
}

// calm takes live-restore back where it is ours, after a restart that failed.
func (e *Engine) calm(ctx context.Context, m *memory) error {
	if !m.Live {
		return nil
	}
	m.Live = false
	if m.Pending != nothing { // a restart that waits; whatever is written next goes without
		return e.save(m)
	}
	s, err := e.daemon.Inspect(ctx)
	if err != nil {
		return err
	}
	present, err := e.present(m, s)
	if err != nil {
		return err
	}
	p, err := e.rekey(m, s, present, false)
	if err != nil {
		return err
	}
	_, err = e.apply(ctx, m, s, present, p, manner{})
	return err
}

// rekey plans daemon.json with live-restore or without, and as it is else.
func (e *Engine) rekey(m *memory, s dockerd.Service, present kept, on bool) (plan, error) {
	original, err := e.original(m, s, present)
	if err != nil {
		return plan{}, err
	}
	now, err := dockerd.ParseDocument(s.Document, tree.Bytes(present.Document))
	if err != nil {
		return plan{}, err
	}
	p := plan{files: present, flags: m.Flags, contribution: contribution{Original: original, Keys: map[string]any{}}}
	maps.Copy(p.contribution.Keys, m.Ours.Keys)
	merged := now.Without(map[string]any{liveRestore: true}, daemon.Document{})
	if delete(p.contribution.Keys, liveRestore); on {
		p.contribution.Keys[liveRestore] = true
		merged = now.With(map[string]any{liveRestore: true})
	}
	bytes := merged.Bytes()
	if p.files.Document = &bytes; len(p.contribution.Keys) == 0 && m.Yielded == 0 {
		p.files.Document = original
	}
	p.contribution.Digest = tree.Digest(p.files.Document)
	p.why = daemon.Changed(now, merged)
	p.decide(now, merged, false)
	return p, nil
}

// Return is Release, and has a dockerd that gave up a port for the front listen there again, as it was before. Whatever
// serves the port must have ended. Its containers go on; where they could not, it listens when it restarts next. It may be
// repeated.
func (e *Engine) Return(ctx context.Context) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	memory, s, err := e.known(ctx)
	if err != nil || !s.Loaded {
		return err
	}
	if memory.Yielded != 0 {
		if err := e.unyield(ctx, memory, s); err != nil {
			return err
		}
		if s, err = e.daemon.Inspect(ctx); err != nil {
			return err
		}
	}
	return e.withdraw(ctx, memory, s)
}

// unyield takes everything of ours out of dockerd's configuration and has its own listener back.
func (e *Engine) unyield(ctx context.Context, m *memory, s dockerd.Service) error {
	present, err := e.present(m, s)
	if err != nil {
		return err
	}
	former, err := e.original(m, s, present)
	if err != nil {
		return err
	}
	document, err := dockerd.ParseDocument(s.Document, tree.Bytes(former))
	if err != nil {
		return err
	}
	for _, path := range daemon.NewYield(s.Held, document, m.Yielded).Files {
		if err := e.config.Footprint.PutBack(path); err != nil {
			return err
		}
	}
	// One that was never restarted for us listens still, with its own certificates. Any other may have started with ours.
	how, obstacle := manner{hold: m.Waiting != "" && m.Waiting == s.Invocation}, ""
	if s.Alive() && !how.hold {
		if obstacle, err = e.obstacle(ctx, s); err != nil {
			return err
		}
	}
	switch {
	case obstacle != "":
		e.config.Progress("dockerd listens itself again when it restarts next, since " + obstacle)
		how.hold = true
	case s.Alive() && !how.hold:
		if _, err := e.restartLive(ctx, demand{restart: true}, m, s); err != nil {
			return err
		}
	}
	if how.hold || !s.Alive() {
		if _, err := e.configure(ctx, demand{}, m, s, how); err != nil {
			return err
		}
	}
	m.Yielded, m.Pending, m.Former, m.Waiting, m.Live = 0, nothing, nil, "", false
	return e.save(m)
}
