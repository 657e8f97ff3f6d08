// Package examples_test runs what the examples say.
package examples_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// limit bounds one command.
const limit = time.Minute

// world is a controller of its own, with the driver for hosts in memory, and a PATH with what the examples run.
type world struct {
	*testing.T
	environment []string
	socket      string
}

// programs is where what the examples run is built, once.
var programs string

func TestMain(m *testing.M) { os.Exit(test(m)) }

func test(m *testing.M) int {
	var err error
	if programs, err = os.MkdirTemp("", "mctl-examples-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(programs)
	for _, build := range [][]string{
		{"-o", programs, "mctl/cmd/mctl", "mctl/cmd/controller", "mctl/examples/watch"},
		{"-modfile", "../tools/grpcurl/go.mod", "-o", programs, "github.com/fullstorydev/grpcurl/cmd/grpcurl"},
	} {
		if output, err := exec.Command("go", append([]string{"build"}, build...)...).CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "go build %s: %v\n%s", build, err, output)
			return 1
		}
	}
	return m.Run()
}

func newWorld(t *testing.T) *world {
	t.Helper()
	state, runtime := t.TempDir(), t.TempDir()
	w := &world{T: t, environment: append(os.Environ(),
		"PATH="+programs+string(filepath.ListSeparator)+os.Getenv("PATH"), "MCTL_HOME="+state, "XDG_RUNTIME_DIR="+runtime, "MCTL_LISTEN=127.0.0.1:0")}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), limit)
		defer cancel()
		if output, err := w.command(ctx, "mctl controller stop").CombinedOutput(); err != nil {
			t.Errorf("stop the controller: %v\n%s", err, output)
		}
	})
	w.run("mctl controller start")
	socket, err := os.ReadFile(filepath.Join(state, "mctl", "socket"))
	if err != nil {
		t.Fatal(err)
	}
	w.socket = string(socket)
	return w
}

func (w *world) command(ctx context.Context, line string) *exec.Cmd {
	command := exec.CommandContext(ctx, "bash", "-c", line)
	command.Env = append(w.environment, "socket="+w.socket)
	command.WaitDelay = time.Second
	return command
}

func (w *world) run(line string) string {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.Context(), limit)
	defer cancel()
	output, err := w.command(ctx, line).CombinedOutput()
	if err != nil {
		w.Fatalf("%s: %v\n%s", line, err, output)
	}
	return string(output)
}

func TestEachLineOfTheWalkThroughSaysWhatItShows(t *testing.T) {
	page, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t)
	var inside bool
	var command, said string
	commands := 0
	for line := range strings.Lines(string(page)) {
		line = strings.TrimSpace(line)
		text, isCommand := strings.CutPrefix(line, "$ ")
		switch {
		case strings.HasPrefix(line, "```"):
			inside = line == "```console"
		case !inside:
		case isCommand:
			command, said = text, w.run(text)
			commands++
		case !strings.Contains(said, line):
			t.Errorf("%s\nshould say %s, and says\n%s", command, line, said)
		}
	}
	if commands < 10 {
		t.Errorf("only %d commands were found on the page", commands)
	}
}

func TestTheWatcherMissesNothing(t *testing.T) {
	w := newWorld(t)
	w.run("mctl create --driver fake before")
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	watch := w.command(ctx, `exec watch -socket "$socket"`)
	var log bytes.Buffer
	watch.Stderr = &log
	stdout, err := watch.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := watch.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(stdout)
	awaits := func(want string) {
		t.Helper()
		for lines.Scan() {
			if lines.Text() == want {
				return
			}
		}
		t.Fatalf("it never said %q; it logged\n%s", want, &log)
	}
	awaits("before: Running")
	awaits("1 machines")
	w.run("mctl create --driver fake web")
	awaits("web: Running")
	// What happens while the controller is away is told afterwards, once.
	w.run("mctl controller stop && mctl rm -y before && mctl create --driver fake other")
	awaits("before: removed")
	awaits("other: Running")
	if err := watch.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := watch.Wait(); err != nil {
		t.Errorf("an interrupt ends it with %v", err)
	}
}
