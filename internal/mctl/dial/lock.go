package dial

import (
	"context"
	"errors"
	"os"
	"syscall"
	"time"

	"mctl/internal/fault"
	"mctl/internal/mctl/state"
)

// Lock takes the file's lock, made for it, and returns what gives it back. fault.Unavailable when ctx ends first.
func Lock(ctx context.Context, path string) (func(), error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, state.Trouble(path, err)
	}
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	for {
		err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		switch {
		case err == nil:
			return func() { _ = file.Close() }, nil
		case !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR):
			_ = file.Close()
			return nil, state.Trouble(path, err)
		}
		select {
		case <-ctx.Done():
			_ = file.Close()
			if errors.Is(ctx.Err(), context.Canceled) {
				return nil, ctx.Err()
			}
			return nil, fault.New("dial.lock", fault.Unavailable, path, "another mctl has been starting what is wanted for too long").
				WithHint("see who holds " + path)
		case <-look.C:
		}
	}
}
