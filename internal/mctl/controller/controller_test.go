package controller_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"mctl/internal/fault"
	"mctl/internal/mctl/cli"
	"mctl/internal/mctl/controller"
	"mctl/internal/mctl/controllertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func run(ctx context.Context, env *cli.Env, args ...string) error {
	command := controller.Commands(env)[0]
	command.SetArgs(args)
	command.SilenceErrors, command.SilenceUsage = true, true
	return command.ExecuteContext(ctx)
}

func TestStatusTellsTheControllerThatRuns(t *testing.T) {
	c := controllertest.New(t)
	for _, verb := range []string{"start", "status"} {
		env := c.Env()
		if err := run(t.Context(), env, verb); err != nil || env.Out.(*bytes.Buffer).Len() == 0 {
			t.Errorf("%s: %q, %v", verb, env.Out, err)
		}
	}
	c.Stop()
	if err := run(t.Context(), c.Env(), "status"); !fault.Is(err, fault.NotFound) {
		t.Errorf("%v", err)
	}
	env := c.Env()
	if err := run(t.Context(), env, "stop"); err != nil || env.Out.(*bytes.Buffer).String() != "No controller runs.\n" {
		t.Errorf("%q, %v", env.Out, err)
	}
}

func TestLogsAreShownFromAWholeLineOn(t *testing.T) {
	c := controllertest.New(t)
	if err := run(t.Context(), c.Env(), "logs"); !fault.Is(err, fault.NotFound) || fault.HintOf(err) == "" {
		t.Errorf("no log: %v", err)
	}
	path := c.Dir().ControllerLog()
	line := strings.Repeat("x", 99) + "\n"
	if err := os.WriteFile(path, []byte(strings.Repeat(line, 5000)+"last \x1b[2J, not ended"), 0o600); err != nil {
		t.Fatal(err)
	}
	env := c.Env()
	if err := run(t.Context(), env, "logs"); err != nil {
		t.Fatal(err)
	}
	got := env.Out.(*bytes.Buffer).String()
	if !strings.HasPrefix(got, line) || len(got) > 256<<10+100 || !strings.HasSuffix(got, "\nlast  [2J, not ended\n") {
		t.Errorf("%d bytes, from %.20q to %q", len(got), got, got[len(got)-40:])
	}
}

func TestLogsAreFollowedUntilNobodyWatches(t *testing.T) {
	c := controllertest.New(t)
	path := c.Dir().ControllerLog()
	if err := os.WriteFile(path, []byte("first\nsec"), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	reader, writer := io.Pipe()
	env := c.Env()
	env.Out = writer
	done := make(chan error, 1)
	go func() { done <- run(ctx, env, "logs", "-f") }()
	read := func(want string) {
		t.Helper()
		text := make([]byte, 100)
		if n, err := reader.Read(text); err != nil || string(text[:n]) != want {
			t.Fatalf("%q, %v", text[:n], err)
		}
	}
	read("first\n")
	file, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := file.WriteString("ond\n"); err != nil {
		t.Fatal(err)
	}
	read("second\n")
	cancel()
	if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
