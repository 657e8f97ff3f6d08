package process

import (
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

// attributes has the child lead a group of its own, end when we do, however we end, and have the rights of one user alone.
func attributes(user *User) *syscall.SysProcAttr {
	attributes := &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if user != nil {
		attributes.Credential = &syscall.Credential{Uid: user.UID, Gid: user.GID}
	}
	return attributes
}

// reap waits for a child's end and calls finish before the child's number can be another's.
func reap(command *exec.Cmd, finish func()) error {
	for unix.Waitid(unix.P_PID, command.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil) == unix.EINTR { //nolint:errorlint // a bare number
	}
	finish()
	return command.Wait()
}
