//go:build linux

package container

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"strconv"
	"syscall"

	"github.com/google/renameio/v2"
	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"

	"mctl/internal/controller/driver/nspawn/system"
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
done
`

func (k sessions) start(ctx context.Context, c Container, b Boot) error {
	g, err := newGroup(c.ID)
	if err != nil {
		return err
	}
	if err := g.remove(ctx); err != nil { // of a time before, or of a start that was cut short
		return err
	}
	if err := g.make(b); err != nil {
		return err
	}
	command, err := k.command(c, b, g)
	if err != nil {
		return err
	}
	log, err := os.OpenFile(c.path("nspawn.log"), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	command.Stderr = log
	ahead, err := command.StdinPipe()
	if err != nil {
		return err
	}
	keepToOurselves()
	if err := command.Start(); err != nil {
		ahead.Close()
		return err
	}
	main, err := hold(command.Process.Pid)
	defer main.close()
	if err == nil {
		err = register(c, g, command.Process.Pid)
	}
	if err == nil {
		_, err = ahead.Write([]byte("go\n"))
	}
	ahead.Close()
	go func() { _ = command.Wait() }() // a parent has to take note of the end
	if err != nil {
		return err
	}
	k.logger.Debug("launched", "host", c.ID, "pid", command.Process.Pid)
	return awaitInit(ctx, c, main)
}

// keepToOurselves sees that no file which this process was handed, such as a lock of whoever started it, is handed on: a host would
// hold it for as long as it lives. Files that we open ourselves are not handed on anyway.
func keepToOurselves() {
	entries, _ := os.ReadDir("/proc/self/fd")
	for _, entry := range entries {
		if fd, err := strconv.Atoi(entry.Name()); err == nil && fd > 2 {
			unix.CloseOnExec(fd)
		}
	}
}

// command is the launcher. It belongs to no context: the host outlives all of them.
func (k sessions) command(c Container, b Boot, g group) (*exec.Cmd, error) {
	nspawn, err := system.Find("systemd-nspawn")
	if err != nil {
		return nil, err
	}
	unshare, err := system.Find("unshare")
	if err != nil {
		return nil, err
	}
	arguments, err := c.launch(launcher, b)
	if err != nil {
		return nil, err
	}
	command := exec.Command(unshare, arguments...) //nolint:gosec // argv only
	command.Dir = c.Dir
	command.Env = append(system.Environment(), "MCTL_NSPAWN="+nspawn, "MCTL_CGROUP="+g.unifiedDir())
	command.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	return command, nil
}

// register makes the launcher findable.
func register(c Container, g group, pid int) error {
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
	return renameio.WriteFile(c.path("launcher.json"), content, 0o600, renameio.WithTempDir(c.Dir))
}

// main finds the launcher, or PID 1 where somebody killed the launcher and left the host running.
func (k sessions) main(_ context.Context, c Container) (*process, error) {
	var id identity
	content, _ := os.ReadFile(c.path("launcher.json"))
	if json.Unmarshal(content, &id) == nil && id.PID > 0 {
		if p, err := holdSame(id); p != nil || err != nil {
			return p, err
		}
	}
	g, err := newGroup(c.ID)
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

func (k sessions) end(ctx context.Context, c Container) error {
	g, err := newGroup(c.ID)
	if err != nil {
		return err
	}
	return g.remove(ctx)
}
