package transfer

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/spf13/cobra"
	"go.uber.org/goleak"

	"mctl/internal/fault"
	"mctl/internal/mctl/cli"
	"mctl/internal/mctl/controllertest"
	controllerv1 "mctl/proto/mctl/controller/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const hostKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGhSCYtM8DkNZ9l8FeFDX+DURgsl0eT9E0XUZMV1jJao"

// newWorld has the machines web and db, and stand-ins for the programs that tell how they were called.
func newWorld(t *testing.T) *controllertest.Controller {
	t.Helper()
	bin := t.TempDir()
	script := "#!/bin/sh\nfor a; do printf '<%s>' \"$a\"; [ -f \"$a\" ] && cat \"$a\"; done\necho \"$RSYNC_PROTECT_ARGS\"\n[ -z \"$FAIL\" ] || exit \"$FAIL\"\n"
	for _, name := range []string{"scp", "rsync", "sshfs", "fusermount"} {
		if err := os.WriteFile(filepath.Join(bin, name), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	c := controllertest.New(t)
	t.Setenv("TMPDIR", t.TempDir())
	for i, name := range []string{"web", "db"} {
		m := controllertest.Running(name, "10.0.0.1")
		m.Status.Ssh = &controllerv1.SSHEndpoint{Address: "10.0.0.1", Port: uint32(22 + i), User: "root", HostKeys: []string{hostKey}}
		c.Put(m)
	}
	return c
}

// call runs `mctl scp` and returns how the program was called.
func call(t *testing.T, env *cli.Env, args ...string) (string, error) {
	t.Helper()
	return callCommand(t, env, newSCP(env), args...)
}

func callCommand(t *testing.T, env *cli.Env, command *cobra.Command, args ...string) (string, error) {
	t.Helper()
	command.SetArgs(args)
	command.SilenceErrors, command.SilenceUsage = true, true
	err := command.ExecuteContext(t.Context())
	return env.Out.(*bytes.Buffer).String(), err
}

func TestEachPlaceIsAPathHereOrOnAHost(t *testing.T) {
	c := newWorld(t)
	for given, want := range map[string][2]string{
		"file":                {"file", ""},
		"./a:b":               {"./a:b", ""},
		"/dir:x/file":         {"/dir:x/file", ""},
		"web:/etc/x":          {"mctl-from:/etc/x", "User root"},
		"web:":                {"mctl-from:", "User root"},
		"deploy@web:x y":      {"mctl-from:x y", "User deploy"},
		"web:a:b":             {"mctl-from:a:b", "User root"},
		"localhost:/tmp/x":    {"/tmp/x", ""},
		"me@localhost:/tmp/x": {"/tmp/x", ""},
		"localhost:odd:name":  {"./odd:name", ""},
		"localhost:/odd:name": {"/odd:name", ""},
		"web::module":         {"mctl-from:./:module", "User root"},
		"web:$(id) 'x' \"y\"": {"mctl-from:$(id) 'x' \"y\"", "User root"},
		"$(id)":               {"$(id)", ""},
		"":                    {"", ""},
		"-oProxyCommand=x":    {"-oProxyCommand=x", ""},
	} {
		var config strings.Builder
		got, err := place(t.Context(), c.Env(), given, "mctl-from", &config)
		if err != nil || got != want[0] || !strings.Contains(config.String(), want[1]) || (want[1] == "") != (config.Len() == 0) {
			t.Errorf("%q is %q, %v, with\n%s", given, got, err, config.String())
		}
	}
	for given, want := range map[string]string{
		"nosuch:x":   `Error loading host: Error loading host: Docker machine "nosuch" does not exist`,
		"-x@web:f":   `"-x" is no user that can log in`,
		"a\nb@web:f": `"a\nb" is no user that can log in`,
	} {
		if _, err := place(t.Context(), c.Env(), given, "a", new(strings.Builder)); err == nil || err.Error() != want {
			t.Errorf("%q: %v", given, err)
		}
	}
}

func TestProgramIsCalledWithAConfigurationForBothHosts(t *testing.T) {
	c := newWorld(t)
	out, err := call(t, c.Env(), "-r", "-q", "web:/a", "root@db:/b")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"<-3><-q><-r><--><mctl-from:/a><mctl-to:/b>1\n", "Host mctl-from\n", "Host mctl-to\n", "  Port 22\n", "  Port 23\n", "  HostKeyAlias db\n", "StrictHostKeyChecking yes"} {
		if !strings.Contains(out, want) {
			t.Errorf("it lacks %q:\n%s", want, out)
		}
	}
	if left, _ := os.ReadDir(os.Getenv("TMPDIR")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// A command that is killed can't remove its file; one that lives needs it.
func TestFilesOfCommandsThatWereKilledAreSwept(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	killed, other := filepath.Join(os.TempDir(), "mctl-ssh-1"), filepath.Join(os.TempDir(), "mctl-other")
	for _, path := range []string{killed, other} {
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(other, filepath.Join(os.TempDir(), "mctl-ssh-link")); err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 20 {
				path, done, err := writeConfig("Host x\n")
				if err != nil {
					t.Error(err)
					return
				}
				sweepConfigs()
				if text, err := os.ReadFile(path); err != nil || !strings.HasSuffix(string(text), "Host x\n") {
					t.Errorf("the file of a command that lives: %q, %v", text, err)
				}
				done()
			}
		})
	}
	group.Wait()
	if left, _ := filepath.Glob(filepath.Join(os.TempDir(), "*")); !slices.Equal(left, []string{other, filepath.Join(os.TempDir(), "mctl-ssh-link")}) {
		t.Errorf("there are %q", left)
	}
}

func TestArgumentsOfEachProgram(t *testing.T) {
	for _, c := range []struct {
		opts options
		want []string
	}{
		{options{}, []string{"-F", "/c", "-3", "--", "a", "b"}},
		{options{quiet: true, recursive: true}, []string{"-F", "/c", "-3", "-q", "-r", "--", "a", "b"}},
		{options{delta: true}, []string{"--progress", "-e", "ssh -F '/c'", "--", "a", "b"}},
		{options{delta: true, quiet: true, recursive: true}, []string{"-e", "ssh -F '/c'", "-r", "--", "a", "b"}},
	} {
		if got := arguments("/c", "a", "b", c.opts); !slices.Equal(got, c.want) {
			t.Errorf("%+v: %q", c.opts, got)
		}
	}
	if got := arguments("/o'dd c", "a", "b", options{delta: true})[2]; got != "ssh -F '/o''dd c'" {
		t.Errorf("rsync would take %q apart", got)
	}
}

func TestDeltaIsNotForTwoMachines(t *testing.T) {
	c := newWorld(t)
	out, err := call(t, c.Env(), "-d", "web:/a", "db:/b")
	if fault.ReasonOf(err) != fault.ReasonUsage || fault.HintOf(err) == "" || out != "" {
		t.Errorf("%q, %v", out, err)
	}
	if out, err := call(t, c.Env(), "-d", "web:/a", "localhost:b"); err != nil || !strings.Contains(out, "<--><mctl-from:/a><b>1\n") {
		t.Errorf("%q, %v", out, err)
	}
}

func TestHostWithoutRsyncIsTold(t *testing.T) {
	c := newWorld(t)
	t.Setenv("FAIL", "127")
	for _, output := range []string{"text", "json"} {
		env := c.Env()
		env.Global.Output = output
		_, err := call(t, env, "-d", "a", "web:b")
		var exit cli.Exit
		if !errors.As(err, &exit) || exit.Code != 127 || exit.Sentence != "rsync was not found on the host" || !strings.Contains(exit.Hint, "--delta") {
			t.Errorf("%s: %#v", output, err)
		}
	}
	var exit cli.Exit
	if _, err := call(t, c.Env(), "a", "web:b"); !errors.As(err, &exit) || exit.Sentence != "" {
		t.Errorf("scp without rsync: %#v", err)
	}
}

func TestMistakesAreToldInDockerMachinesWords(t *testing.T) {
	c := newWorld(t)
	env := c.Env()
	out, err := call(t, env, "one")
	if err == nil || err.Error() != "Improper number of arguments" || !strings.Contains(out, "Copy files between machines") {
		t.Errorf("%q, %v", out, err)
	}
	t.Setenv("PATH", t.TempDir())
	for flag, want := range map[string]string{
		"-q": "You must have a copy of the scp binary locally to use the scp feature",
		"-d": "You must have a copy of the rsync binary locally to use the --delta option",
	} {
		if _, err := call(t, c.Env(), flag, "a", "b"); err == nil || err.Error() != want || fault.HintOf(err) == "" {
			t.Errorf("%s: %v", flag, err)
		}
	}
}

func TestExitCodeIsTheProgramsAndADocumentStandsAlone(t *testing.T) {
	c := newWorld(t)
	t.Setenv("FAIL", "3")
	var exit cli.Exit
	if _, err := call(t, c.Env(), "a", "web:b"); !errors.As(err, &exit) || exit.Code != 3 || exit.Sentence != "" {
		t.Errorf("%#v", err)
	}
	env := c.Env()
	env.Global.Output = "json"
	out, err := call(t, env, "a", "web:b")
	if !errors.As(err, &exit) || exit.Code != 3 || exit.Sentence != "scp ended with code 3" || out != "" || !strings.Contains(env.Err.(*bytes.Buffer).String(), "<mctl-to:b>") {
		t.Errorf("%q, %#v", out, err)
	}
}
