package tunnel_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"mctl/internal/fault"
	"mctl/internal/mctl/cli"
	"mctl/internal/mctl/controllertest"
	"mctl/internal/mctl/hosttest"
	"mctl/internal/mctl/tunnel"
	controllerv1 "mctl/proto/mctl/controller/v1"
	tunnelv1 "mctl/proto/mctl/tunnel/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newController(t *testing.T) (*controllertest.Controller, hosttest.Host) {
	t.Helper()
	c := controllertest.New(t)
	c.Put(controllertest.Running("web", "127.0.0.1"))
	host := hosttest.Host{Home: filepath.Join(t.TempDir(), "home"), Run: func(exec *tunnelv1.Exec, stdin io.Reader, stdout, stderr io.Writer) uint32 {
		text, _ := io.ReadAll(stdin)
		fmt.Fprintf(stdout, "ran %q, terminal %v, told %q", exec.GetCommand(), exec.GetTerminal() != nil, text)
		fmt.Fprint(stderr, "complaint")
		return 7
	}}
	if err := os.Mkdir(host.Home, 0o755); err != nil {
		t.Fatal(err)
	}
	c.Tunnel = host.Serve
	return c, host
}

// run is `mctl ssh --via agent web`.
func run(ctx context.Context, env *cli.Env, args ...string) error {
	session, err := tunnel.SSH(ctx, env, "web", args)
	if err != nil {
		return err
	}
	return session.Run(ctx, env)
}

func TestACommandThroughTheAgentIsReadAsSSHReadsIt(t *testing.T) {
	c, _ := newController(t)
	for _, row := range []struct {
		args []string
		want string
	}{
		{[]string{"echo", "a  b", "|", "wc"}, `ran "echo a  b | wc", terminal false, told "input"`},
		{[]string{"--", "-x"}, `ran "-x", terminal false, told "input"`},
		{[]string{"-t", "top"}, `ran "top", terminal true, told "input"`},
		{[]string{"-qtT", "top"}, `ran "top", terminal false, told "input"`},
		{[]string{"-n", "cat"}, `ran "cat", terminal false, told ""`},
		{nil, `ran "", terminal false, told "input"`},
	} {
		env := c.Env()
		env.In = strings.NewReader("input")
		err := run(t.Context(), env, row.args...)
		var exit cli.Exit
		if got := env.Out.(*bytes.Buffer).String(); got != row.want || !errors.As(err, &exit) || exit.Code != 7 || env.Err.(*bytes.Buffer).String() != "complaint" {
			t.Errorf("%q: %q, %v", row.args, got, err)
		}
	}
	for _, option := range []string{"-L", "-A", "-v", "-p2222"} {
		if err := run(t.Context(), c.Env(), option); fault.ReasonOf(err) != fault.ReasonUsage || fault.HintOf(err) == "" {
			t.Errorf("%s: %v", option, err)
		}
	}
}

func TestATunnelThatBreaksIsOneSentence(t *testing.T) {
	c, _ := newController(t)
	c.Tunnel = func(_ *controllerv1.TunnelStart, _ func() (*tunnelv1.Frame, error), say func(*tunnelv1.Frame) error) error {
		return say(&tunnelv1.Frame{Kind: &tunnelv1.Frame_Opened{Opened: &tunnelv1.Opened{}}}) // and then nothing
	}
	if err := run(t.Context(), c.Env(), "x"); !fault.Is(err, fault.Unavailable) || fault.HintOf(err) == "" {
		t.Errorf("ended early: %v", err)
	}
	c.Tunnel = nil
	if err := run(t.Context(), c.Env(), "x"); err == nil || err.Error() != "the agent is not connected" {
		t.Errorf("no agent: %v", err)
	}
}

