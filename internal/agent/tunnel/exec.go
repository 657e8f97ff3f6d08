package tunnel

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"

	"mctl/internal/agent/tunnel/login"
	"mctl/internal/fault"
	tunnelv1 "mctl/proto/mctl/tunnel/v1"
)

// drainLimit is for what a terminal still holds when its program has ended. Others that have it open do not matter.
const (
	drainLimit = 100 * time.Millisecond
	maxRest    = 128 << 10 // bytes; a kernel holds less
)

// exec runs a command as sshd does: the user's shell gets it after -c, or is a login shell.
func (s *Server) exec(c *channel, user login.Account, wanted *tunnelv1.Exec) error {
	name := filepath.Base(user.Shell)
	args := []string{name, "-c", wanted.GetCommand()}
	if wanted.GetCommand() == "" {
		args = []string{"-" + name}
	}
	command := &exec.Cmd{Path: user.Shell, Args: args}
	environment := wanted.GetEnv()
	if terminal := wanted.GetTerminal(); terminal != nil {
		kind := terminal.GetType()
		if kind == "" {
			kind = "xterm"
		}
		command.Env = s.accounts.Environment(user, append(environment, "TERM="+kind))
		return s.runInTerminal(c, user, command, terminal.GetSize())
	}
	command.Env = s.accounts.Environment(user, environment)
	return s.run(c, user, command, true)
}

// run runs a program over pipes until it has ended and nobody holds its output any more, as sshd does.
func (s *Server) run(c *channel, user login.Account, command *exec.Cmd, hasInput bool) error {
	var pipes login.Pipes
	defer pipes.Close()
	var stdin *os.File
	if hasInput {
		stdin = pipes.To(&command.Stdin)
	}
	stdout, stderr := pipes.From(&command.Stdout), pipes.From(&command.Stderr)
	if pipes.Err != nil {
		return fault.E("tunnel.run", fault.Unavailable, "", pipes.Err)
	}
	p, err := login.Start(user, command, s.config.Reaper)
	pipes.Handed()
	if err != nil {
		return err
	}
	unwatch := p.EndWith(c.ctx, pipes.Close)
	if err := c.opened(); err != nil {
		c.end()
	}
	in := input{signal: func(name string) { login.Signal(p.PID(), name) }, closed: func() {}}
	if stdin != nil {
		in.data, in.closed = stdin, sync.OnceFunc(func() { _ = stdin.Close() })
	}
	c.listen(in)
	var outputs sync.WaitGroup
	outputs.Go(func() { _ = c.pump(stdout, output) })
	outputs.Go(func() { _ = c.pump(stderr, complaint) })
	<-p.Exited
	outputs.Wait()
	unwatch()
	c.exit(p.Result())
	return nil
}

// runInTerminal runs a program in a terminal of its own until it has ended.
func (s *Server) runInTerminal(c *channel, user login.Account, command *exec.Cmd, size *tunnelv1.Size) error {
	const op = "tunnel.runInTerminal"
	ours, theirs, err := openTerminal()
	if err != nil {
		return fault.New(op, fault.Unavailable, "", "the host has no terminal left: "+err.Error())
	}
	defer ours.Close()
	defer theirs.Close()
	// The user may open it by its name, and others may write to it, as after any login.
	if err := os.Chown(theirs.Name(), int(user.UID), s.accounts.TerminalGroup(user)); err == nil {
		_ = os.Chmod(theirs.Name(), 0o620)
	}
	resize(ours, &tunnelv1.Size{Rows: 24, Columns: 80})
	resize(ours, size)
	command.Stdin, command.Stdout, command.Stderr = theirs, theirs, theirs
	command.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	p, err := login.Start(user, command, s.config.Reaper)
	if err != nil {
		return err
	}
	theirs.Close()
	unwatch := p.EndWith(c.ctx, func() { ours.Close() })
	if err := c.opened(); err != nil {
		c.end()
	}
	c.listen(input{
		data: ours, closed: func() {}, size: func(size *tunnelv1.Size) { resize(ours, size) },
		signal: func(name string) { login.Signal(foreground(ours), name) },
	})
	var outputs sync.WaitGroup
	outputs.Go(func() { _ = c.pump(&rest{terminal: ours}, output) })
	<-p.Exited
	_ = ours.SetReadDeadline(time.Unix(1, 0))
	outputs.Wait()
	unwatch()
	c.exit(p.Result())
	return nil
}

// openTerminal opens a terminal: our end, which can be read with a deadline, and that of a program.
func openTerminal() (ours, theirs *os.File, err error) {
	blocking, theirs, err := pty.Open() // which leaves it so
	if err != nil {
		return nil, nil, err
	}
	defer blocking.Close()
	fd, err := unix.FcntlInt(blocking.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		theirs.Close()
		return nil, nil, err
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		theirs.Close()
		_ = unix.Close(fd)
		return nil, nil, err
	}
	return os.NewFile(uintptr(fd), blocking.Name()), theirs, nil
}

// rest reads a terminal: all of it, and once its deadline has passed, because the program has ended, what the kernel still
// holds. Others that have the terminal open do not matter then, whatever they go on to say.
type rest struct {
	terminal *os.File
	drained  int
	draining bool
}

// Read implements io.Reader.
func (r *rest) Read(p []byte) (int, error) {
	if !r.draining {
		n, err := r.terminal.Read(p)
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return n, err
		}
		r.draining = true
	}
	if r.drained > maxRest || r.terminal.SetReadDeadline(time.Now().Add(drainLimit)) != nil {
		return 0, io.EOF
	}
	n, err := r.terminal.Read(p)
	r.drained += n
	return n, err
}

// resize gives a terminal another size. What is zero stays as it was, since programs divide by it.
func resize(terminal *os.File, size *tunnelv1.Size) {
	const most = 10_000 // rows or columns
	if size.GetRows() == 0 || size.GetColumns() == 0 {
		return
	}
	_ = pty.Setsize(terminal, &pty.Winsize{Rows: uint16(min(size.GetRows(), most)), Cols: uint16(min(size.GetColumns(), most))})
}

// foreground is the group of processes that a terminal's keys are for.
func foreground(terminal *os.File) int {
	group := 0
	if raw, err := terminal.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { group, _ = unix.IoctlGetInt(int(fd), unix.TIOCGPGRP) })
	}
	return group
}
