// Package program runs other programs: argument vectors only, never a shell, output line by line.
package program

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// Limits of what is read from a program.
const (
	maxLine   = 64 << 10
	maxOutput = 1 << 20
	tailLines = 60
	// grace is how long a program that was told to end may take; a package manager killed at once leaves a mess.
	grace = 15 * time.Second
)

// ErrMissing tells that there is no such program on this host.
var ErrMissing = errors.New("program is missing")

// Command is one call.
type Command struct {
	Args []string          // Args[0] is looked up in PATH
	Env  []string          // NAME=value each, added to our own environment
	Line func(line string) // gets each line of standard output and standard error; may be nil
}

// Runner runs programs. The error is an *ExitError when the program failed, wraps ErrMissing when there is none, and is the
// context's when that ended.
type Runner interface {
	Run(ctx context.Context, command Command) error
}

// ExitError is a program that ended badly.
type ExitError struct {
	Program string
	Code    int      // -1 when a signal ended it
	Tail    []string // its last lines
}

// Error names the program and its last line.
func (e *ExitError) Error() string {
	last := ""
	if len(e.Tail) > 0 {
		last = ": " + e.Tail[len(e.Tail)-1]
	}
	return fmt.Sprintf("%s ended with code %d%s", e.Program, e.Code, last)
}

// Local runs programs on this host.
type Local struct{}

// Run implements Runner.
func (Local) Run(ctx context.Context, command Command) error {
	path, err := exec.LookPath(command.Args[0])
	if err != nil {
		return fmt.Errorf("%s: %w", command.Args[0], ErrMissing)
	}
	reader, writer, err := os.Pipe()
	if err != nil {
		return err
	}
	defer reader.Close()
	cmd := exec.CommandContext(ctx, path, command.Args[1:]...)
	cmd.Args[0] = command.Args[0]
	cmd.Env = append(os.Environ(), command.Env...)
	cmd.Stdout, cmd.Stderr = writer, writer
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = grace
	if err := cmd.Start(); err != nil {
		writer.Close()
		return err
	}
	writer.Close()
	read := make(chan []string, 1)
	go func() { read <- lines(reader, command.Line) }()
	err = cmd.Wait()
	// A child that was left behind may hold the pipe open; what it still says is of no interest.
	if deadline := reader.SetReadDeadline(time.Now().Add(time.Second)); deadline != nil {
		reader.Close()
	}
	tail := <-read
	var exit *exec.ExitError
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("%s: %w", command.Args[0], ctx.Err())
	case errors.As(err, &exit):
		return &ExitError{Program: command.Args[0], Code: exit.ExitCode(), Tail: tail}
	}
	return err
}

// lines hands on each line and returns the last ones. Carriage returns count as line ends: progress bars use them.
func lines(reader io.Reader, each func(string)) []string {
	var tail []string
	buffered := bufio.NewReaderSize(reader, maxLine)
	for {
		chunk, _, err := buffered.ReadLine()
		for line := range strings.SplitSeq(string(chunk), "\r") {
			if line = strings.TrimRight(line, " \t"); line == "" {
				continue
			}
			if each != nil {
				each(line)
			}
			if tail = append(tail, line); len(tail) > tailLines {
				tail = tail[1:]
			}
		}
		if err != nil {
			return tail
		}
	}
}

// Output runs a program and returns what it wrote, at most 1 MiB of it.
func Output(ctx context.Context, runner Runner, args ...string) (string, error) {
	var output strings.Builder
	err := runner.Run(ctx, Command{Args: args, Env: []string{"LC_ALL=C"}, Line: func(line string) {
		if output.Len()+len(line) < maxOutput {
			output.WriteString(line)
			output.WriteByte('\n')
		}
	}})
	return output.String(), err
}