func TestAnInterruptEndsACommand(t *testing.T) {
	c, _ := newController(t)
	ctx, cancel := context.WithCancel(t.Context())
	gone := make(chan struct{})
	c.Tunnel = func(_ *controllerv1.TunnelStart, hear func() (*tunnelv1.Frame, error), say func(*tunnelv1.Frame) error) error {
		_ = say(&tunnelv1.Frame{Kind: &tunnelv1.Frame_Opened{Opened: &tunnelv1.Opened{}}})
		cancel()
		for {
			if _, err := hear(); err != nil {
				close(gone)
				return err
			}
		}
	}
	var exit cli.Exit
	err := run(ctx, c.Env(), "x")
	if <-gone; !errors.As(err, &exit) && !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

func TestCopiesGoWhereTheyShall(t *testing.T) {
	c, host := newController(t)
	here := filepath.Join(t.TempDir(), "tree")
	if err := errors.Join(os.Mkdir(here, 0o750), os.WriteFile(filepath.Join(here, "a"), bytes.Repeat([]byte("a"), 300_000), 0o640)); err != nil {
		t.Fatal(err)
	}
	back := filepath.Join(t.TempDir(), "back")
	for _, leg := range [][2]tunnel.Place{
		{{Path: here}, {Machine: "web"}},
		{{Machine: "web", Path: "tree"}, {Machine: "web", Path: "again"}},
		{{Machine: "web", Path: "again"}, {Path: back}},
	} {
		if err := tunnel.Copy(t.Context(), c.Env(), leg[0], leg[1], true); err != nil {
			t.Fatalf("%v: %v", leg, err)
		}
	}
	for _, path := range []string{filepath.Join(host.Home, "tree", "a"), filepath.Join(back, "a")} {
		if info, err := os.Stat(path); err != nil || info.Size() != 300_000 || info.Mode() != 0o640 {
			t.Errorf("%s: %v, %v", path, info, err)
		}
	}
}

func TestACopyThatFailsTellsWhose(t *testing.T) {
	c, _ := newController(t)
	large := filepath.Join(t.TempDir(), "large")
	if err := os.WriteFile(large, make([]byte, 8<<20), 0o600); err != nil { // more than is under way when the host gives up
		t.Fatal(err)
	}
	here := t.TempDir()
	for want, leg := range map[string][2]tunnel.Place{
		"web: /home/none: no such file or directory": {{Machine: "web", Path: "none"}, {Path: here}},
		"web: /home/no: no such file or directory":   {{Path: large}, {Machine: "web", Path: "no/where"}},
		here + "/none: no such file or directory":    {{Path: here + "/none"}, {Machine: "web", Path: "x"}},
		here + "/no: no such file or directory":      {{Machine: "web", Path: "."}, {Path: here + "/no/where"}},
	} {
		if err := tunnel.Copy(t.Context(), c.Env(), leg[0], leg[1], true); err == nil || err.Error() != want {
			t.Errorf("want %s, got %v", want, err)
		}
	}
}

func TestTheWayIsDirectWhereTheHostAnswers(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m := controllertest.Running("web", "127.0.0.1")
	m.Status.Ssh = &controllerv1.SSHEndpoint{Address: "127.0.0.1", Port: uint32(listener.Addr().(*net.TCPAddr).Port)}
	m.Status.Link = &controllerv1.LinkStatus{Connected: true}
	env := controllertest.New(t).Env()
	if tunnel.ThroughAgent(t.Context(), env, tunnel.Auto, m) || tunnel.ThroughAgent(t.Context(), env, tunnel.Direct, m) || !tunnel.ThroughAgent(t.Context(), env, tunnel.Agent, m) {
		t.Error("a host that answers")
	}
	listener.Close()
	if !tunnel.ThroughAgent(t.Context(), env, tunnel.Auto, m) || tunnel.ThroughAgent(t.Context(), env, tunnel.Direct, m) {
		t.Error("a host that does not answer")
	}
	m.Status.Link.Connected = false
	if tunnel.ThroughAgent(t.Context(), env, tunnel.Auto, m) {
		t.Error("neither host nor agent answer: SSH says why")
	}
}

func TestTheFlagIsTakenOffWhatIsSSHs(t *testing.T) {
	for given, want := range map[string]string{
		"web -L 1:2": "auto web -L 1:2", "--via agent web": "agent web", "--via=direct web --via x": "direct web --via x", "-via agent": "agent",
		"--via": "", "--via x web": "", "": "auto",
	} {
		via, rest, err := tunnel.TakeVia(strings.Fields(given))
		got := strings.Join(append([]string{string(via)}, rest...), " ")
		if want == "" && fault.ReasonOf(err) == fault.ReasonUsage {
			continue
		}
		if err != nil || got != want {
			t.Errorf("%q: %q, %v", given, got, err)
		}
	}
}
