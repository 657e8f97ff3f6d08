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
	// Outlives has the program go on to its end when the context ends, or when this process is killed: a package manager
	// that was stopped halfway leaves a mess. Line is called after the end then, with the last MiB at most.
	Outlives bool
	Keep     *os.File // is open in the program as well, such as a lock that ends with it; nil for none
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
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%s: %w", command.Args[0], err)
	}
	run := attended
	if command.Outlives {
		run = unattended
	}
	tail, err := run(ctx, path, command)
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

// attended runs a program that ends with the context, and returns its last lines.
func attended(ctx context.Context, path string, command Command) ([]string, error) {
	reader, writer, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer reader.Close()
	cmd := exec.CommandContext(ctx, path)
	command.prepare(cmd, writer)
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = grace
	err = cmd.Start()
	writer.Close()
	if err != nil {
		return nil, err
	}
	read := make(chan []string, 1)
	go func() { read <- lines(reader, command.Line) }()
	err = cmd.Wait()
	// A child that was left behind may hold the pipe open; what it still says is of no interest.
	if deadline := reader.SetReadDeadline(time.Now().Add(time.Second)); deadline != nil {
		reader.Close()
	}
	return <-read, err
}

// unattended runs a program that ends by itself alone. It writes to a file without a name: a pipe would break with us, and
// the program with the pipe.
func unattended(ctx context.Context, path string, command Command) ([]string, error) {
	file, err := os.CreateTemp("", "mctl-output-")
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if err := os.Remove(file.Name()); err != nil {
		return nil, err
	}
	cmd := exec.Command(path) //nolint:noctx // that is the point
	command.prepare(cmd, file)
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case err = <-ended:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	info, failed := file.Stat()
	if failed != nil {
		return nil, errors.Join(err, failed)
	}
	// Without a seek: a child that is left behind may still write where the file's position is.
	from := max(0, info.Size()-maxOutput)
	return lines(io.NewSectionReader(file, from, info.Size()-from), command.Line), err
}

// prepare fills in what a call is, in a process group of its own.
func (c Command) prepare(cmd *exec.Cmd, output *os.File) {
	cmd.Args = c.Args
	cmd.Env = append(os.Environ(), c.Env...)
	cmd.Stdout, cmd.Stderr = output, output
	if c.Keep != nil {
		cmd.ExtraFiles = []*os.File{c.Keep}
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
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
