//go:build linux

package nspawn

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"mctl/internal/fault"
)

// toolLimit bounds a tool that should answer at once.
const toolLimit = 30 * time.Second

// find returns the path of a system tool. The PATH of a user who became root often lacks sbin.
func find(tool string) (string, error) {
	if path, err := exec.LookPath(tool); err == nil {
		return path, nil
	}
	for _, dir := range []string{"/usr/sbin", "/sbin", "/usr/bin", "/bin"} {
		if path, err := exec.LookPath(filepath.Join(dir, tool)); err == nil {
			return path, nil
		}
	}
	return "", fault.E("nspawn.find", fault.Precondition, tool, fmt.Errorf("%s is not installed", tool)).
		WithHint(install)
}

// environment is what tools see: nothing of the controller's own.
func environment() []string {
	return []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8", "HOME=/root"}
}

// run runs a tool and returns what it printed. Its complaint becomes the error's text.
func run(ctx context.Context, tool string, args ...string) (string, error) {
	path, err := find(tool)
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, toolLimit)
	defer cancel()
	var stdout bytes.Buffer
	stderr := &tail{}
	command := exec.CommandContext(ctx, path, args...)
	command.Env, command.Stdout, command.Stderr, command.WaitDelay = environment(), &stdout, stderr, time.Second
	if err := command.Run(); err != nil {
		return "", complaint(ctx, tool, stderr, err)
	}
	return stdout.String(), nil
}

func complaint(ctx context.Context, tool string, stderr *tail, err error) error {
	if ctx.Err() != nil {
		return fault.E("nspawn."+tool, fault.Unavailable, "", fmt.Errorf("%s did not finish: %w", tool, ctx.Err()))
	}
	if words := stderr.String(); words != "" {
		err = errors.New(words)
	}
	return fault.E("nspawn."+tool, fault.Internal, "", fmt.Errorf("%s: %w", tool, err))
}

// tail keeps the end of what a tool says.
type tail struct{ kept []byte }

func (t *tail) Write(p []byte) (int, error) {
	const limit = 1024
	t.kept = append(t.kept, p...)
	if extra := len(t.kept) - limit; extra > 0 {
		t.kept = append([]byte(nil), t.kept[extra:]...)
	}
	return len(p), nil
}

// String returns the last lines as one.
func (t *tail) String() string { return oneLine(string(t.kept)) }

func oneLine(text string) string {
	var lines []string
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines[max(0, len(lines)-3):], "; ")
}

// lastWords is the end of a small log file, for an error's text.
func lastWords(path string) string {
	file, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer file.Close()
	if info, err := file.Stat(); err == nil && info.Size() > 2048 {
		_, _ = file.Seek(-2048, 2)
	}
	buffer := make([]byte, 2048)
	n, _ := file.Read(buffer)
	return oneLine(string(buffer[:n]))
}
