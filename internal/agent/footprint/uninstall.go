package footprint

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"mctl/internal/fault"
)

// Uninstall takes away all that mctl put on this host: its units, every file as long as it is still what mctl left, with
// the former content put back, the state directory and the program. Docker stays as it is, with its containers, unless
// purgeEngine is set and its packages came by mctl; a package that something else needs by now stays as well. What others
// changed since stays as they left it, and is told. Open connections through the front end.
//
// It writes the same lines to w as Install. It may be repeated, also after a crash; where nothing is left it succeeds. It
// must not run inside mctl-agent.service, which it stops: see Release.
func Uninstall(ctx context.Context, w io.Writer, config Config, purgeEngine bool) error {
	return report(w, func(say progress) error {
		config, err := config.orDefaults()
		if err != nil {
			return err
		}
		return config.uninstall(ctx, Leaving{PurgeEngine: purgeEngine, Told: true}, say)
	})
}

func (c Config) uninstall(ctx context.Context, how Leaving, say progress) error {
	unlock, err := c.alone(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	return c.remove(ctx, how, say)
}

// remove takes all away, or hands over, while nobody else does.
func (c Config) remove(ctx context.Context, how Leaving, say progress) error {
	journal := OpenJournal(c.Root)
	if _, err := journal.Read(); err != nil { // a damaged one, before anything is changed
		return err
	}
	if begun := c.leaving(); begun.HandOver != nil { // and is ended so
		how.HandOver, how.Handed = begun.HandOver, begun.Handed
	}
	if exists(c.at(StateDir)) {
		// An agent that starts meanwhile, as after a power cut, goes on with this, and does not serve the port that goes back.
		if err := c.note(how); err != nil {
			return err
		}
	}
	say("stopping the agent")
	units := c.units()
	if err := c.stopUnits(ctx, units); err != nil {
		return err
	}
	if exists(c.at(StateDir)) { // once more: until it was stopped, the agent may have taken the note for a wish that was taken back
		if err := c.note(how); err != nil {
			return err
		}
	}
	switch {
	case !exists(c.at(StateDir)), how.Handed:
	case how.HandOver != nil:
		if err := c.leaveTo(ctx, how, units, say); err != nil {
			return err
		}
	case c.Withdraw != nil:
		if err := c.Withdraw(ctx); err != nil {
			say(fmt.Sprintf("going on although %v", err)) // files that nobody else changed are put back all the same
		}
	}
	book, err := journal.Read()
	if err != nil {
		return err
	}
	touched, err := journal.Restore(book, say)
	if err != nil {
		return err
	}
	if err := c.settle(ctx, touched); err != nil {
		return err
	}
	if how.PurgeEngine && len(book.Packages) > 0 && c.Purge != nil {
		kept, err := c.Purge(ctx, book.Packages, say)
		if err != nil {
			return fault.E("footprint.uninstall", fault.KindOf(err), "", fmt.Errorf("can't remove Docker's packages: %w", err)).WithHint(fault.HintOf(err))
		}
		if kept != "" {
			say("Docker's packages stay: " + kept)
		}
	}
	journal.RemoveFolders(book)
	// Until here the agent would start with the host and go on. The journal goes with its folder, and the program last, so
	// that whatever is left can be taken away by a second call.
	if err := c.removeUnits(ctx, units); err != nil {
		return err
	}
	journal.Sweep(Binary)
	for _, path := range append(c.stateFiles(), linkDir, StateDir, Binary) {
		if err := os.RemoveAll(c.at(path)); err != nil {
			return fault.E("footprint.uninstall", fault.Precondition, path, fmt.Errorf("can't remove %s: %w", path, err))
		}
	}
	return nil
}

// stateFiles are what is in the state directory, without the note that says that it goes, and how.
func (c Config) stateFiles() []string {
	entries, _ := os.ReadDir(c.at(StateDir)) // what can't be listed is tried as a whole
	var paths []string
	for _, entry := range entries {
		if entry.Name() != LeavingFile {
			paths = append(paths, filepath.Join(StateDir, entry.Name()))
		}
	}
	return paths
}

// leaving is the note of a removal that has begun; the zero value where none has.
func (c Config) leaving() Leaving {
	var l Leaving
	text, err := os.ReadFile(c.at(filepath.Join(StateDir, LeavingFile)))
	if err != nil || json.Unmarshal(text, &l) != nil {
		return Leaving{}
	}
	return l
}

func (c Config) note(l Leaving) error {
	text, err := json.Marshal(l)
	if err != nil {
		return fault.E("footprint.note", fault.Internal, LeavingFile, err)
	}
	return c.write(filepath.Join(StateDir, LeavingFile), text, 0o600)
}

// alone waits until no other removal is under way: the agent's own, and one over SSH. The lock ends with its process, and
// whoever waited finds nothing left to do. Those that lost their SSH session meanwhile do not gather: each gives up in the end.
func (c Config) alone(ctx context.Context) (unlock func(), err error) {
	file, err := os.Open(c.at(Binary))
	if errors.Is(err, fs.ErrNotExist) {
		return func() {}, nil
	}
	if err != nil {
		return nil, fault.E("footprint.alone", fault.Precondition, Binary, err)
	}
	ctx, cancel := context.WithTimeout(ctx, c.Patience)
	defer cancel()
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) != nil {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			file.Close()
			return nil, fault.E("footprint.alone", fault.Unavailable, Binary, fmt.Errorf("another removal is under way: %w", ctx.Err()))
		}
	}
	return func() { file.Close() }, nil
}

