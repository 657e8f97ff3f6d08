//go:build linux

package system

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Pause is how long a lock that another process holds is left alone before it is tried again: flock has no event.
const Pause = 10 * time.Millisecond

// LockFile takes the exclusive lock of a file, which is made. Closing it gives it back. waiting, if any, is called once
// when another has it.
func LockFile(ctx context.Context, path string, waiting func()) (*os.File, error) {
	return lock(ctx, path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, waiting)
}

// LockDir takes the exclusive lock of a directory; fs.ErrNotExist when there is none, or none any more.
func LockDir(ctx context.Context, path string) (*os.File, error) {
	return lock(ctx, path, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, nil)
}

func lock(ctx context.Context, path string, flags int, waiting func()) (*os.File, error) {
	ticker := time.NewTicker(Pause)
	defer ticker.Stop()
	for {
		file, err := os.OpenFile(path, flags, 0o600)
		if err != nil {
			return nil, err
		}
		err = unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil && same(file, path) {
			return file, nil
		}
		file.Close()
		switch {
		case err == nil: // removed while we waited for it
			continue
		case !errors.Is(err, unix.EWOULDBLOCK):
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		if waiting != nil {
			waiting()
			waiting = nil
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func same(file *os.File, path string) bool {
	held, err := file.Stat()
	if err != nil {
		return false
	}
	there, err := os.Stat(path)
	return err == nil && os.SameFile(held, there)
}
