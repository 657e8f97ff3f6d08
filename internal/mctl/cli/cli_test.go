package cli_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"go.uber.org/goleak"

	"mctl/internal/fault"
	"mctl/internal/mctl/argv"
	"mctl/internal/mctl/cli"
	"mctl/internal/mctl/controllertest"
	"mctl/internal/mctl/output"
	controllerv1 "mctl/proto/mctl/controller/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is an environment without a controller.
func world(variables ...string) *cli.Env {
	all := map[string]string{}
	for _, pair := range variables {
		name, value, _ := strings.Cut(pair, "=")
		all[name] = value
	}
	return &cli.Env{
		In: strings.NewReader(""), Out: new(bytes.Buffer), Err: new(bytes.Buffer), Args: []string{"/usr/bin/mctl"},
		Lookup: func(name string) (string, bool) { value, ok := all[name]; return value, ok }, Global: cli.Global{Output: "text"},
	}
}

func out(env *cli.Env) string        { return env.Out.(*bytes.Buffer).String() }
func complaints(env *cli.Env) string { return env.Err.(*bytes.Buffer).String() }

func TestErrorIsASentenceAHintAndAnExitCode(t *testing.T) {
	plain := fault.New("op", fault.Denied, "web", "you may not").WithHint("ask `mctl context invite`")
	for name, c := range map[string]struct {
		err  error
		code int
		text string
	}{
		"none":                  {nil, 0, ""},
		"a fault":               {plain, 1, "you may not\nHint: ask `mctl context invite`\n"},
		"wrapped":               {cli.Wrap(plain, "Error in %q: %w", "web"), 1, "Error in \"web\": you may not\nHint: ask `mctl context invite`\n"},
		"usage":                 {cli.Usagef("no such %s", "flag").WithHint("h"), 2, "no such flag\nHint: h\n"},
		"a pre-check":           {plain.WithReason(fault.ReasonPrecheck), 3, "you may not\nHint: ask `mctl context invite`\n"},
		"two at once":           {errors.Join(plain, cli.Failf("second").WithHint("h")), 1, "you may not\nHint: ask `mctl context invite`\nsecond\nHint: h\n"},
		"an exit without word":  {cli.Exit{Code: 7}, 7, ""},
		"an interrupt":          {cli.Interrupted("wait"), 130, "interrupted\nHint: wait\n"},
		"a context's end":       {context.Canceled, 1, "interrupted\n"},
		"an unknown machine":    {fault.New("op", fault.NotFound, "x", `Docker machine "x" does not exist`), 1, "Docker machine \"x\" does not exist. Use \"mctl ls\" to list machines. Use \"mctl create\" to add a new one.\n"},
		"what steers terminals": {cli.Failf("evil\x1b[2J").WithHint("h\x07"), 1, "evil [2J\nHint: h \n"},
		"several lines":         {cli.Failf("one\ntwo\n").WithHint("h"), 1, "one\ntwo\nHint: h\n"},
	} {
		env := world()
		if code := env.Report("mctl ls", c.err); code != c.code || complaints(env) != c.text || out(env) != "" {
			t.Errorf("%s: code %d, %q, and %q on standard output", name, code, complaints(env), out(env))
		}
	}
}

func TestEveryKindOfErrorHasAHint(t *testing.T) {
	for _, kind := range []fault.Kind{
		fault.Invalid, fault.NotFound, fault.Exists, fault.Conflict, fault.Denied, fault.Unauthenticated, fault.Quota, fault.Unavailable,
		fault.Precondition, fault.Resync, fault.Internal,
	} {
		env := world()
		env.Report("mctl ls", fault.New("op", kind, "", "sentence"))
		if !strings.Contains(complaints(env), "\nHint: ") {
			t.Errorf("%s: %q", kind, complaints(env))
		}
	}
	env := world()
	env.Report("mctl ls", errors.New("foreign"))
	if !strings.Contains(complaints(env), "\nHint: ") {
		t.Errorf("%q", complaints(env))
	}
}

