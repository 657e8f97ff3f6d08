package shell_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/goleak"
	gossh "golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"mctl/internal/controller/bootstrap/sshtest"
	"mctl/internal/fault"
	"mctl/internal/mctl/cli"
	"mctl/internal/mctl/controllertest"
	"mctl/internal/mctl/credential"
	"mctl/internal/mctl/shell"
	controllerv1 "mctl/proto/mctl/controller/v1"
)

func TestMain(m *testing.M) {
	if os.Getenv(runsProgram) != "" {
		os.Exit(runProgram())
	}
	goleak.VerifyTestMain(m)
}

// runsProgram has this test's program be an mctl that runs another one.
const runsProgram = "MCTL_TEST_RUNS_PROGRAM"

func runProgram() int {
	program := shell.Program{Path: "/bin/sh", Args: []string{"-c", "echo $$; exec sleep 60"}, Out: os.Stdout}
	if program.Run(context.Background(), &cli.Env{In: strings.NewReader(""), Err: io.Discard}) != nil {
		return 1
	}
	return 0
}

// world is a machine whose host lets its key in.
type world struct {
	*controllertest.Controller
	host *sshtest.Host
	key  credential.KeyPair
}

// newWorld makes the machine web; its host echoes the command and what it is told, and ends with 7 for "fail".
func newWorld(t *testing.T, variables ...string) world {
	t.Helper()
	c := controllertest.New(t, variables...)
	pair, err := credential.NewKeyPair("mctl-web")
	if err != nil {
		t.Fatal(err)
	}
	allowed, _, _, _, err := gossh.ParseAuthorizedKey([]byte(pair.Authorized))
	if err != nil {
		t.Fatal(err)
	}
	hostKey, _ := sshtest.NewKey(t)
	host := &sshtest.Host{User: "root", Keys: []gossh.Signer{hostKey}, Allowed: allowed, Shell: func(command string, stdin io.Reader, stdout, stderr io.Writer) int {
		text, _ := io.ReadAll(stdin)
		fmt.Fprintf(stdout, "ran %q, told %q\n", command, text)
		fmt.Fprint(stderr, "complaint\n")
		if strings.HasPrefix(command, "fail") {
			return 7
		}
		return 0
	}}
	host.Start(t)
	m := controllertest.Running("web", "127.0.0.1")
	m.Status.Ssh = &controllerv1.SSHEndpoint{Address: "127.0.0.1", Port: uint32(host.Port()), User: "root", HostKeys: []string{sshtest.Line(hostKey.PublicKey())}}
	c.Put(m)
	folder := c.Dir().Machine("web")
	if err := folder.Claim(m.GetUid()); err != nil {
		t.Fatal(err)
	}
	if err := folder.WriteKeys(pair.Private, []byte(pair.Authorized)); err != nil {
		t.Fatal(err)
	}
	return world{c, host, pair}
}

// ssh runs `mctl ssh` with a text at standard input, by the program or without it.
func (w world) ssh(t *testing.T, native bool, stdin string, args ...string) (out, complaints string, err error) {
	t.Helper()
	env := w.Env()
	env.In, env.Global.NativeSSH = strings.NewReader(stdin), native
	err = run(t.Context(), env, args...)
	return env.Out.(*bytes.Buffer).String(), env.Err.(*bytes.Buffer).String(), err
}

func run(ctx context.Context, env *cli.Env, args ...string) error {
	command := shell.Commands(env)[0]
	command.SetArgs(args)
	command.SilenceErrors, command.SilenceUsage = true, true
	return command.ExecuteContext(ctx)
}

// ways are with OpenSSH's program and without it.
func ways(t *testing.T) []bool {
	t.Helper()
	if _, err := exec.LookPath("ssh"); err != nil {
		t.Fatal("the program ssh is needed for this test: install openssh-client")
	}
	return []bool{false, true}
}

func TestCommandRunsAndItsExitCodeIsOurs(t *testing.T) {
	w := newWorld(t)
	for _, native := range ways(t) {
		out, complaints, err := w.ssh(t, native, "input", "web", "echo", "a  b", "$x")
		if err != nil || out != `ran "echo a  b $x", told "input"`+"\n" || !strings.Contains(complaints, "complaint") {
			t.Errorf("native %v: %q, %q, %v", native, out, complaints, err)
		}
		_, _, err = w.ssh(t, native, "", "web", "--", "fail")
		var exit cli.Exit
		if !errors.As(err, &exit) || exit.Code != 7 || exit.Sentence != "" {
			t.Errorf("native %v: ended with %#v", native, err)
		}
	}
}

