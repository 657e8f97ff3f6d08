//go:build linux

package nspawn

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"mctl/internal/fault"
)

// keeper keeps a host's processes apart from the controller's, so that they outlive it.
type keeper interface {
	// start has the host run. It returns once that is certain, even should the controller die; not once it has booted.
	start(ctx context.Context, h *host, b boot) error
	// main is the process that ends when the host is off; nil when it is off.
	main(ctx context.Context, h *host) (*process, error)
	// end kills what is left of a host, and removes its cgroups or unit. A host without any is success.
	end(ctx context.Context, h *host) error
}

// boot is how to run a host.
type boot struct {
	arguments []string // of systemd-nspawn
	limits
}

// Signals that systemd as PID 1 understands: the real-time ones count from 34 in the C library.
const (
	poweroff = unix.Signal(34 + 4)
	// rebooted is nspawn's exit code when the host wants to boot again.
	rebooted = "133"
)

const (
	// launchLimit bounds how long PID 1 may take to appear; far less is usual.
	launchLimit = 30 * time.Second
	// shutdownLimit is how long a host may take to shut down before its power is cut.
	shutdownLimit = 60 * time.Second
	// killLimit bounds how long the kernel may take to end a host.
	killLimit = 15 * time.Second
	// glance is how long we look at a process before looking at another thing that has no event.
	glance = 20 * time.Millisecond
)

// arguments is the command line of nspawn. A host is no boundary against its root: engines need every capability.
func (h *host) arguments(bridge string) []string {
	colon := strings.NewReplacer(`\`, `\\`, `:`, `\:`)
	return []string{
		"--quiet", "--register=no", "--keep-unit", "--settings=no", "--link-journal=no", "--resolv-conf=off", "--timezone=off",
		"-M", h.id, "--hostname=" + h.Name, "-D", h.path("root"), "--network-bridge=" + bridge,
		"--capability=all", "--system-call-filter=add_key keyctl bpf",
		"--bind=" + colon.Replace(h.path("docker")) + ":/var/lib/docker",
		"--bind=" + colon.Replace(h.path("containerd")) + ":/var/lib/containerd",
		"--bind-ro=" + colon.Replace(h.path("host0.network")) + ":/run/systemd/network/10-mctl.network",
		"--boot",
	}
}

// awaitInit waits until a host's PID 1 is there, which tells a start that failed from one that did not.
func awaitInit(ctx context.Context, h *host, main *process) error {
	ctx, cancel := context.WithTimeout(ctx, launchLimit)
	defer cancel()
	for {
		init, err := initBelow(main.pid)
		if err != nil || init != nil {
			init.close()
			return err
		}
		look, done := context.WithTimeout(ctx, glance)
		err = main.wait(look)
		done()
		if err == nil {
			return fault.E("nspawn.start", fault.Precondition, h.Name, fmt.Errorf("the host did not start: %s", lastWords(h.path("nspawn.log")))).
				WithHint("see " + h.path("nspawn.log"))
		}
		if ctx.Err() != nil {
			return fault.E("nspawn.start", fault.Unavailable, h.Name, fmt.Errorf("the host did not start: %w", ctx.Err()))
		}
	}
}

// shutDown turns a host off, and returns when it is off: friendly at first unless forced.
func shutDown(ctx context.Context, k keeper, h *host, force bool) error {
	main, err := k.main(ctx, h)
	if err != nil {
		return err
	}
	if main != nil {
		defer main.close()
		if !force {
			if err := ask(ctx, main); err != nil {
				return err
			}
		}
		if err := cut(ctx, main); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, killLimit)
	defer cancel()
	if err := k.end(ctx, h); err != nil {
		return err
	}
	return os.RemoveAll(h.path("address"))
}

// ask has PID 1 shut down, and waits a while. One that has just been started cannot hear it yet.
func ask(ctx context.Context, main *process) error {
	limit, cancel := context.WithTimeout(ctx, shutdownLimit)
	defer cancel()
	for {
		told, err := tell(main)
		if err != nil {
			return err
		}
		look, done := limit, context.CancelFunc(func() {})
		if !told {
			look, done = context.WithTimeout(limit, glance)
		}
		err = main.wait(look)
		done()
		if err == nil || limit.Err() != nil {
			return ctx.Err()
		}
	}
}

func tell(main *process) (bool, error) {
	init, err := initOf(main)
	if init == nil || err != nil {
		return false, err
	}
	defer init.close()
	if !init.takes(poweroff) {
		return false, nil
	}
	return true, init.signal(poweroff)
}

// cut kills PID 1, and with it everything inside. Killing nspawn alone would leave the host running. What is left when
// nspawn is still preparing is the keeper's to end.
func cut(ctx context.Context, main *process) error {
	init, err := initOf(main)
	if init == nil || err != nil {
		return err
	}
	defer init.close()
	if err := init.signal(unix.SIGKILL); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, killLimit)
	defer cancel()
	if err := main.wait(ctx); err != nil {
		return fault.E("nspawn.stop", fault.Unavailable, "", fmt.Errorf("the host did not end: %w", err))
	}
	return nil
}

// initOf is the PID 1 that belongs to a main process; nil when there is none yet.
func initOf(main *process) (*process, error) {
	if isInit(main.pid) {
		return hold(main.pid) // nspawn was killed, the host lives on
	}
	return initBelow(main.pid)
}