func TestHintsNameTheProgramAsItWasCalled(t *testing.T) {
	env := world()
	env.Args = []string{"/opt/docker-machine", "ls"}
	env.Report("mctl ls", cli.Failf("x").WithHint("run `mctl ls` or `eval $(mctl env x)`, not mctl alone"))
	if !env.DockerMachine() || complaints(env) != "x\nHint: run `docker-machine ls` or `eval $(docker-machine env x)`, not mctl alone\n" {
		t.Errorf("%q", complaints(env))
	}
	if (&cli.Env{}).App() != "mctl" {
		t.Error("without arguments there is no name")
	}
}

func TestDocumentStandsAloneWhateverHappens(t *testing.T) {
	decode := func(text string) map[string]any {
		var value map[string]any
		if err := json.Unmarshal([]byte(text), &value); err != nil {
			t.Errorf("%q: %v", text, err)
		}
		return value
	}
	env := world()
	env.Global.Output = "json"
	if err := env.Result(map[string]int{"a": 1}); err != nil {
		t.Fatal(err)
	}
	env.Infof("about to")
	env.Remind("usage")
	if code := env.Report("mctl ls", nil); code != 0 || decode(out(env))["a"] != 1.0 || complaints(env) != "" {
		t.Errorf("code %d, %q, %q", code, out(env), complaints(env))
	}
	env = world()
	env.Global.Output = "json"
	_ = env.Result([]int{1})
	code := env.Report("mctl ls", errors.Join(cli.Usagef("first"), fault.New("op", fault.NotFound, "web", "second").WithHint("h")))
	got := decode(out(env))
	all, _ := got["errors"].([]any)
	if code != 2 || got["exitCode"] != 2.0 || len(all) != 2 || got["result"] == nil {
		t.Fatalf("code %d, %v", code, got)
	}
	if second := all[1].(map[string]any); second["message"] != "second" || second["hint"] != "h" || second["kind"] != "not_found" || second["subject"] != "web" {
		t.Errorf("%v", second)
	}
	if complaints(env) == "" {
		t.Error("people are told nothing")
	}
	env = world()
	env.Global.Output = "json"
	if env.Report("mctl ssh", cli.Exit{Code: 5}) != 5 || out(env) != "" {
		t.Errorf("after another program's output: %q", out(env))
	}
	env = world()
	env.Global.Output = "json"
	_ = env.Stream(map[string]int{"a": 1})
	env.Report("mctl events", cli.Failf("x"))
	if lines := strings.Split(strings.TrimSpace(out(env)), "\n"); len(lines) != 2 || decode(lines[1])["errors"] == nil {
		t.Errorf("a stream that ends badly is %q", out(env))
	}
	env = world()
	env.Global.Output = "json"
	env.Out = full{}
	_ = env.Result(1)
	if env.Report("mctl ls", nil) != 1 {
		t.Error("a document that could not be written is a success")
	}
	env = world()
	env.Global.Output = "json"
	env.Answer("help")
	if env.Report("mctl", nil); decode(out(env))["help"] != "help" {
		t.Errorf("%q", out(env))
	}
}

func TestTextThatWasLostIsNoSuccess(t *testing.T) {
	for name, write := range map[string]func(*cli.Env){
		"a value":    func(env *cli.Env) { env.Printf("%s\n", "10.0.0.1") },
		"a line":     func(env *cli.Env) { env.Infof("done") },
		"a step":     func(env *cli.Env) { env.Progress()().Step("Creating machine...") },
		"a help":     func(env *cli.Env) { env.Answer("help") },
		"a reminder": func(env *cli.Env) { env.Remind("help") },
	} {
		env := world()
		env.Out = full{}
		write(env)
		if code := env.Report("mctl ip", nil); code != 1 || !strings.HasPrefix(complaints(env), "write /dev/stdout: no space left\nHint: make room ") {
			t.Errorf("%s: %d %q", name, code, complaints(env))
		}
	}
	env := world()
	env.Out = full{}
	env.Printf("x")
	if code := env.Report("mctl ip", cli.Usagef("wrong")); code != 2 || strings.Contains(complaints(env), "space") {
		t.Errorf("%d %q: the command's own error comes first", code, complaints(env))
	}
}