func TestHostOfAnotherKeyIsRefused(t *testing.T) {
	w := newWorld(t)
	other, _ := sshtest.NewKey(t)
	w.Change("web", func(m *controllerv1.Machine) { m.Status.Ssh.HostKeys = []string{sshtest.Line(other.PublicKey())} })
	for _, native := range ways(t) {
		out, _, err := w.ssh(t, native, "secret", "web", "true")
		if err == nil || out != "" {
			t.Errorf("native %v: %q, %v", native, out, err)
		}
		if native && (!fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "not the one that was pinned")) {
			t.Errorf("it says %v", err)
		}
	}
	if asked := w.host.Commands(); len(asked) > 0 {
		t.Errorf("it was asked %q", asked)
	}
}

func TestHostIsReachedThroughTheCallersAgentWhereThereIsNoKey(t *testing.T) {
	keys := agent.NewKeyring()
	socket := filepath.Join(t.TempDir(), "agent")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		for conn, err := listener.Accept(); err == nil; conn, err = listener.Accept() {
			go func() { _ = agent.ServeAgent(keys, conn) }()
		}
	}()
	w := newWorld(t, "SSH_AUTH_SOCK="+socket)
	private, err := gossh.ParseRawPrivateKey(w.key.Private)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(w.Dir().Machine("web").Key()); err != nil {
		t.Fatal(err)
	}
	if _, _, err := w.ssh(t, true, "", "web", "true"); err == nil {
		t.Error("an agent without keys is enough")
	}
	if err := keys.Add(agent.AddedKey{PrivateKey: private}); err != nil {
		t.Fatal(err)
	}
	if out, _, err := w.ssh(t, true, "", "web", "true"); err != nil || !strings.HasPrefix(out, `ran "true"`) {
		t.Errorf("%q, %v", out, err)
	}
	listener.Close()
	if _, _, err := w.ssh(t, true, "", "web", "true"); err == nil || !strings.Contains(err.Error(), "no ssh-agent") || fault.HintOf(err) == "" {
		t.Errorf("without an agent: %v", err)
	}
}

func TestInterruptEndsACommandWithTheUsualCode(t *testing.T) {
	w := newWorld(t)
	begun, release := make(chan struct{}, 2), make(chan struct{})
	w.host.Shell = func(string, io.Reader, io.Writer, io.Writer) int { begun <- struct{}{}; <-release; return 0 }
	defer close(release)
	for _, native := range ways(t) {
		ctx, cancel := context.WithCancel(t.Context())
		env := w.Env()
		env.Global.NativeSSH = native
		done := make(chan error)
		go func() { done <- run(ctx, env, "web", "sleep") }()
		select {
		case <-begun:
		case <-time.After(20 * time.Second):
			t.Fatal("the command did not begin")
		}
		cancel()
		var exit cli.Exit
		if err := <-done; !errors.As(err, &exit) || exit.Code != cli.ExitInterrupted {
			t.Errorf("native %v: %v", native, err)
		}
	}
}

func TestHostThatDoesNotRunIsNotTried(t *testing.T) {
	w := newWorld(t)
	for name, change := range map[string]func(*controllerv1.Machine){
		"stopped":                func(m *controllerv1.Machine) { m.Status.State = "Stopped" },
		"without an address":     func(m *controllerv1.Machine) { m.Status.Ssh.Address = "" },
		"without a key to pin":   func(m *controllerv1.Machine) { m.Status.Ssh.HostKeys = nil },
		"without a login at all": func(m *controllerv1.Machine) { m.Status.Ssh = nil },
		"about to stop":          func(m *controllerv1.Machine) { m.Status.State = "Stopping" },
	} {
		well := machine(t, w)
		w.Change("web", change)
		_, _, err := w.ssh(t, true, "", "web", "true")
		if err == nil || err.Error() != `Error: Cannot run SSH command: Host "web" is not running` || fault.HintOf(err) == "" {
			t.Errorf("%s: %v", name, err)
		}
		w.Put(well)
	}
	if w.host.Connections() > 0 {
		t.Error("the host was asked")
	}
}

