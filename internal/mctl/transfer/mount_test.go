package transfer

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mctl/internal/fault"
	"mctl/internal/mctl/cli"
	"mctl/internal/mctl/controllertest"
	controllerv1 "mctl/proto/mctl/controller/v1"
)

// callMount runs `mctl mount` and returns how the program was called.
func callMount(t *testing.T, env *cli.Env, args ...string) (string, error) {
	t.Helper()
	return callCommand(t, env, newMount(env), args...)
}

func TestMountCallsSSHFSWithAConfigurationForTheHost(t *testing.T) {
	c := newWorld(t)
	m := controllertest.Running("default", "10.0.0.9")
	m.Status.Ssh = &controllerv1.SSHEndpoint{Address: "10.0.0.9", Port: 2222, User: "root", HostKeys: []string{hostKey}}
	c.Put(m)
	at := t.TempDir()
	t.Chdir(at)
	if err := os.MkdirAll("-odd 'dir' $(id)", 0o700); err != nil {
		t.Fatal(err)
	}
	for _, one := range []struct {
		args []string
		want []string
	}{
		{[]string{"web:/srv", at}, []string{"<web:/srv><" + at + ">", "Host web\n", "  HostName 10.0.0.1\n", "  Port 22\n", "  User root\n", "StrictHostKeyChecking yes"}},
		{[]string{"deploy@db:/a b", at}, []string{"<db:/a b><" + at + ">", "  User deploy\n", "  Port 23\n", "  HostKeyAlias db\n"}},
		{[]string{at}, []string{"<default:" + at + "><" + at + ">", "  HostName 10.0.0.9\n", "  Port 2222\n"}},
		{[]string{"web:" + at}, []string{"<web:" + at + "><" + at + ">"}},
		{[]string{"web:`id`", "--", "-odd 'dir' $(id)"}, []string{"<web:`id`><./-odd 'dir' $(id)>"}},
	} {
		out, err := callMount(t, c.Env(), one.args...)
		if err != nil || !strings.HasPrefix(out, "<-F><") {
			t.Errorf("%q: %q, %v", one.args, out, err)
		}
		for _, want := range one.want {
			if !strings.Contains(out, want) {
				t.Errorf("%q lacks %q:\n%s", one.args, want, out)
			}
		}
	}
	if left, _ := os.ReadDir(os.Getenv("TMPDIR")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestUnmountAsksNobody(t *testing.T) {
	c := newWorld(t)
	for _, one := range []struct{ args, want string }{
		{"-u gone:/srv /mnt", "<-u></mnt>"}, {"--unmount gone:/srv", "<-u></srv>"}, {"/srv -u", "<-u></srv>"}, {"-u -- x:-oops", "<-u><./-oops>"},
	} {
		out, err := callMount(t, c.Env(), strings.Fields(one.args)...)
		if err != nil || !strings.HasPrefix(out, one.want) {
			t.Errorf("%s: %q, %v", one.args, out, err)
		}
	}
	if asked := c.Calls(); len(asked) > 0 {
		t.Errorf("it asked %q", asked)
	}
	env := c.Env()
	env.Global.Output = "json"
	if _, err := callMount(t, env, "-u", "/srv"); err != nil || env.Report("mctl mount", err) != 0 || env.Out.(*bytes.Buffer).String() != "{\n  \"unmounted\": \"/srv\"\n}\n" {
		t.Errorf("%v, %s", err, env.Out)
	}
}

func TestMountThatIsNotPossibleIsToldWithAHint(t *testing.T) {
	c := newWorld(t)
	c.Change("db", func(m *controllerv1.Machine) { m.Status.State = "Stopped" })
	at := t.TempDir()
	file := filepath.Join(at, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, one := range []struct {
		args []string
		want string
	}{
		{[]string{}, "Improper number of arguments"},
		{[]string{"web:/a", at, "more"}, "Improper number of arguments"},
		{[]string{"web:"}, "Improper number of arguments"},
		{[]string{"nosuch:/a", at}, `Error loading host: Error loading host: Docker machine "nosuch" does not exist`},
		{[]string{"/a", at}, `Error loading host: Error loading host: Docker machine "default" does not exist`},
		{[]string{"db:/a", at}, `Error: Cannot run SSH command: Host "db" is not running`},
		{[]string{"-x@web:/a", at}, "unknown shorthand flag"},
		{[]string{"--", "-x@web:/a", at}, `"-x" is no user that can log in`},
		{[]string{"web:/a", filepath.Join(at, "none")}, "does not exist here"},
		{[]string{"web:/a", file}, "is no directory"},
		{[]string{"web:/a", filepath.Join(file, "below")}, "not a directory"},
	} {
		out, err := callMount(t, c.Env(), one.args...)
		if err == nil || !strings.Contains(err.Error(), one.want) || strings.HasPrefix(out, "<") {
			t.Errorf("%q: %q, %v", one.args, out, err)
		}
		if strings.HasPrefix(one.want, "Improper") && !strings.Contains(out, "Mount or unmount a directory") {
			t.Errorf("%q: there is no help: %q", one.args, out)
		}
	}
	t.Setenv("FAIL", "1")
	var exit cli.Exit
	if _, err := callMount(t, c.Env(), "web:/a", at); !errors.As(err, &exit) || exit.Code != 1 || exit.Sentence == "" || !strings.Contains(exit.Hint, "`mctl ssh web true`") {
		t.Errorf("%#v", err)
	}
	t.Setenv("PATH", t.TempDir())
	for _, one := range []struct{ args, want string }{
		{"nosuch:/a " + at, "You must have a copy of the sshfs binary locally to use the mount feature"},
		{"-u web:/a " + at, "You must have a copy of the fusermount binary locally to use the unmount option"},
	} {
		if _, err := callMount(t, c.Env(), strings.Fields(one.args)...); err == nil || err.Error() != one.want || !fault.Is(err, fault.Precondition) || fault.HintOf(err) == "" {
			t.Errorf("%s: %v", one.args, err)
		}
	}
}
