package packages

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"mctl/internal/agent/engine/program"
	"mctl/internal/fault"
)

const (
	// lockCheck is how often a lock that somebody holds is looked at.
	lockCheck = time.Second
	// bootWait is how long cloud-init may take; it installs packages itself and would fail on our lock.
	bootWait = 5 * time.Minute
)

// AwaitBoot waits until cloud-init is done, where there is one. That it failed is not our business.
func AwaitBoot(ctx context.Context, c Config) error {
	if state, _ := program.Output(ctx, c.Runner, "cloud-init", "status"); !strings.Contains(state, "running") {
		return ctx.Err()
	}
	c.Progress("waiting for cloud-init")
	limited, cancel := context.WithTimeout(ctx, bootWait)
	defer cancel()
	if _, err := program.Output(limited, c.Runner, "cloud-init", "status", "--wait"); err != nil {
		c.Logger.Info("cloud-init did not end well", "error", err)
	}
	return ctx.Err()
}

// awaitLock waits until nobody holds one of the lock files, and says who does. Unavailable when that takes longer than
// LockWait: the caller comes again.
func (c Config) awaitLock(ctx context.Context, paths ...string) error {
	for told, waited := "", time.Duration(0); ; waited += lockCheck {
		holder := c.holder(paths)
		if holder == "" {
			return nil
		}
		if holder != told {
			c.Progress("waiting for the package manager's lock, held by " + holder)
			told = holder
		}
		if waited >= c.LockWait {
			return fault.New("packages.awaitLock", fault.Unavailable, "", "the package manager's lock is held by "+holder).
				WithHint("it is tried again; end that program on the host if it hangs")
		}
		if err := c.Pause(ctx, lockCheck); err != nil {
			return err
		}
	}
}

// holder names the process that holds one of the lock files; empty when nobody does.
func (c Config) holder(paths []string) string {
	for _, path := range paths {
		if pid := lockedBy(filepath.Join(c.Root, path)); pid > 0 {
			return fmt.Sprintf("%s (pid %d)", c.command(pid), pid)
		}
	}
	return ""
}

// lockedBy returns the process that holds a write lock on the file; 0 when nobody does or it can't be known.
func lockedBy(path string) int {
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return 0
	}
	defer file.Close()
	lock := unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart}
	if err := unix.FcntlFlock(file.Fd(), unix.F_GETLK, &lock); err != nil || lock.Type == unix.F_UNLCK {
		return 0
	}
	return int(lock.Pid)
}

func (c Config) command(pid int) string {
	name, err := os.ReadFile(filepath.Join(c.Root, "/proc", strconv.Itoa(pid), "comm"))
	if err != nil {
		return "a process"
	}
	return strings.TrimSpace(string(name))
}
