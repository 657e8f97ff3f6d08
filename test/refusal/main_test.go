//go:build unix

// Package refusal tries bad input on the real mctl and the real controller, as any user: no host and no root is needed. What
// needs a host is in test/e2e.
package refusal

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode"
)

// limit bounds every single command.
const limit = 40 * time.Second

// programs is where the binaries of a development build are.
var programs string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	syscall.Umask(0o022) // other users run the programs, too
	dir, err := os.MkdirTemp("", "refusal")
	if err == nil {
		defer os.RemoveAll(dir)
		programs = filepath.Join(dir, "bin")
		err = errors.Join(os.Chmod(dir, 0o755), build("dev", programs)) //nolint:gosec // as above
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// build makes mctl and controller of a version.
func build(version, dir string) error {
	command := exec.Command("go", "build", "-buildvcs=false", "-ldflags", "-s -w -X mctl/internal/buildinfo.version="+version,
		"-o", dir+string(filepath.Separator), "mctl/cmd/mctl", "mctl/cmd/controller")
	if output, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w\n%s", err, output)
	}
	return nil
}

// user is somebody with a state directory of their own.
type user struct {
	t     *testing.T
	state string
	bin   string   // directory of the programs
	env   []string // beside the usual, and wins
	drop  bool     // not root, where the tests are
}

// newUser makes a user whose controller ends with the test.
func newUser(t *testing.T) *user {
	t.Helper()
	home := t.TempDir()
	u := &user{t: t, state: filepath.Join(home, "state"), bin: programs}
	u.env = []string{"HOME=" + home, "XDG_RUNTIME_DIR=" + u.runtimeDir()}
	t.Cleanup(func() {
		if r := u.run("controller", "stop"); r.code != 0 {
			t.Errorf("controller stop: %s", r)
		}
	})
	return u
}

// runtimeDir is private and has a short path, since sockets go into it.
func (u *user) runtimeDir() string {
	u.t.Helper()
	dir, err := os.MkdirTemp("", "r")
	if err != nil {
		u.t.Fatal(err)
	}
	u.t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// nobody is who owns nothing and is not root.
const nobody = 65534

// unprivileged has a user go on as nobody where the tests run as root.
func (u *user) unprivileged() *user {
	u.t.Helper()
	u.drop = os.Getuid() == 0
	if !u.drop {
		return u
	}
	home := u.variable("HOME")
	err := errors.Join(os.Chown(home, nobody, nobody), os.Chown(u.variable("XDG_RUNTIME_DIR"), nobody, nobody),
		os.Chmod(filepath.Dir(home), 0o755)) //nolint:gosec // the test's directory, on the way
	if err != nil {
		u.t.Fatal(err)
	}
	return u
}

func (u *user) variable(name string) string {
	for _, v := range slices.Backward(u.env) {
		if value, found := strings.CutPrefix(v, name+"="); found {
			return value
		}
	}
	return ""
}

// with is the same user with further variables.
func (u *user) with(variables ...string) *user {
	other := *u
	other.env = append(slices.Clone(u.env), variables...)
	return &other
}

type result struct {
	args           []string
	stdout, stderr string
	code           int
}

func (r result) String() string {
	return fmt.Sprintf("%q: exit %d\nstdout: %q\nstderr: %q", r.args, r.code, r.stdout, r.stderr)
}

// run runs mctl without a terminal.
func (u *user) run(args ...string) result {
	u.t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(u.t.Context()), limit)
	defer cancel()
	command := exec.CommandContext(ctx, filepath.Join(u.bin, "mctl"), args...)
	command.Env = append([]string{"PATH=" + os.Getenv("PATH"), "SHELL=/bin/sh", "MCTL_HOME=" + u.state}, u.env...)
	command.Dir = u.variable("HOME")
	if u.drop {
		command.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}
	var stdout, stderr bytes.Buffer
	command.Stdout, command.Stderr, command.WaitDelay = &stdout, &stderr, time.Second
	err := command.Run()
	r := result{args: args, stdout: stdout.String(), stderr: stderr.String()}
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		r.code = exit.ExitCode()
	case err != nil:
		r.code, r.stderr = -1, r.stderr+err.Error()
	}
	return r
}

func (u *user) must(args ...string) string {
	u.t.Helper()
	r := u.run(args...)
	if r.code != 0 || r.stderr != "" {
		u.t.Fatalf("want success in silence: %s", r)
	}
	return r.stdout
}

// refused runs a command that must fail: with the code, one sentence that has the text, and a hint on the line below. The
// same with --output json is one document that says the same.
func (u *user) refused(code int, says string, args ...string) result {
	u.t.Helper()
	r := u.run(args...)
	sentence, hint := complaint(u.t, r)
	if r.code != code || !strings.Contains(sentence, says) {
		u.t.Errorf("want exit %d and %q: %s", code, says, r)
	}
	if strings.ContainsFunc(strings.ReplaceAll(r.stdout, "\n", ""), unicode.IsControl) {
		u.t.Errorf("the terminal is painted on: %s", r)
	}
	j := u.run(append([]string{"--output", "json"}, args...)...)
	var document struct {
		Errors []struct {
			Message, Hint, Kind string
		}
		ExitCode int
	}
	decoder := json.NewDecoder(strings.NewReader(j.stdout))
	if err := decoder.Decode(&document); err != nil || decoder.More() || len(document.Errors) != 1 {
		u.t.Fatalf("want one document with one error: %v, %s", err, j)
	}
	if e := document.Errors[0]; e.Message != sentence || e.Hint != hint || e.Kind == "" || document.ExitCode != code || j.code != code {
		u.t.Errorf("want what the text says: %+v, %s\nbeside %s", document, j, r)
	}
	return r
}

// complaint takes apart what is on standard error: a sentence, and a hint unless the sentence has one.
func complaint(t *testing.T, r result) (sentence, hint string) {
	t.Helper()
	sentence, hint, found := strings.Cut(strings.TrimSuffix(r.stderr, "\n"), "\nHint: ")
	if !found && !strings.Contains(sentence, "See '") && !strings.Contains(sentence, "Use \"") {
		t.Errorf("there is no hint: %s", r)
	}
	if sentence == "" || strings.ContainsFunc(sentence+hint, unicode.IsControl) {
		t.Errorf("want a sentence and a hint, a line each: %s", r)
	}
	for _, word := range []string{"rpc error", "desc =", "grpc", "goroutine", "panic", "%!"} {
		if strings.Contains(r.stderr, word) {
			t.Errorf("%q is not for people: %s", word, r)
		}
	}
	return sentence, hint
}

// untouched checks that a refused create left neither a record nor a file.
func (u *user) untouched() {
	u.t.Helper()
	if names := u.must("ls", "-q"); names != "" {
		u.t.Errorf("records are left: %q", names)
	}
	if entries, err := os.ReadDir(u.state); err != nil || len(entries) != 1 || entries[0].Name() != "mctl" {
		u.t.Errorf("the state directory holds %v, %v", entries, err)
	}
}

// files are all regular files below a directory with their content.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	found := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		content, err := os.ReadFile(path)
		found[path] = string(content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func write(t *testing.T, path, content string, mode os.FileMode) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
	return path
}