type full struct{}

func (full) Write([]byte) (int, error) {
	return 0, &os.PathError{Op: "write", Path: "/dev/stdout", Err: errors.New("no space left")}
}

func TestPromptIsAnsweredByOneWord(t *testing.T) {
	for answer, want := range map[string]bool{"y\n": true, "Y": true, "yes please\n": true, "  Yep\n": true, "n\n": false, "\n": false, "no y\n": false} {
		env := world()
		env.In = strings.NewReader(answer)
		if got, err := env.Confirm("Sure?"); got != want || err != nil || out(env) != "Sure? (y/n): " {
			t.Errorf("%q: %v, %v, %q", answer, got, err, out(env))
		}
	}
	env := world()
	if yes, err := env.Confirm("Sure?"); yes || !errors.Is(err, io.EOF) {
		t.Errorf("nobody there: %v, %v", yes, err)
	}
	env = world()
	env.Global.Output, env.In = "json", strings.NewReader("y\n")
	if yes, err := env.Confirm("Sure?"); !yes || err != nil || out(env) != "" || complaints(env) != "Sure? (y/n): " {
		t.Errorf("beside a document: %q, %q", out(env), complaints(env))
	}
}

func TestFlagsMayComeFromVariables(t *testing.T) {
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	flags.String("driver", "fallback", "")
	flags.StringArray("mirror", nil, "")
	argv.FromEnv(flags, "driver", "DRIVER")
	argv.FromEnv(flags, "mirror", "MIRRORS")
	env := world("DRIVER=told", "MIRRORS=a, b,,c")
	if env.Text(flags, "driver") != "told" || !slices.Equal(env.Strings(flags, "mirror"), []string{"a", "b", "c"}) {
		t.Errorf("%q, %q", env.Text(flags, "driver"), env.Strings(flags, "mirror"))
	}
	if err := flags.Parse([]string{"--driver=", "--mirror", "x,y"}); err != nil {
		t.Fatal(err)
	}
	if env.Text(flags, "driver") != "" || !slices.Equal(env.Strings(flags, "mirror"), []string{"x,y"}) {
		t.Errorf("the command line does not win: %q, %q", env.Text(flags, "driver"), env.Strings(flags, "mirror"))
	}
	none := world("DRIVER=")
	fresh := pflag.NewFlagSet("", pflag.ContinueOnError)
	fresh.String("driver", "fallback", "")
	argv.FromEnv(fresh, "driver", "DRIVER")
	if none.Text(fresh, "driver") != "fallback" {
		t.Error("an empty variable counts")
	}
}

func TestGlobalsThatMakeNoSenseAreRefused(t *testing.T) {
	env := world("MACHINE_DEBUG=1", "MACHINE_NATIVE_SSH=true")
	if err := env.Check(); err != nil || !env.Global.Debug || !env.Global.NativeSSH {
		t.Errorf("%v, %+v", err, env.Global)
	}
	env.Debugf("x %d", 1)
	if complaints(env) != "DEBUG x 1\n" {
		t.Errorf("%q", complaints(env))
	}
	if err := world("MACHINE_DEBUG=what").Check(); err == nil || !strings.HasPrefix(err.Error(), "Error parsing boolean value from MACHINE_DEBUG: ") {
		t.Errorf("%v", err)
	}
	env = world()
	env.Global.Output = "yaml"
	if err := env.Check(); fault.ReasonOf(err) != fault.ReasonUsage {
		t.Errorf("%v", err)
	}
}

