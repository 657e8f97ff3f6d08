//go:build linux

package nspawn

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"syscall"

	"github.com/hashicorp/go-hclog"
)

// sessions keeps hosts where systemd is not process 1: each in a session and cgroups of its own.
type sessions struct{ logger hclog.Logger }

// launcher waits for the go-ahead, so that a controller that dies before the host can be found again leaves nothing. The
// overlay lives in the launcher's own mount namespace and ends with it. A host that reboots gets a fresh version 2 cgroup:
// the old one has children, and so may hold no process any more.
const launcher = `read -r go || exit 1
exec </dev/null
umask 022
mount -t overlay mctl -o lowerdir=base,upperdir=upper,workdir=work root || exit 1
n=0
while :; do
	n=$((n+1))
	if [ -n "$MCTL_CGROUP" ]; then
		mkdir -p "$MCTL_CGROUP/boot$n" || exit 1
		( echo 0 >"$MCTL_CGROUP/boot$n/cgroup.procs" && exec "$MCTL_NSPAWN" "$@" )
	else
		"$MCTL_NSPAWN" "$@"
	fi
	[ $? -eq ` + rebooted + ` ] || exit
done`

// namespaced has a shell run in a mount namespace of its own that still sees what is unmounted outside.
func namespaced(script string) []string {
	return []string{"--mount", "--propagation", "slave", "--", "/bin/sh", "-c", script, "mctl-host"}
}

func (k sessions) start(ctx context.Context, h *host, b boot) error {
	g, err := newGroup(h.id)
	if err != nil {
		return err
	}
	if err := g.remove(ctx); err != nil { // of a time before, or of a start that was cut short
		return err
	}
	if err := g.make(b.limits); err != nil {
		return err
	}
	nspawn, err := find("systemd-nspawn")
	if err != nil {
		return err
	}
	unshare, err := find("unshare")
	if err != nil {
		return err
	}
	log, err := os.OpenFile(h.path("nspawn.log"), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	command := exec.Command(unshare, append(namespaced(launcher), b.arguments...)...) //nolint:gosec // argv only; it outlives every context
	command.Dir, command.Stderr = h.dir, log
	command.Env = append(environment(), "MCTL_NSPAWN="+nspawn, "MCTL_CGROUP="+g.unifiedDir())
	command.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	ahead, err := command.StdinPipe()
	if err != nil {
		return err
	}
	if err := command.Start(); err != nil {
		ahead.Close()
		return err
	}
	main, err := hold(command.Process.Pid)
	if err == nil {
		defer main.close()
		err = k.register(h, g, command.Process.Pid)
	}
	if err == nil {
		_, err = ahead.Write([]byte("go\n"))
	}
	ahead.Close()
	go func() { _ = command.Wait() }() // a parent has to take note of the end
	if err != nil {
		return err
	}
	k.logger.Debug("launched", "host", h.id, "pid", command.Process.Pid)
	return awaitInit(ctx, h, main)
}

// register makes the launcher findable.
func (k sessions) register(h *host, g group, pid int) error {
	if err := g.join(pid); err != nil {
		return err
	}
	id, err := identify(pid)
	if err != nil {
		return err
	}
	content, err := json.Marshal(id)
	if err != nil {
		return err
	}
	return h.write("launcher.json", content)
}

// main finds the launcher, or PID 1 where somebody killed the launcher and left the host running.
func (k sessions) main(_ context.Context, h *host) (*process, error) {
	var id identity
	if json.Unmarshal([]byte(h.read("launcher.json")), &id) == nil && id.PID > 0 {
		if p, err := holdSame(id); p != nil || err != nil {
			return p, err
		}
	}
	g, err := newGroup(h.id)
	if err != nil {
		return nil, err
	}
	for _, pid := range g.processes() {
		if isInit(pid) {
			return hold(pid)
		}
	}
	return nil, nil
}

func (k sessions) end(ctx context.Context, h *host) error {
	g, err := newGroup(h.id)
	if err != nil {
		return err
	}
	return g.remove(ctx)
}
