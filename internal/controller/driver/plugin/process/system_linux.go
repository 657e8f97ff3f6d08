package process

import (
	"errors"
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

// attributes has the child lead a group of its own, end when we do, however we end, and have the rights of one user alone.
func attributes(user *User) *syscall.SysProcAttr {
	attributes := &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if user != nil {
		attributes.Credential = &syscall.Credential{Uid: user.UID, Gid: user.GID, Groups: user.Groups}
	}
	return attributes
}

// launch starts a program. Another user's is opened here and run as the open file, since that user can't look into directories of
// ours. It may run the file itself, or else the error says so.
func launch(command *exec.Cmd, user *User) error {
	if user == nil {
		return command.Start()
	}
	file, err := os.OpenFile(command.Path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer file.Close()
	name := command.Path
	command.ExtraFiles = []*os.File{file}
	command.Path = "/proc/self/fd/3" // the first after standard error
	err = command.Start()
	if failed := new(os.PathError); errors.As(err, &failed) && failed.Path == command.Path {
		failed.Path = name
	}
	return err
}

// reap waits for a child's end and calls finish before the child's number can be another's.
func reap(command *exec.Cmd, finish func()) error {
	for unix.Waitid(unix.P_PID, command.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil) == unix.EINTR { //nolint:errorlint // a bare number
	}
	finish()
	return command.Wait()
}
