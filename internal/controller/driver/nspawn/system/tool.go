//go:build linux

// Package system is what the nspawn driver asks of the computer: tools, locks and mounts.
package system

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"mctl/internal/fault"
)

// Install names the packages of the tools.
const Install = "apt-get install systemd-container mmdebstrap iproute2 iptables"

// toolLimit bounds a tool that should answer at once.
const toolLimit = 30 * time.Second

// Find returns the path of a system tool. The PATH of a user who became root often lacks sbin.
func Find(tool string) (string, error) {
	if path, err := exec.LookPath(tool); err == nil {
		return path, nil
	}
	for _, dir := range []string{"/usr/sbin", "/sbin", "/usr/bin", "/bin"} {
		if path, err := exec.LookPath(filepath.Join(dir, tool)); err == nil {
			return path, nil
		}
	}
	return "", fault.E("system.Find", fault.Precondition, tool, fmt.Errorf("%s is not installed", tool)).
		WithHint(Install)
}

// Environment is what tools see: nothing of the controller's own.
func Environment() []string {
	return []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8", "HOME=/root"}
}

// Run runs a tool and returns what it printed. Its complaint becomes the error's text.
func Run(ctx context.Context, tool string, args ...string) (string, error) {
	path, err := Find(tool)
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, toolLimit)
	defer cancel()
	var stdout bytes.Buffer
	stderr := &Tail{}
	command := exec.CommandContext(ctx, path, args...)
	command.Env, command.Stdout, command.Stderr, command.WaitDelay = Environment(), &stdout, stderr, time.Second
	if err := command.Run(); err != nil {
		return "", Complaint(ctx, tool, stderr, err)
	}
	return stdout.String(), nil
}

// Complaint makes a fault of a tool that failed: Unavailable when the context ended, else Internal with what it said.
func Complaint(ctx context.Context, tool string, stderr *Tail, err error) *fault.Error {
	if ctx.Err() != nil {
		return fault.E("system.Run", fault.Unavailable, "", fmt.Errorf("%s did not finish: %w", tool, ctx.Err()))
	}
	if words := stderr.String(); words != "" {
		err = errors.New(words)
	}
	return fault.E("system.Run", fault.Internal, "", fmt.Errorf("%s: %w", tool, err))
}

// Tail keeps the end of what a tool says.
type Tail struct{ kept []byte }

// Write never fails.
func (t *Tail) Write(p []byte) (int, error) {
	const limit = 1024
	t.kept = append(t.kept, p...)
	if extra := len(t.kept) - limit; extra > 0 {
		t.kept = append([]byte(nil), t.kept[extra:]...)
	}
	return len(p), nil
}

// ShortName is a name for links, cgroups and units that is the same each time: interface names end after 15 characters.
func ShortName(length int, parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "/")))
	return "mctl-" + strings.ToLower(base32.StdEncoding.EncodeToString(sum[:]))[:length]
}

// String returns the last lines as one.
func (t *Tail) String() string { return oneLine(string(t.kept)) }

func oneLine(text string) string {
	var lines []string
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines[max(0, len(lines)-3):], "; ")
}

// LastWords is the end of a small log file, for an error's text.
func LastWords(path string) string {
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
