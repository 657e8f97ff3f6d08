package shell_test

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"

	"mctl/internal/mctl/hosttest"
	controllerv1 "mctl/proto/mctl/controller/v1"
	tunnelv1 "mctl/proto/mctl/tunnel/v1"
)

func TestAPlainCommandNeedsNoLoginAndAllElseHasOne(t *testing.T) {
	w := newWorld(t)
	w.Change("web", func(m *controllerv1.Machine) { m.Status.Link = &controllerv1.LinkStatus{Connected: true} })
	host := hosttest.Host{Run: func(exec *tunnelv1.Exec, stdin io.Reader, stdout, _ io.Writer) uint32 {
		told, _ := io.ReadAll(stdin)
		_, _ = fmt.Fprintf(stdout, "agent ran %q, told %q\n", exec.GetCommand(), told)
		return 0
	}}
	w.Tunnel = host.Serve
	const agent, login = "agent ran", "ran"
	for _, row := range []struct {
		args    []string
		native  bool
		working bool // the agent
		want    string
	}{
		{[]string{"web", "uptime"}, false, true, agent},
		{[]string{"web", "-n", "uptime"}, false, true, agent},
		{[]string{"--via", "auto", "web", "--", "uptime"}, false, true, agent},
		{[]string{"--via", "direct", "web", "uptime"}, false, true, login},
		{[]string{"web", "-o", "BatchMode=yes", "uptime"}, false, true, login},
		{[]string{"web", "uptime"}, true, true, login},
		{[]string{"web", "uptime"}, false, false, login},
	} {
		if w.Tunnel = nil; row.working {
			w.Tunnel = host.Serve
		}
		out, _, err := w.ssh(t, row.native, "input", row.args...)
		told := `told "input"`
		if row.args[1] == "-n" {
			told = `told ""`
		}
		if err != nil || !strings.HasPrefix(out, row.want+` "uptime", `) || !strings.Contains(out, told) {
			t.Errorf("%q, native %v, agent works %v: %q, %v", row.args, row.native, row.working, out, err)
		}
	}
}

func TestATerminalIsLeftToALogin(t *testing.T) {
	w := newWorld(t)
	w.Change("web", func(m *controllerv1.Machine) { m.Status.Link = &controllerv1.LinkStatus{Connected: true} })
	w.Tunnel = func(*controllerv1.TunnelStart, func() (*tunnelv1.Frame, error), func(*tunnelv1.Frame) error) error {
		t.Error("the agent was asked")
		return nil
	}
	for _, args := range [][]string{{"web", "-t", "true"}, {"web"}} {
		env := w.Env()
		env.In = strings.NewReader("")
		_ = run(t.Context(), env, args...)
		if out := env.Out.(*bytes.Buffer).String(); !strings.HasPrefix(out, "ran ") && len(args) > 1 {
			t.Errorf("%q: %q", args, out)
		}
	}
}
