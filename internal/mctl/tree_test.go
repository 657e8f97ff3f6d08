package mctl

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"mctl/internal/mctl/cli"
)

// world is the environment of a command where there is no controller and none can be started.
func world(t *testing.T, args ...string) *cli.Env {
	t.Helper()
	variables := map[string]string{"HOME": t.TempDir(), "MCTL_CONTROLLER_BIN": "/nosuch/controller", "SHELL": "/bin/sh"}
	return &cli.Env{
		In: strings.NewReader(""), Out: new(bytes.Buffer), Err: new(bytes.Buffer), Args: append([]string{"mctl"}, args...), Now: time.Now,
		Lookup: func(name string) (string, bool) { value, ok := variables[name]; return value, ok },
	}
}

// commands are all that there are, each as words.
func commands(t *testing.T) map[string]*cobra.Command {
	t.Helper()
	all := map[string]*cobra.Command{}
	var walk func(*cobra.Command)
	walk = func(command *cobra.Command) {
		for _, sub := range command.Commands() {
			all[strings.TrimPrefix(sub.CommandPath(), "mctl ")] = sub
			walk(sub)
		}
	}
	root := newRoot(world(t))
	walk(root)
	if len(all) < 40 {
		t.Fatalf("only %d commands", len(all))
	}
	return all
}

func TestEveryCommandHasHelpWithAnExample(t *testing.T) {
	for name, command := range commands(t) {
		env := world(t, append(strings.Fields(name), "--help")...)
		code := Run(t.Context(), env)
		help := env.Out.(*bytes.Buffer).String()
		if code != 0 || !strings.HasPrefix(help, "Usage: mctl "+name) || !strings.Contains(help, "\n"+command.Short+"\n") {
			t.Errorf("%s: code %d, %q", name, code, help)
		}
		if !strings.Contains(help, "\nExample:\n   ") && !strings.Contains(help, "\nExamples:\n   ") {
			t.Errorf("%s has no example:\n%s", name, help)
		}
		if env.Err.(*bytes.Buffer).Len() > 0 {
			t.Errorf("%s complains: %s", name, env.Err)
		}
	}
}

func TestEveryCommandAnswersOneDocument(t *testing.T) {
	t.Chdir(t.TempDir()) // some of them write where they are told to
	for name := range commands(t) {
		if name == "ssh" {
			continue // it prints what the host's command prints
		}
		for _, more := range [][]string{nil, {"name"}, {"one", "two", "three"}, {"--nosuch"}, {"--help"}} {
			env := world(t, append(append(strings.Fields(name), more...), "--output", "json")...)
			code := Run(t.Context(), env)
			text := env.Out.(*bytes.Buffer).Bytes()
			var document any
			if err := json.Unmarshal(text, &document); err != nil {
				t.Errorf("%s %v: code %d, %v: %q", name, more, code, err, text)
				continue
			}
			object, _ := document.(map[string]any)
			if code != 0 && (object["errors"] == nil || object["exitCode"] != float64(code)) {
				t.Errorf("%s %v: code %d and %q", name, more, code, text)
			}
			if code != 0 && strings.Contains(string(text), `"hint": ""`) && !strings.Contains(string(text), "does not exist") {
				t.Errorf("%s %v: no hint in %q", name, more, text)
			}
		}
	}
}
