package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"mctl/internal/agent/engine/daemon"
	"mctl/internal/agent/engine/dockerd"
	"mctl/internal/agent/engine/tree"
	"mctl/internal/agent/engine/unit"
	"mctl/internal/fault"
	"mctl/internal/host"
)

// handOverTries is how often dockerd is asked to listen itself: somebody may restart or kill it meanwhile.
const handOverTries = 2

// HandOverFiles are those that are docker-machine's after a HandOver, and not ours to put back any more.
func HandOverFiles() []string { return []string{dockerd.MachineDropIn, daemon.MachineProgram} }

// Offer says with which options dockerd would go on if it were handed over to docker-machine, and changes nothing. Precondition
// where it could not be, or where containers would not outlive the restart that it takes.
func (e *Engine) Offer(ctx context.Context, h host.HandOver) (host.Engine, error) {
	const op = "engine.Offer"
	e.mu.Lock()
	defer e.mu.Unlock()
	memory, s, err := e.known(ctx)
	if err != nil {
		return host.Engine{}, err
	}
	refuse := func(subject, hint, sentence string, args ...any) (host.Engine, error) {
		return host.Engine{}, fault.E(op, fault.Precondition, subject, fmt.Errorf(sentence, args...)).WithHint(hint)
	}
	if !s.Loaded || !s.Alive() {
		return refuse(dockerd.Unit, "start it there first: systemctl start docker", "docker does not run on the host")
	}
	if memory.Waiting != "" && memory.Waiting == s.Invocation {
		return refuse(dockerd.Unit, "`mctl provision` restarts it; or release it by `mctl rm`", "dockerd has not been restarted since the host was adopted, and still runs as it did before")
	}
	obstacle, err := e.obstacle(ctx, s)
	if err != nil {
		return host.Engine{}, err
	}
	if obstacle != "" {
		return refuse(dockerd.Unit, "have the host leave its swarm, or live-restore switched on, first", "dockerd has to restart to listen itself, but %s", obstacle)
	}
	if set := filepath.Base(s.Setter); filepath.Ext(set) == ".conf" && set > filepath.Base(dockerd.MachineDropIn) {
		return refuse(s.Setter, "remove that file on the host, or rename it so that it comes first", "%s sets dockerd's command line after docker-machine's drop-in would", s.Setter)
	}
	info, err := e.daemon.Info(ctx)
	if err != nil {
		return host.Engine{}, err
	}
	h.Engine = daemon.Inherit(h.Engine, s.Held)
	// docker-machine would choose a storage driver, and another would find no container.
	h.Engine.StorageDriver = info.Driver
	// What is no variable systemd ignores, too.
	theirs := slices.DeleteFunc(slices.Clone(s.Unit.Environment), func(v string) bool { return host.CheckVariable(v) != nil })
	h.Engine.Env = append(theirs, h.Engine.Env...)
	if err := h.Engine.Check(); err != nil { // a hand-over would be refused for it, when it has begun
		return refuse(s.Setter, "change it on the host", "docker.service has what can't be handed on: %w", err)
	}
	present, _, err := e.seen(memory, s) // the agent may be changing them
	if err != nil {
		return host.Engine{}, err
	}
	original, err := e.original(memory, s, present)
	if err != nil {
		return host.Engine{}, err
	}
	document, err := dockerd.ParseDocument(s.Document, tree.Bytes(original))
	if err != nil {
		return host.Engine{}, err
	}
	if key := daemon.Clash(daemon.MachineCommand(h), document); key != "" {
		return refuse(s.Document, "take it out of that file", "%s sets %q, which docker-machine gives to dockerd as a flag, and dockerd takes only one of them", s.Document, key)
	}
	return h.Engine, nil
}

// HandOver leaves dockerd to docker-machine as h says, where Offer did: its flags in docker-machine's drop-in, and nothing of ours.
// It is restarted for it, and its containers go on. Its certificates are there already, and whatever served the port has ended. When
// dockerd does not take it, all is as it was, and the error has dockerd's own words. It may be repeated, also after a crash.
func (e *Engine) HandOver(ctx context.Context, h host.HandOver) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	memory, s, err := e.known(ctx)
	if err != nil {
		return err
	}
	if !memory.Handed || !s.Alive() {
		if err := e.link(s); err != nil {
			return err
		}
		command := daemon.MachineCommand(h)
		text := unit.MachineDropIn(command, h.Engine.Env)
		d := demand{restart: true, machine: &text, flags: daemon.ParseArguments(command[1:])}
		for try := 1; ; try++ {
			if err = e.listen(ctx, d, memory, s); err == nil {
				break
			}
			if ctx.Err() != nil || try == handOverTries {
				return err
			}
			e.config.Logger.Warn("dockerd does not listen itself yet", "error", err)
			if memory, s, err = e.known(ctx); err != nil {
				return err
			}
		}
	}
	if s, err = e.daemon.Inspect(ctx); err != nil {
		return err
	}
	return e.withdraw(ctx, memory, s)
}

// listen has dockerd run with docker-machine's drop-in. One that somebody killed meanwhile is started so.
func (e *Engine) listen(ctx context.Context, d demand, m *memory, s dockerd.Service) (err error) {
	switch {
	case s.Alive() && slices.Equal(s.Running, d.flags) && m.Pending != restart: // before a crash
		d.restart, m.Live = false, false
		_, err = e.configure(ctx, d, m, s, manner{})
	case s.Alive():
		_, err = e.restartLive(ctx, d, m, s)
	default:
		m.Live = !strings.Contains(string(*d.machine), " --"+liveRestore) // it finds its containers running
		d.restart = false
		if s, err = e.configure(ctx, d, m, s, manner{start: true, limit: e.config.TakeoverLimit}); err == nil {
			m.Live = false
			_, err = e.configure(ctx, d, m, s, manner{})
		}
	}
	if err != nil {
		return err
	}
	m.Handed = true
	m.Yielded, m.Pending, m.Former, m.Waiting, m.Live = 0, nothing, nil, "", false
	return e.save(m)
}

// link puts dockerd where docker-machine looks for it, on distributions that have it elsewhere.
func (e *Engine) link(s dockerd.Service) error {
	const op, path = "engine.link", daemon.MachineProgram
	arguments := s.Unit.Arguments(s.Variables)
	if e.tree.Exists(path) || len(arguments) == 0 || arguments[0] == path {
		return nil
	}
	if err := e.config.Footprint.File(path); err != nil {
		return err
	}
	err := os.Symlink(arguments[0], e.tree.Path(path))
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return fault.E(op, fault.Precondition, path, fmt.Errorf("%s can't be made: %w", path, err))
	}
	return e.config.Footprint.Written(path)
}
