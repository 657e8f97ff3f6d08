// Package e2e proves mctl on real hosts: systemd, sshd and dockerd in nspawn containers, the real binaries, the real
// docker CLI and ssh. It needs Linux, root, and what test/packages.sh installs.
package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// limit bounds every single command of a test.
const limit = 5 * time.Minute

func TestMain(m *testing.M) {
	if os.Getenv("MCTL_E2E") == "" {
		fmt.Fprintln(os.Stderr, "skipped: test/e2e (make e2e runs it)")
		os.Exit(0)
	}
	// What measures times runs first, one after the other; the rest runs side by side, which its labs allow.
	code := m.Run()
	if err := os.RemoveAll(imageDir()); err != nil {
		fmt.Fprintln(os.Stderr, "FAIL:", err)
		code = 1
	}
	os.Exit(code)
}

// lab is one state directory with its own controller.
type lab struct {
	t     *testing.T
	state string
	bin   string
	via   string // the way to Docker; empty for mctl's own choice
}

// newLab makes a lab and takes it down, with all of its machines, when the test ends.
func newLab(t *testing.T) *lab {
	t.Helper()
	bin, err := filepath.Abs("../../bin")
	if err != nil {
		t.Fatal(err)
	}
	l := &lab{t: t, state: t.TempDir(), bin: bin}
	t.Cleanup(func() {
		if t.Failed() {
			l.logTail()
		}
		if names := l.run("ls", "-q").stdout; names != "" {
			l.run(append([]string{"rm", "-f"}, strings.Fields(names)...)...)
		}
		if r := l.run("controller", "stop"); r.code != 0 {
			t.Errorf("controller stop: %s", r)
		}
		for _, line := range l.traces().left() {
			t.Errorf("left behind: %s", line)
		}
	})
	return l
}

// within is the lab as a subtest sees it, which fails alone.
func (l *lab) within(t *testing.T) *lab { return &lab{t: t, state: l.state, bin: l.bin, via: l.via} }

func (l *lab) logTail() {
	log, _ := os.ReadFile(filepath.Join(l.state, "mctl", "controller.log"))
	l.t.Logf("the controller's log ends:\n%s", log[max(0, len(log)-6000):])
}

// environment is what mctl runs in; extra come last and win.
func (l *lab) environment(extra ...string) []string {
	return append(plainEnvironment(), append([]string{"SHELL=/bin/bash", "MCTL_HOME=" + l.state, "MCTL_ENGINE_INSTALL=distro"}, extra...)...)
}

// plainEnvironment is this process's without what mctl, docker or docker-machine would heed.
func plainEnvironment() []string {
	return slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "DOCKER_") || strings.HasPrefix(v, "MCTL_") || strings.HasPrefix(v, "MACHINE_")
	})
}

// result is what a command came to.
type result struct {
	args           []string
	stdout, stderr string
	code           int
	took           time.Duration
}

func (r result) String() string {
	return fmt.Sprintf("%s: exit %d after %s\nstdout: %s\nstderr: %s", strings.Join(r.args, " "), r.code, r.took.Round(time.Millisecond), r.stdout, r.stderr)
}

// run runs mctl without a terminal.
func (l *lab) run(args ...string) result {
	l.t.Helper()
	return l.exec(nil, filepath.Join(l.bin, "mctl"), args...)
}

// must is run for what has to succeed, without a word on standard error.
func (l *lab) must(args ...string) string {
	l.t.Helper()
	r := l.run(args...)
	if r.code != 0 || r.stderr != "" {
		l.t.Fatalf("want success in silence: %s", r)
	}
	return r.stdout
}

// docker runs the docker CLI against a machine, as somebody does who has evaluated mctl env.
func (l *lab) docker(name string, stdin []byte, args ...string) result {
	l.t.Helper()
	return l.execEnv(l.dockerEnv(name), stdin, "docker", args...)
}

func (l *lab) mustDocker(name string, stdin []byte, args ...string) string {
	l.t.Helper()
	r := l.docker(name, stdin, args...)
	if r.code != 0 {
		l.t.Fatalf("want success: %s", r)
	}
	return r.stdout
}

// dockerEnv is what mctl env exports.
func (l *lab) dockerEnv(name string) []string {
	l.t.Helper()
	var environment []string
	args := []string{"env", "--shell", "bash"}
	if l.via != "" {
		args = append(args, "--via", l.via)
	}
	for line := range strings.Lines(l.must(append(args, name)...)) {
		if assignment, ok := strings.CutPrefix(strings.TrimSpace(line), "export "); ok {
			environment = append(environment, strings.ReplaceAll(assignment, `"`, ""))
		}
	}
	return environment
}

// eventsSince are the events of a type; the machine may be empty for all.
func (l *lab) eventsSince(since time.Time, name, kind string) string {
	l.t.Helper()
	return l.must("events", "--machine", name, "--type", kind, "--since", since.UTC().Format(time.RFC3339Nano))
}

// ssh logs in to a machine's host and runs a command there: many do things to the agent.
func (l *lab) ssh(name string, command ...string) string {
	l.t.Helper()
	r := l.run(append([]string{"ssh", "--via", "direct", name}, command...)...)
	if r.code != 0 {
		l.t.Fatalf("want success: %s", r)
	}
	return strings.TrimSpace(r.stdout)
}

func (l *lab) exec(stdin []byte, program string, args ...string) result {
	l.t.Helper()
	return l.execEnv(nil, stdin, program, args...)
}

func (l *lab) execEnv(environment []string, stdin []byte, program string, args ...string) result {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(l.t.Context()), limit)
	defer cancel()
	return runCommand(ctx, l.environment(environment...), stdin, program, args...)
}

func runCommand(ctx context.Context, environment []string, stdin []byte, program string, args ...string) result {
	command := exec.CommandContext(ctx, program, args...)
	command.Env = environment
	if stdin != nil {
		command.Stdin = bytes.NewReader(stdin)
	}
	var stdout, stderr bytes.Buffer
	command.Stdout, command.Stderr = &stdout, &stderr
	command.WaitDelay = 5 * time.Second
	start := time.Now()
	err := command.Run()
	r := result{args: append([]string{filepath.Base(program)}, args...), stdout: stdout.String(), stderr: stderr.String(), took: time.Since(start)}
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		r.code = exit.ExitCode()
	case err != nil:
		r.code, r.stderr = -1, r.stderr+err.Error()
	}
	return r
}

// eventually polls a condition that has no event of its own, such as what another program prints.
func eventually(t *testing.T, within time.Duration, what string, met func() bool) time.Duration {
	t.Helper()
	start := time.Now()
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for !met() {
		select {
		case <-ticker.C:
		case <-t.Context().Done():
			t.Fatalf("the test ended before: %s", what)
		}
		if time.Since(start) > within {
			t.Fatalf("not within %s: %s", within, what)
		}
	}
	return time.Since(start)
}
