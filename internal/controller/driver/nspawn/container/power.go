//go:build linux

package container

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"mctl/internal/controller/driver/nspawn/system"
	"mctl/internal/fault"
)

const (
	// poweroff is what systemd as PID 1 understands: the C library counts real-time signals from 34.
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

// awaitInit waits until a host's PID 1 is there, which tells a start that failed from one that did not.
func awaitInit(ctx context.Context, c Container, main *process) error {
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
			return failed(fault.Precondition, c, errors.New(system.LastWords(c.path("nspawn.log"))))
		}
		if ctx.Err() != nil {
			return failed(fault.Unavailable, c, ctx.Err())
		}
	}
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
		look, done := context.WithCancel(limit)
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
		return fault.E("container.Stop", fault.Unavailable, "", fmt.Errorf("the host did not end: %w", err))
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
