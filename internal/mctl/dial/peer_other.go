//go:build !linux

package dial

import (
	"context"
	"errors"
	"net"
	"os"
	"syscall"
	"time"
)

// peerOf knows nothing here; the mode of the socket's directory is the protection.
func peerOf(*net.UnixConn) (uid, pid int, err error) { return os.Getuid(), 0, nil }

func executableOf(int) (os.FileInfo, error) { return nil, errors.ErrUnsupported }

// Process is a hold on a process.
type Process struct{ pid int }

// Hold takes hold of a process. A process that is gone already is nil without an error.
func Hold(pid int) (*Process, error) {
	if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
		return nil, nil
	}
	return &Process{pid}, nil
}

// Gone waits until the process has ended.
func (p *Process) Gone(ctx context.Context) error {
	if p == nil {
		return nil
	}
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	for !errors.Is(syscall.Kill(p.pid, 0), syscall.ESRCH) {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-look.C:
		}
	}
	return nil
}

// Release lets go of the process.
func (p *Process) Release() {}
