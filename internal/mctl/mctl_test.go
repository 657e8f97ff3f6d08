package mctl_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"mctl/internal/mctl"
)

// controllerBin is the controller's program, built once.
var controllerBin string

func TestMain(m *testing.M) {
	testscript.Main(build{m}, map[string]func(){"mctl": run, "docker-machine": run})
}

func run() { os.Exit(mctl.Main()) }

// build builds the controller before the tests run. It is a development build, so it has the driver for hosts in memory.
type build struct{ *testing.M }

// Run implements testscript.TestingM.
func (b build) Run() int {
	dir, err := os.MkdirTemp("", "mctl")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	controllerBin = filepath.Join(dir, "controller")
	if output, err := exec.Command("go", "build", "-o", controllerBin, "mctl/cmd/controller").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build the controller: %v\n%s", err, output)
		return 1
	}
	_ = os.Setenv("MCTL_CONTROLLER_BIN", controllerBin) // for tests that start one in their own process
	if testing.CoverMode() != "" && os.Getenv("GOCOVERDIR") == "" {
		_ = os.Setenv("GOCOVERDIR", dir) // or each process complains
	}
	return b.M.Run()
}

// TestScripts runs whole commands, as processes, against a controller's process. Each script has a state directory and a
// controller of its own.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script", Setup: setup, RequireUniqueNames: true, UpdateScripts: *mctl.Update,
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){"json": document, "jsonlines": documents},
	})
}

func setup(env *testscript.Env) error {
	runtime, err := os.MkdirTemp("", "mctl") // the script's own directory may be too long for a socket
	if err != nil {
		return err
	}
	state := filepath.Join(env.WorkDir, "state")
	env.Defer(func() {
		stop := exec.Command("mctl", "controller", "stop")
		stop.Env = append(os.Environ(), "MCTL_HOME="+state, "XDG_RUNTIME_DIR="+runtime)
		if output, err := stop.CombinedOutput(); err != nil {
			env.T().Log("stop the controller: ", err, string(output))
		}
		_ = os.RemoveAll(runtime)
	})
	for name, value := range map[string]string{
		"HOME": env.WorkDir, "MCTL_HOME": state, "STATE": state, "XDG_RUNTIME_DIR": runtime, "MCTL_CONTROLLER_BIN": controllerBin,
		"SHELL": "/bin/sh", "TERM": "xterm", "MCTL_LISTEN": "127.0.0.1:0",
	} {
		env.Setenv(name, value)
	}
	return nil
}

// document is the command `json FILE [KEY...]`: the file, such as stdout, holds one JSON document and nothing else. Each key
// must be there, at the top of an object.
func document(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: json FILE [KEY...]")
	}
	decoder := json.NewDecoder(bytes.NewBufferString(ts.ReadFile(args[0])))
	var value any
	if err := decoder.Decode(&value); err != nil {
		ts.Fatalf("%s is no JSON: %v\n%s", args[0], err, ts.ReadFile(args[0]))
	}
	if decoder.More() {
		ts.Fatalf("%s has more than one document:\n%s", args[0], ts.ReadFile(args[0]))
	}
	for _, key := range args[1:] {
		object, _ := value.(map[string]any)
		if _, there := object[key]; !there {
			ts.Fatalf("%s lacks %q:\n%s", args[0], key, ts.ReadFile(args[0]))
		}
	}
}

// documents is the command `jsonlines FILE`: each line of the file is a JSON document.
func documents(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: jsonlines FILE")
	}
	lines := 0
	for scanner := bufio.NewScanner(bytes.NewBufferString(ts.ReadFile(args[0]))); scanner.Scan(); lines++ {
		if !json.Valid(scanner.Bytes()) {
			ts.Fatalf("line %d of %s is no JSON: %s", lines+1, args[0], scanner.Text())
		}
	}
	if lines == 0 {
		ts.Fatalf("%s is empty", args[0])
	}
}
