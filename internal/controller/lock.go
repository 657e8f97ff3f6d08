package controller

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"mctl/internal/fault"
)

// errAlready says that another controller has this state directory.
var errAlready = errors.New("another controller has this state directory")

// prepare makes the controller's part of a state directory and takes its lock, which lasts as long as the process: twenty
// that start at once become one.
func prepare(stateDir string) (own string, unlock func(), err error) {
	own = filepath.Join(stateDir, "mctl")
	if err := os.MkdirAll(own, 0o700); err != nil {
		return "", nil, unusable(stateDir, err)
	}
	lock, err := os.OpenFile(filepath.Join(own, "controller.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return "", nil, unusable(stateDir, err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		lock.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return "", nil, errAlready
		}
		return "", nil, unusable(stateDir, err)
	}
	return own, func() { lock.Close() }, nil
}

func unusable(stateDir string, err error) error {
	return fault.E("controller.prepare", fault.Precondition, stateDir, fmt.Errorf("the state directory can't be used: %w", err)).
		WithHint("see who owns " + stateDir + ", or name another with --storage-path")
}