func TestProgressIsLinesInAPipeABoardOnATerminalNothingBesideADocument(t *testing.T) {
	for name, c := range map[string]struct {
		output          string
		width, errWidth int
		progress, live  string
	}{
		"a pipe":                     {"text", 0, 0, "*output.Lines", "output.Silent"},
		"a terminal":                 {"text", 80, 0, "*output.track", "*output.track"},
		"a document":                 {"json", 80, 0, "output.Silent", "output.Silent"},
		"a terminal of one column":   {"text", 1, 0, "*output.Lines", "*output.Lines"},
		"a document with a terminal": {"json", 0, 80, "*output.track", "*output.track"},
	} {
		env := world()
		env.Global.Output, env.Width, env.ErrWidth = c.output, c.width, c.errWidth
		if progress, live := kindOf(env.Progress()()), kindOf(env.Live()()); progress != c.progress || live != c.live {
			t.Errorf("%s: %s and %s", name, progress, live)
		}
	}
}

func kindOf(p output.Progress) string {
	switch p.(type) {
	case *output.Lines:
		return "*output.Lines"
	case output.Silent:
		return "output.Silent"
	}
	return "*output.track"
}

func TestContextIsThatOfFlagThenVariableThenChoice(t *testing.T) {
	home := t.TempDir()
	env := world("MCTL_HOME="+home, "MCTL_CONTEXT=fromenv")
	if name, err := env.ContextName(); err != nil || name != "fromenv" {
		t.Errorf("%q, %v", name, err)
	}
	env.Global.Context = "default"
	if name, err := env.ContextName(); err != nil || name != "local" {
		t.Errorf("%q, %v", name, err)
	}
	env.Global.Context = "team"
	if dir, err := env.State(); err != nil || dir.Context != "team" {
		t.Errorf("%+v, %v", dir, err)
	}
	if _, err := env.Local(); !fault.Is(err, fault.Precondition) || fault.HintOf(err) == "" {
		t.Errorf("%v", err)
	}
	if _, err := env.Client(t.Context()); !fault.Is(err, fault.NotFound) {
		t.Errorf("%v", err)
	}
	chosen := world("MCTL_HOME=" + home)
	if err := os.MkdirAll(filepath.Join(home, "mctl/contexts"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(home, "mctl/contexts/current"), []byte("chosen\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if name, err := chosen.ContextName(); err != nil || name != "chosen" {
		t.Errorf("%q, %v", name, err)
	}
	if _, err := world().ContextName(); !fault.Is(err, fault.Precondition) {
		t.Errorf("without a home: %v", err)
	}
}

func TestMachinesAreFoundByNameAndTheUnknownAreAllNamed(t *testing.T) {
	c := controllertest.New(t)
	c.Put(controllertest.Running("web", "10.0.0.1"))
	c.Put(controllertest.Running("db", "10.0.0.2"))
	env := c.Env()
	machines, err := env.Machines(t.Context(), []string{"web", "db", "web"})
	if err != nil || len(machines) != 2 {
		t.Errorf("%v, %v", machines, err)
	}
	_, err = env.Machines(t.Context(), []string{"x", "web", "y"})
	env.Report("mctl", err)
	if got := complaints(env); !strings.Contains(got, `"x" does not exist`) || !strings.Contains(got, `"y" does not exist`) {
		t.Errorf("%q", got)
	}
	if _, err := env.Machines(t.Context(), nil); err == nil || err.Error() != `Error: No machine name(s) specified and no "default" machine exists` {
		t.Errorf("%v", err)
	}
	c.PutAs("odd", controllertest.Running("../odd", "10.0.0.3"))
	if _, err := env.Get(t.Context(), "odd"); !fault.Is(err, fault.Internal) {
		t.Errorf("an answer about another machine: %v", err)
	}
	if all, err := env.List(t.Context(), controllerv1.MachineView_MACHINE_VIEW_BASIC); err != nil || len(all) != 3 {
		t.Errorf("%v, %v", all, err)
	}
	if again, err := env.RunningClient(t.Context()); err != nil || again == nil {
		t.Errorf("%v", err)
	}
}

func TestFilesFollowTheMachine(t *testing.T) {
	c := controllertest.New(t)
	m := controllertest.Running("web", "10.0.0.1")
	m.Status.Ssh = &controllerv1.SSHEndpoint{HostKeys: []string{"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGhSCYtM8DkNZ9l8FeFDX+DURgsl0eT9E0XUZMV1jJao"}}
	folder, err := c.Env().WriteFiles(t.Context(), m, false)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"ca.pem", "cert.pem", "key.pem", "known_hosts", "config.json", ".mctl"} {
		if _, err := os.Stat(folder.File(name)); err != nil {
			t.Error(err)
		}
	}
}

func TestNamesAreCompletedWithoutAControllerToo(t *testing.T) {
	c := controllertest.New(t)
	c.Put(controllertest.Running("web", "10.0.0.1"))
	c.Put(controllertest.Running("worker", "10.0.0.2"))
	command := &cobra.Command{}
	command.SetContext(t.Context())
	if names, _ := cli.CompleteMachine(c.Env())(command, nil, "we"); !slices.Equal(names, []string{"web"}) {
		t.Errorf("%q", names)
	}
	if names, _ := cli.CompleteMachine(c.Env())(command, []string{"web"}, ""); len(names) > 0 {
		t.Errorf("%q", names)
	}
	if names, _ := cli.CompleteMachines(c.Env())(command, []string{"web"}, "w"); !slices.Equal(names, []string{"worker"}) {
		t.Errorf("%q", names)
	}
	if err := c.Dir().Machine("folder").Claim("uid"); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"$(id)", "`id`", "--help", "a b", "f;id", "f\nid", "f\x1b[2J", "fé", "~root", "*", "f'", "_activeHelp_ x"} {
		if err := os.MkdirAll(c.Dir().Machine(name).Path, 0o700); err != nil {
			t.Fatal(err)
		}
		c.PutAs(name, controllertest.Running(name, "10.0.0.3"))
	}
	if names, _ := cli.CompleteMachines(c.Env())(command, nil, ""); !slices.Equal(slices.Sorted(slices.Values(names)), []string{"web", "worker"}) {
		t.Errorf("a controller's names that are a shell's words: %q", names)
	}
	c.Stop()
	if names, _ := cli.CompleteMachines(c.Env())(command, nil, ""); !slices.Equal(names, []string{"folder"}) {
		t.Errorf("%q", names)
	}
}