func TestWhatOthersChoseCannotBecomeAnOption(t *testing.T) {
	w := newWorld(t)
	for name, change := range map[string]func(*controllerv1.SSHEndpoint){
		"an option as user":       func(e *controllerv1.SSHEndpoint) { e.User = "-oProxyCommand=touch /tmp/x" },
		"a user of two lines":     func(e *controllerv1.SSHEndpoint) { e.User = "root\n  ProxyCommand touch x" },
		"a user with a blank":     func(e *controllerv1.SSHEndpoint) { e.User = "root -x" },
		"no user":                 func(e *controllerv1.SSHEndpoint) { e.User = "" },
		"an option as address":    func(e *controllerv1.SSHEndpoint) { e.Address = "-oProxyCommand=x" },
		"an address of two lines": func(e *controllerv1.SSHEndpoint) { e.Address = "127.0.0.1\nProxyCommand x" },
		"a command as address":    func(e *controllerv1.SSHEndpoint) { e.Address = "$(touch x)" },
		"a key that says more":    func(e *controllerv1.SSHEndpoint) { e.HostKeys = []string{"@cert-authority * ssh-rsa AAAA"} },
	} {
		bad := machine(t, w)
		change(bad.GetStatus().GetSsh())
		if host, err := shell.HostOf(w.Env(), bad); err == nil {
			t.Errorf("%s is taken: %+v", name, host)
		}
	}
	host, err := shell.HostOf(w.Env(), machine(t, w))
	if err != nil {
		t.Fatal(err)
	}
	for _, user := range []string{"-x", "a b", "a\nb", "", "a\"b"} {
		if _, err := host.As(user); err == nil {
			t.Errorf("user %q is taken", user)
		}
	}
	if other, err := host.As("deploy"); err != nil || other.User != "deploy" || host.User != "root" {
		t.Errorf("%+v, %v", other, err)
	}
}

func machine(t *testing.T, w world) *controllerv1.Machine {
	t.Helper()
	m, err := w.Env().Get(t.Context(), "web")
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestConfigurationMeansWhatItSaysToOpenSSH(t *testing.T) {
	ways(t)
	host := shell.Host{
		Name: "web", User: "root", Address: "fe80::1%eth0", Port: 2222,
		Key: `/state dir/100% "x"/id_rsa`, KnownHosts: `/state dir/100% "x"/known_hosts`,
	}
	path := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(path, []byte(host.Config("mctl-from")), 0o600); err != nil {
		t.Fatal(err)
	}
	output, err := exec.Command("ssh", "-G", "-F", path, "mctl-from").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"hostname fe80::1%eth0", "user root", "port 2222", "hostkeyalias web", "identitiesonly yes"} {
		if !strings.Contains("\n"+string(output), "\n"+want+"\n") {
			t.Errorf("ssh does not understand %q:\n%s", want, output)
		}
	}
	for _, want := range []string{`known_hosts`, `id_rsa`} {
		if !strings.Contains(string(output), `/state dir/100%% "x"/`+want) && !strings.Contains(string(output), `/state dir/100% "x"/`+want) {
			t.Errorf("ssh does not find %s:\n%s", want, output)
		}
	}
	bare := shell.Host{Name: "web", User: "root", Address: "10.0.0.1", Port: 22}
	if strings.Contains(bare.Config("x"), "Identity") {
		t.Error("a key that there is none of is named")
	}
}

func TestHelpIsForTheFirstWordAlone(t *testing.T) {
	w := newWorld(t)
	for _, word := range []string{"-h", "-help", "--help"} {
		env := w.Env()
		command := shell.Commands(env)[0]
		helped := false
		command.SetHelpFunc(func(*cobra.Command, []string) { helped = true })
		command.SetArgs([]string{word})
		if err := command.Execute(); err != nil || !helped {
			t.Errorf("%s: %v", word, err)
		}
	}
	if out, _, err := w.ssh(t, true, "", "web", "--help"); err != nil || !strings.Contains(out, `ran "--help"`) {
		t.Errorf("%q, %v", out, err)
	}
}

func TestProgramThatIsNotThereIsToldWithAHint(t *testing.T) {
	w := newWorld(t)
	if err := (shell.Program{Path: "/nosuch/ssh", Out: io.Discard}).Run(t.Context(), w.Env()); !fault.Is(err, fault.Precondition) || fault.HintOf(err) == "" {
		t.Errorf("%v", err)
	}
}