// units are those of ours that are there.
func (c Config) units() []string {
	return slices.DeleteFunc([]string{agentUnit, frontSocket, swarmSocket, frontUnit}, func(name string) bool { return !exists(c.at(unitDir + name)) })
}

// stopUnits ends whatever runs of ours.
func (c Config) stopUnits(ctx context.Context, units []string) error {
	if len(units) == 0 {
		return nil
	}
	if err := c.systemctl(ctx, append([]string{"stop"}, units...)...); err != nil {
		return err
	}
	for _, socket := range []string{frontSocket, swarmSocket} {
		if !slices.Contains(units, socket) {
			continue
		}
		// Not at the next boot either: whoever had the port before us may have it back by then.
		if err := c.systemctl(ctx, "--no-reload", "disable", socket); err != nil {
			return err
		}
	}
	if slices.Contains(units, frontUnit) {
		// Fronts that drain would do so until their last client goes. There may be none, which is an error to systemctl.
		_, _ = c.Runner.Run(ctx, "systemctl", "kill", "-s", "KILL", frontUnit)
	}
	return nil
}

// removeUnits takes our units away, which are stopped.
func (c Config) removeUnits(ctx context.Context, units []string) error {
	if len(units) == 0 {
		return nil
	}
	if err := c.systemctl(ctx, append([]string{"--no-reload", "disable"}, units...)...); err != nil {
		return err
	}
	_, _ = c.Runner.Run(ctx, append([]string{"systemctl", "reset-failed"}, units...)...)
	journal := OpenJournal(c.Root)
	for _, name := range units {
		journal.Sweep(unitDir + name)
		if err := os.Remove(c.at(unitDir + name)); err != nil {
			return fault.E("footprint.removeUnits", fault.Precondition, name, err)
		}
	}
	return c.systemctl(ctx, "daemon-reload")
}

// settle tells those whose files were put back.
func (c Config) settle(ctx context.Context, touched []string) error {
	if slices.ContainsFunc(touched, func(path string) bool { return strings.HasPrefix(path, unitDir) }) {
		if err := c.systemctl(ctx, "daemon-reload"); err != nil {
			return err
		}
	}
	if slices.Contains(touched, "/etc/docker/daemon.json") {
		// A dockerd that is stopped or gone has nothing to read again.
		_, _ = c.Runner.Run(ctx, "systemctl", "kill", "-s", "HUP", "--kill-who=main", "docker.service")
	}
	if slices.Contains(touched, hostnameFile) {
		if name, err := os.ReadFile(c.at(hostnameFile)); err == nil && validHostname(strings.TrimSpace(string(name))) {
			return c.tellKernel(strings.TrimSpace(string(name)))
		}
	}
	return nil
}

// releaseAgain is the pause after a removal that failed, in seconds: a package manager's lock may be held.
const releaseAgain = "10"

// Release takes everything away from within the agent: systemd runs Uninstall outside of the agent's unit, which that
// stops, and again and again should it fail or be killed, since nobody is left then who could. It returns when that is done, or
// when the agent was stopped by it. Precondition when systemd refuses, as for a second call while the first works.
func Release(ctx context.Context, config Config, purgeEngine bool) error {
	config, err := config.orDefaults()
	if err != nil {
		return err
	}
	args := []string{
		"systemd-run", "--quiet", "--collect", "--wait", "--unit=mctl-release",
		"--property=KillMode=process", "--property=Restart=on-failure", "--property=RestartSec=" + releaseAgain, Binary, "uninstall",
	}
	if purgeEngine {
		args = append(args, "--purge-engine")
	}
	if _, err := config.Runner.Run(ctx, args...); err != nil {
		return fault.E("footprint.Release", fault.Precondition, "", fmt.Errorf("can't take mctl off this host: %w", err)).
			WithHint("see `journalctl -u mctl-release` on the host, or run `mctl-agent uninstall` there")
	}
	return nil
}
