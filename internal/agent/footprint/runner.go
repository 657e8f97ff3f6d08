package footprint

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"
)

// Runner runs a program by its argument vector, never by a shell, and returns the end of what it wrote. The error tells
// which program failed and what it said last.
type Runner interface {
	Run(ctx context.Context, args ...string) (string, error)
}

// local runs programs on this host.
type local struct{}

const (
	maxOutput = 1 << 20
	// grace is how long a program that was told to end may take.
	grace = 15 * time.Second
)

// Run implements Runner.
func (local) Run(ctx context.Context, args ...string) (string, error) {
	command := exec.CommandContext(ctx, args[0], args[1:]...)
	command.Env = append(os.Environ(), "PATH="+os.Getenv("PATH")+":/usr/local/sbin:/usr/sbin:/sbin", "LC_ALL=C", "DEBIAN_FRONTEND=noninteractive", "NEEDRESTART_MODE=l")
	command.Cancel = func() error { return command.Process.Signal(os.Interrupt) }
	command.WaitDelay = grace
	var output tail
	command.Stdout, command.Stderr = &output, &output
	err := command.Run()
	text := strings.TrimSpace(output.String())
	switch {
	case err == nil:
		return text, nil
	case ctx.Err() != nil:
		return text, fmt.Errorf("%s: %w", args[0], ctx.Err())
	case errors.Is(err, exec.ErrNotFound):
		return text, fmt.Errorf("%s: %w", args[0], errMissing)
	}
	return text, fmt.Errorf("%s failed: %s (%w)", strings.Join(args[:min(2, len(args))], " "), lastLine(text), err)
}

var errMissing = errors.New("there is no such program")

func lastLine(text string) string { return text[strings.LastIndexByte(text, '\n')+1:] }

// tail keeps the last bytes that were written.
type tail struct{ bytes.Buffer }

func (t *tail) Write(p []byte) (int, error) {
	n, err := t.Buffer.Write(p)
	if over := t.Len() - maxOutput; over > 0 {
		t.Next(over)
	}
	return n, err
}
