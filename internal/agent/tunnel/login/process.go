package login

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"mctl/internal/fault"
	"mctl/internal/reaper"
)

// Process is a program in a session of its own, so that all that it started can be found.
type Process struct {
	// Exited is closed when the program has ended. The kernel does not forget it until Result, so its number stays its own.
	Exited chan struct{}

	command *exec.Cmd
	forget  func() // have nobody end it after us any more
}

// Start runs a program for a user, in the home directory if there is one, and has it remembered until it has ended.
// fault.Precondition when that is not possible. Result must be called.
func Start(user Account, command *exec.Cmd, remember reaper.Reaper) (*Process, error) {
	command.Dir = user.Home
	if info, err := os.Stat(user.Home); err != nil || !info.IsDir() {
		command.Dir = "/"
	}
	if command.SysProcAttr == nil {
		command.SysProcAttr = &syscall.SysProcAttr{}
	}
	command.SysProcAttr.Setsid = true
	command.SysProcAttr.Credential = &syscall.Credential{Uid: user.UID, Gid: user.GID, Groups: user.Groups, NoSetGroups: os.Geteuid() != 0}
	if err := command.Start(); err != nil {
		cause := err
		var path *os.PathError
		if errors.As(err, &path) {
			cause = path.Err
		}
		return nil, fault.New("login.Start", fault.Precondition, user.Name, "the host can't run "+command.Path+" for "+user.Name+": "+cause.Error())
	}
	p := &Process{command: command, Exited: make(chan struct{}), forget: remember.Remember(command.Process.Pid)}
	// The agent is spared when memory runs out; what it runs for others is not.
	_ = os.WriteFile(filepath.Join("/proc", strconv.Itoa(p.PID()), "oom_score_adj"), []byte("0"), 0)
	go func() {
		defer close(p.Exited)
		for unix.Waitid(unix.P_PID, p.PID(), nil, unix.WEXITED|unix.WNOWAIT, nil) == unix.EINTR { //nolint:errorlint // a bare errno
		}
	}()
	return p, nil
}

// PID is the program's number, and that of its session and of its first group of processes.
func (p *Process) PID() int { return p.command.Process.Pid }

// Result is how the program ended. It waits for that, and nothing else may be done with the process then.
func (p *Process) Result() (code uint32, signal string) {
	<-p.Exited
	p.forget()
	_ = p.command.Wait()
	status, ok := p.command.ProcessState.Sys().(syscall.WaitStatus)
	if ok && status.Signaled() {
		return 128 + uint32(status.Signal()), strings.TrimPrefix(unix.SignalName(status.Signal()), "SIG")
	}
	return uint32(p.command.ProcessState.ExitCode()), ""
}

// EndWith has the whole session end when ctx does, after before was called, until the function that it returns is called;
// that one waits for an end that is under way.
func (p *Process) EndWith(ctx context.Context, before func()) (done func()) {
	stopped := make(chan struct{})
	unhook := context.AfterFunc(ctx, func() {
		defer close(stopped)
		before()
		reaper.End(p.PID())
	})
	return func() {
		if !unhook() {
			<-stopped
		}
	}
}

// Signal sends a signal, named with or without SIG, to a group of processes. One that is unknown is sent to nobody.
func Signal(group int, name string) {
	if number := unix.SignalNum("SIG" + strings.ToUpper(strings.TrimPrefix(name, "SIG"))); number != 0 && group > 0 {
		_ = unix.Kill(-group, number)
	}
}
