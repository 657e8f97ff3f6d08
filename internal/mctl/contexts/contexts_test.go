package contexts_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"mctl/internal/fault"
	"mctl/internal/mctl/cli"
	"mctl/internal/mctl/contexts"
	"mctl/internal/mctl/controllertest"
	"mctl/internal/mctl/profile"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func run(t *testing.T, env *cli.Env, args ...string) (string, error) {
	t.Helper()
	command := contexts.Commands(env)[0]
	command.SetArgs(args)
	command.SilenceErrors, command.SilenceUsage = true, true
	err := command.ExecuteContext(t.Context())
	return env.Out.(*bytes.Buffer).String(), err
}

func TestContextsAreListedChosenAndForgotten(t *testing.T) {
	c := controllertest.New(t)
	profiles := profile.Store{Dir: c.Dir()}
	if err := profiles.Save(profile.Profile{Name: "team", Endpoint: "ctl.example.com:1"}); err != nil {
		t.Fatal(err)
	}
	out, err := run(t, c.Env(), "ls")
	if err != nil || !strings.Contains(out, "local   *") || !strings.Contains(out, "team              ctl.example.com:1") && !strings.Contains(out, "ctl.example.com:1") {
		t.Errorf("%q, %v", out, err)
	}
	for _, step := range [][2]string{{"use team", "Current context is now \"team\"\n"}, {"show", "team\n"}, {"use default", "Current context is now \"local\"\n"}, {"show", "local\n"}, {"rm team", "Successfully removed team\n"}} {
		if out, err := run(t, c.Env(), strings.Fields(step[0])...); err != nil || out != step[1] {
			t.Errorf("%s: %q, %v", step[0], out, err)
		}
	}
	if all, err := profiles.List(); err != nil || len(all) > 0 {
		t.Errorf("%v, %v", all, err)
	}
}

func TestMistakesAreToldBeforeAnybodyIsAsked(t *testing.T) {
	c := controllertest.New(t)
	if err := (profile.Store{Dir: c.Dir()}).Save(profile.Profile{Name: "team", Endpoint: "x:1"}); err != nil {
		t.Fatal(err)
	}
	for args, kind := range map[string]fault.Kind{
		"use": fault.Invalid, "use nosuch": fault.NotFound, "rm local": fault.Invalid, "rm nosuch": fault.NotFound, "create x": fault.Invalid,
		"create --endpoint x:1 --invitation y team": fault.Exists, "create --endpoint x:1 --invitation y default": fault.Invalid,
		"show x": fault.Invalid, "ls x": fault.Invalid, "invite": fault.Invalid,
	} {
		if _, err := run(t, c.Env(), strings.Fields(args)...); !fault.Is(err, kind) || fault.HintOf(err) == "" {
			t.Errorf("%s: %v, hint %q", args, err, fault.HintOf(err))
		}
	}
	if len(c.Calls()) > 0 {
		t.Errorf("the controller was asked %q", c.Calls())
	}
}

func TestNamesOfContextsAreCompleted(t *testing.T) {
	c := controllertest.New(t)
	if err := (profile.Store{Dir: c.Dir()}).Save(profile.Profile{Name: "team", Endpoint: "x:1"}); err != nil {
		t.Fatal(err)
	}
	for _, command := range contexts.Commands(c.Env())[0].Commands() {
		if command.ValidArgsFunction == nil {
			continue
		}
		if names, _ := command.ValidArgsFunction(command, nil, ""); !slices.Equal(names, []string{"local", "team"}) {
			t.Errorf("%s: %q", command.Name(), names)
		}
	}
}
