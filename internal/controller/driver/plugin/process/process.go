// Package process runs a foreign program so that nothing of it stays: in a process group of its own that ends with us, its
// output drained and bounded, always reaped.
package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"

	"mctl/internal/reaper"
)

const (
	// firstLimit is how long a program may take to say its first line; docker-machine's plugins get ten seconds.
	firstLimit = 10 * time.Second
	// lastWords is how long output is read after the program has ended: what it started in sessions of their own may hold the
	// pipes open for ever.
	lastWords = time.Second
	// giveUp is how long what was killed may take to end: the kernel may be waiting for a disk in its name, and one that has made itself
	// another user's can't be killed at all.
	giveUp = 10 * time.Second
)

// Errors about the program itself.
var (
	ErrEnded  = errors.New("it ended before it named its port")
	ErrSilent = fmt.Errorf("it named no port within %s", firstLimit)
	ErrFlood  = fmt.Errorf("it printed more than %d MiB, or a million lines", maxOutput>>20)
)

// Config is what is run, and how.
type Config struct {
	Path        string
	Environment []string
	Dir         string
	// Reaper remembers its group, so that what is left of it when we are killed is ended later.
	Reaper reaper.Reaper
	// User is whom it runs as; nil for ourselves.
	User *User
	// Line takes a line of standard output after the first, and Debug one of standard error: without its end, cut to 64 KiB. Each
	// is called by one goroutine at a time, until the program has ended.
	Line, Debug func(line string)
}

// User is an account of this computer, with the groups that it is in besides its own.
type User struct {
	UID, GID uint32
	Groups   []uint32
}

// Process is a running program. Stop it.
type Process struct {
	command  *exec.Cmd
	user     *User
	first    chan string
	ended    chan struct{} // closed when nothing of the group is left
	done     chan struct{} // closed when its output has been read, too
	flooded  sync.Once
	mu       sync.Mutex
	reason   error
	finished bool
}

// Start starts a program. The error is the system's, such as that the file is no program.
func Start(config Config) (*Process, error) {
	stdout, stderr, err := pipes()
	if err != nil {
		return nil, err
	}
	p := &Process{
		command: &exec.Cmd{
			Path: config.Path, Args: []string{config.Path}, Env: config.Environment, Dir: config.Dir,
			Stdout: stdout.write, Stderr: stderr.write, SysProcAttr: attributes(config.User),
		},
		user: config.User, first: make(chan string, 1), ended: make(chan struct{}), done: make(chan struct{}),
	}
	started := make(chan error, 1)
	go p.run(started, config.Reaper)
	err = <-started
	stdout.write.Close()
	stderr.write.Close()
	if err != nil {
		stdout.read.Close()
		stderr.read.Close()
		return nil, err
	}
	var readers sync.WaitGroup
	readers.Go(func() { defer close(p.first); p.drain(stdout.read, p.firstThen(config.Line)) })
	readers.Go(func() { p.drain(stderr.read, config.Debug) })
	go func() {
		<-p.ended
		end := time.Now().Add(lastWords)
		_ = stdout.read.SetReadDeadline(end)
		_ = stderr.read.SetReadDeadline(end)
		readers.Wait()
		close(p.done)
	}()
	return p, nil
}

// run starts the program, waits for its end and ends what it left behind in its group. The kernel ends a child with the thread
// that made it, not with the process: this one stays as long as the child does.
func (p *Process) run(started chan<- error, remember reaper.Reaper) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := launch(p.command, p.user)
	if err != nil {
		started <- err
		return
	}
	forget := remember.Remember(p.command.Process.Pid)
	started <- nil
	err = reap(p.command, func() { p.finish(); forget() })
	p.because(err)
	close(p.ended)
}

// First returns the first line of standard output: ErrSilent, ErrEnded, or ctx's error.
func (p *Process) First(ctx context.Context) (string, error) {
	timer := time.NewTimer(firstLimit)
	defer timer.Stop()
	select {
	case line, ok := <-p.first:
		if !ok {
			return "", ErrEnded
		}
		return line, nil
	case <-timer.C:
		return "", ErrSilent
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// Ended is closed when the program has ended.
func (p *Process) Ended() <-chan struct{} { return p.ended }

// Reason says why the program ended, once it has: nil where it exited with 0.
func (p *Process) Reason() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.reason
}

func (p *Process) because(reason error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.reason == nil {
		p.reason = reason
	}
}

// Stop waits for the program's end, for grace at most, and then ends its whole group. When it returns nothing of the group
// is left and the output has been read, unless the kernel did not end it within ten seconds. It may be repeated.
func (p *Process) Stop(grace time.Duration) {
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-p.ended:
	case <-timer.C:
		p.kill()
	}
	timer.Reset(giveUp)
	select {
	case <-p.done:
	case <-timer.C:
	}
}

// kill ends the group, as long as its number is its own.
func (p *Process) kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.finished {
		_ = syscall.Kill(-p.command.Process.Pid, syscall.SIGKILL)
	}
}

// finish ends what the program left behind in its group.
func (p *Process) finish() {
	p.kill()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.finished = true
}

type pipe struct{ read, write *os.File }

func pipes() (stdout, stderr pipe, err error) {
	if stdout.read, stdout.write, err = os.Pipe(); err != nil {
		return stdout, stderr, err
	}
	if stderr.read, stderr.write, err = os.Pipe(); err != nil {
		stdout.read.Close()
		stdout.write.Close()
	}
	return stdout, stderr, err
}
