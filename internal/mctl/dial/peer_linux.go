package dial

import (
	"context"
	"net"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"mctl/internal/fault"
)

// peerOf asks the kernel who is at the other end.
func peerOf(conn *net.UnixConn) (uid, pid int, err error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, 0, err
	}
	var found *unix.Ucred
	var inner error
	if err := raw.Control(func(fd uintptr) { found, inner = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); err != nil {
		return 0, 0, err
	}
	if inner != nil {
		return 0, 0, inner
	}
	return int(found.Uid), int(found.Pid), nil
}

// executableOf returns what a process runs, as far as the kernel lets us see.
func executableOf(pid int) (os.FileInfo, error) {
	return os.Stat("/proc/" + strconv.Itoa(pid) + "/exe")
}

// Process is a hold on a process that can't be mistaken for a later one with its number.
type Process struct{ fd int }

// Hold takes hold of a process. It must be released. A process that is gone already is nil without an error.
func Hold(pid int) (*Process, error) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err == unix.ESRCH { //nolint:errorlint // a bare errno
		return nil, nil
	}
	if err != nil {
		return nil, fault.E("dial.Hold", fault.Internal, strconv.Itoa(pid), err)
	}
	return &Process{fd}, nil
}

// Gone waits until the process has ended.
func (p *Process) Gone(ctx context.Context) error {
	if p == nil {
		return nil
	}
	const slice = 100 // ms between looks at the context
	for ctx.Err() == nil {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(p.fd), Events: unix.POLLIN}}, slice)
		if n > 0 {
			return nil
		}
		if err != nil && err != unix.EINTR { //nolint:errorlint // a bare errno
			return err
		}
	}
	return ctx.Err()
}

// Release lets go of the process. May be repeated.
func (p *Process) Release() {
	if p != nil && p.fd >= 0 {
		_ = unix.Close(p.fd)
		p.fd = -1
	}
}