func TestGroupsAndEmptyCommandsRefuseWords(t *testing.T) {
	env := world()
	root := &cobra.Command{Use: "mctl"}
	group := &cobra.Command{Use: "context", Args: cli.NoCommand(env), RunE: cli.ShowHelp}
	root.AddCommand(group)
	if err := group.Args(group, nil); err != nil {
		t.Error(err)
	}
	if err := group.Args(group, []string{"x"}); err == nil || err.Error() != "mctl context: 'x' is not a mctl context command. See 'mctl context --help'." {
		t.Errorf("%v", err)
	}
	if err := cli.NoArgs(group, []string{"x", "y"}); fault.ReasonOf(err) != fault.ReasonUsage || fault.HintOf(err) != "leave out x y" {
		t.Errorf("%v", err)
	}
	if err := cli.NoArgs(group, nil); err != nil {
		t.Error(err)
	}
}

func TestWorldIsThatOfTheProcess(t *testing.T) {
	t.Setenv("TERM", "dumb")
	env := cli.OSEnv()
	if env.Width != 0 || env.ErrWidth != 0 || env.Getenv("TERM") != "dumb" || len(env.Args) == 0 {
		t.Errorf("%+v", env)
	}
	if a, b := cli.RequestID(), cli.RequestID(); a == b || len(a) < 16 {
		t.Errorf("%q, %q", a, b)
	}
}
