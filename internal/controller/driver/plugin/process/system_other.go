//go:build !linux

package process

import (
	"os/exec"
	"syscall"
)

// attributes has the child lead a group of its own. Where the kernel can't end it with us, it ends by itself when our
// heartbeats stop.
func attributes(user *User) *syscall.SysProcAttr {
	attributes := &syscall.SysProcAttr{Setpgid: true}
	if user != nil {
		attributes.Credential = &syscall.Credential{Uid: user.UID, Gid: user.GID, Groups: user.Groups}
	}
	return attributes
}

func launch(command *exec.Cmd, _ *User) error { return command.Start() }

// reap waits for a child's end and calls finish.
func reap(command *exec.Cmd, finish func()) error {
	err := command.Wait()
	finish()
	return err
}
