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
	"time"

	"golang.org/x/sys/unix"

	"mctl/internal/fault"
)

// killAfter is how long what was hung up may take to end.
const killAfter = 2 * time.Second

// Process is a program in a session of its own, so that all that it started can be found.
type Process struct {
	// Exited is closed when the program has ended. The kernel does not forget it until Result, so its number stays its own.
	Exited chan struct{}

	command *exec.Cmd
}

// Start runs a program for a user, in the home directory if there is one. fault.Precondition when that is not possible. Result
// must be called.
func Start(user Account, command *exec.Cmd) (*Process, error) {
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
	p := &Process{command: command, Exited: make(chan struct{})}
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
		p.end()
	})
	return func() {
		if !unhook() {
			<-stopped
		}
	}
}

// end ends the program and all of its session: they are hung up, and soon after killed. Who left the session, as a service
// does that shall stay, stays.
func (p *Process) end() {
	p.each(unix.SIGHUP)
	limit := time.NewTimer(killAfter)
	defer limit.Stop()
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	for waiting := true; waiting && p.each(0) > 0; {
		select {
		case <-look.C:
		case <-limit.C:
			waiting = false
		}
	}
	for p.each(unix.SIGKILL) > 0 { // who was forking meanwhile is found the next time
		<-look.C
	}
}

// each sends a signal to the living of the session and counts them.
func (p *Process) each(signal unix.Signal) (living int) {
	entries, _ := os.ReadDir("/proc")
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil || !p.owns(pid) {
			continue
		}
		living++
		if signal != 0 {
			_ = unix.Kill(pid, signal)
		}
	}
	return living
}

// owns reports whether a process lives in the program's session.
func (p *Process) owns(pid int) bool {
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return false
	}
	// The name in parentheses may hold anything; state, parent, group and session follow.
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	return len(fields) > 3 && fields[0] != "Z" && fields[0] != "X" && fields[3] == strconv.Itoa(p.PID())
}

// Signal sends a signal, named with or without SIG, to a group of processes. One that is unknown is sent to nobody.
func Signal(group int, name string) {
	if number := unix.SignalNum("SIG" + strings.ToUpper(strings.TrimPrefix(name, "SIG"))); number != 0 && group > 0 {
		_ = unix.Kill(-group, number)
	}
}
