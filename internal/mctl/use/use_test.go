package use

import (
	"bytes"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"mctl/internal/fault"
	"mctl/internal/mctl/controllertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestFunctionIsCalledAsTheProgramAndCallsIt(t *testing.T) {
	c := controllertest.New(t)
	for _, given := range [][3]string{
		{"mctl", "bash", "command 'mctl' use --shell bash"},
		{"docker-machine", "zsh", "command 'docker-machine' use --shell zsh"},
		{"/opt/it's/mctl", "bash", `command '/opt/it'\''s/mctl' use`},
		{`/opt/it's \x/mctl`, "fish", `command '/opt/it\'s \\x/mctl' use`},
		{"/opt/it's ‘x’/mctl", "powershell", "-TotalCount 1 '/opt/it''s ‘‘x’’/mctl'\n"},
		{"/opt/NAME SHELL/mctl", "bash", "command '/opt/NAME SHELL/mctl' use"},
	} {
		env := c.Env()
		env.Args = []string{given[0]}
		if text, err := script(env, given[1], true); err != nil || !strings.Contains(text, given[2]) {
			t.Errorf("%q: no %q in %s, %v", given[0], given[2], text, err)
		}
	}
	for _, program := range []string{"/opt/x$(id)", "/opt/a b", "-x", "", "/opt/;id", "/opt/a\nb/mctl", "/opt/1"} {
		env := c.Env()
		env.Args = []string{program}
		for _, name := range names() {
			if text, err := script(env, name, false); !fault.Is(err, fault.Precondition) || text != "" {
				t.Errorf("%q in %s: %q, %v", program, name, text, err)
			}
		}
	}
}

func TestWhatIsNotToBeEvaluatedHasNoMarker(t *testing.T) {
	c := controllertest.New(t)
	c.Put(controllertest.Running("web", "10.0.0.1"))
	idle := controllertest.Running("idle", "10.0.0.2")
	idle.Status.State = "Stopped"
	c.Put(idle)
	for _, given := range []struct {
		args   []string
		output string
		marked bool
	}{
		{[]string{"--shell", "bash", "web"}, "text", true},
		{[]string{"--shell", "bash", "-u"}, "text", true},
		{[]string{"--shell", "bash", "-u", "web"}, "text", false},
		{[]string{"--shell", "bash", "nosuch"}, "text", false},
		{[]string{"--shell", "bash", "$(id)"}, "text", false},
		{[]string{"--shell", "bash", "idle"}, "text", false},
		{[]string{"--shell", "bash", "web", "idle"}, "text", false},
		{[]string{"--shell", "bash"}, "text", false},
		{[]string{"--shell", "bash", "web"}, "json", false},
		{[]string{"web"}, "text", false},
	} {
		env := c.Env()
		env.Global.Output = given.output
		command := newUse(env)
		command.SilenceErrors, command.SilenceUsage = true, true
		command.SetArgs(given.args)
		err := command.ExecuteContext(t.Context())
		if text := env.Out.(*bytes.Buffer).String(); strings.HasPrefix(text, marker+"\n") != given.marked || !given.marked && text != "" {
			t.Errorf("%q as %s: %q, %v", given.args, given.output, text, err)
		}
	}
}
