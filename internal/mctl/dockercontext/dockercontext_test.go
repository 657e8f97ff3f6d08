package dockercontext

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"mctl/internal/fault"
	"mctl/internal/mctl/cli"
	"mctl/internal/mctl/controllertest"
	controllerv1 "mctl/proto/mctl/controller/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newStore(t *testing.T) store {
	t.Helper()
	return store{config: filepath.Join(t.TempDir(), "docker"), machines: "/state/machines"}
}

var files = map[string][]byte{"ca.pem": []byte("ca"), "cert.pem": []byte("cert"), "key.pem": []byte("key")}

func TestContextIsMadeOnceThenMended(t *testing.T) {
	s, r := newStore(t), record{"web", "web", "tcp://10.0.0.1:2376"}
	expect := func(want change) {
		t.Helper()
		if got, err := s.put(r, files); got != want || err != nil {
			t.Errorf("%q, %v, want %q", got, err, want)
		}
	}
	key := filepath.Join(s.endpoint("web"), "key.pem")
	expect(created)
	expect(unchanged)
	r.Endpoint = "tcp://10.0.0.2:2376"
	expect(updated)
	for _, spoil := range []func() error{
		func() error { return os.WriteFile(key, []byte("x"), 0o600) },
		func() error { return os.Chmod(key, 0o644) },
		func() error { return os.Remove(key) },
		func() error { return os.RemoveAll(s.tls("web")) },
		func() error { _ = os.Remove(key); return os.Symlink("/etc/hostname", key) },
	} {
		if err := spoil(); err != nil {
			t.Fatal(err)
		}
		expect(updated)
		if info, err := os.Lstat(key); err != nil || info.Mode() != 0o600 {
			t.Errorf("the key's mode is %v, %v", info.Mode(), err)
		}
	}
	if ours, err := s.list(); err != nil || len(ours) != 1 || ours[0] != r {
		t.Errorf("%v, %v", ours, err)
	}
	if err := s.remove("web"); err != nil {
		t.Error(err)
	}
	if err := s.remove("web"); !fault.Is(err, fault.NotFound) {
		t.Errorf("%v", err)
	}
	for _, kind := range []string{"meta", "tls"} {
		if left, _ := os.ReadDir(filepath.Join(s.config, "contexts", kind)); len(left) > 0 {
			t.Errorf("left in %s: %v", kind, left)
		}
	}
}

func TestRemovalThatWasKilledIsFinished(t *testing.T) {
	s := newStore(t)
	if _, err := s.put(record{"web", "web", "tcp://10.0.0.1:2376"}, files); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(s.tls("web")); err != nil { // killed between the two
		t.Fatal(err)
	}
	if ours, _ := s.list(); len(ours) != 1 {
		t.Errorf("nobody knows what is left: %v", ours)
	}
	if err := s.remove("web"); err != nil {
		t.Error(err)
	}
}

func TestForeignContextsAreNeverTouched(t *testing.T) {
	ours := func(m *meta) {
		m.Name, m.Metadata.Mark = "web", &mark{Context: "web", Machine: "web", Machines: "/state/machines"}
	}
	for name, foreign := range map[string]any{
		"the docker CLI's":           map[string]any{"Name": "web", "Metadata": map[string]string{"Description": "mctl"}},
		"another state directory's":  func(m *meta) { m.Metadata.Mark.Machines = "/other/machines" },
		"a copy of ours":             func(m *meta) { m.Metadata.Mark.Context = "other" },
		"one in a wrong folder":      func(m *meta) { m.Name, m.Metadata.Mark.Context = "other", "other" },
		"a mark of another kind":     map[string]any{"Name": "web", "Metadata": map[string]any{"mctl": true}},
		"a list":                     []int{1},
		"cut off":                    `{"Name":"web","Metadata":{"mctl":`,
		"empty":                      "",
		"a pipe that nobody writes":  nil,
		"a folder":                   map[bool]int{},
		"a link to nothing":          0,
		"a million opening brackets": strings.Repeat("[", maxFile+1),
	} {
		s := newStore(t)
		path := filepath.Join(s.meta("web"), "meta.json")
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		switch foreign := foreign.(type) {
		case nil:
			err = syscall.Mkfifo(path, 0o600)
		case map[bool]int:
			err = os.Mkdir(path, 0o700)
		case int:
			err = os.Symlink("/nosuch/file", path)
		case string:
			err = os.WriteFile(path, []byte(foreign), 0o600)
		case func(m *meta):
			var m meta
			ours(&m)
			foreign(&m)
			text, _ := json.Marshal(m)
			err = os.WriteFile(path, text, 0o600)
		default:
			text, _ := json.Marshal(foreign)
			err = os.WriteFile(path, text, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		before, _ := os.Lstat(path)
		if _, err := s.put(record{"web", "web", "tcp://10.0.0.1:2376"}, files); !fault.Is(err, fault.Exists) || fault.HintOf(err) == "" {
			t.Errorf("%s: put: %v", name, err)
		}
		if err := s.remove("web"); !fault.Is(err, fault.Exists) {
			t.Errorf("%s: remove: %v", name, err)
		}
		if all, err := s.list(); len(all) > 0 || err != nil {
			t.Errorf("%s: taken for ours: %v, %v", name, all, err)
		}
		if after, err := os.Lstat(path); err != nil || !after.ModTime().Equal(before.ModTime()) || after.Size() != before.Size() {
			t.Errorf("%s: touched", name)
		}
		if _, err := os.Lstat(filepath.Join(s.config, "contexts", "tls")); err == nil {
			t.Errorf("%s: a key was written", name)
		}
	}
}

func TestNamesAreThoseThatTheDockerCLITakes(t *testing.T) {
	s := newStore(t)
	for _, name := range []string{"", "a", "default", "-x", "../x", "a/b", "a b", "a\nb", "$(id)", "`id`", "a\x1b[2J", "é2"} {
		if _, err := s.put(record{name, "web", "tcp://10.0.0.1:2376"}, files); !fault.Is(err, fault.Invalid) || !strings.Contains(fault.HintOf(err), "--prefix") {
			t.Errorf("%q: %v", name, err)
		}
	}
	if _, err := os.Lstat(s.config); err == nil {
		t.Error("something was written")
	}
}

func TestDirectoryIsFoundAsTheDockerCLIFindsIt(t *testing.T) {
	for want, variables := range map[string]map[string]string{
		"/home/u/.docker": {"HOME": "/home/u"},
		"/etc/d":          {"HOME": "/home/u", "DOCKER_CONFIG": "/etc/d"},
		"":                {},
	} {
		env := &cli.Env{Args: []string{"mctl"}, Lookup: func(name string) (string, bool) { value, ok := variables[name]; return value, ok }}
		env.Global.StoragePath = "/state"
		s, err := open(env)
		if s.config != want || (err == nil) != (want != "") {
			t.Errorf("%q, %v, want %q", s.config, err, want)
		}
	}
}

// run runs the command as a controller's caller and returns what it printed.
func run(t *testing.T, c *controllertest.Controller, args ...string) (string, error) {
	t.Helper()
	env := c.Env()
	command := Commands(env)[0]
	command.SetArgs(args)
	command.SilenceErrors, command.SilenceUsage = true, true
	err := command.ExecuteContext(t.Context())
	return env.Out.(*bytes.Buffer).String(), err
}

func TestSyncFollowsAddressesAndAuthorities(t *testing.T) {
	c := controllertest.New(t)
	c.Put(controllertest.Running("web", "10.0.0.1"))
	c.Put(controllertest.Running("db", "10.0.0.2"))
	if out, err := run(t, c, "sync"); err != nil || strings.Count(out, "was created") != 2 {
		t.Fatalf("%q, %v", out, err)
	}
	c.Change("web", func(m *controllerv1.Machine) { m.Status.Address, m.Status.Url = "10.0.0.9", "tcp://10.0.0.9:2376" })
	if out, err := run(t, c, "sync"); err != nil || out != "Docker context \"web\" was brought up to date.\n" {
		t.Errorf("a new address: %q, %v", out, err)
	}
	c.Change("web", func(m *controllerv1.Machine) { m.Status.Authority = "next" })
	if out, err := run(t, c, "sync"); err != nil || out != "Docker context \"web\" was brought up to date.\n" {
		t.Errorf("another authority: %q, %v", out, err)
	}
	c.Change("web", func(m *controllerv1.Machine) { m.Status.State = "Stopped" })
	if out, err := run(t, c, "sync"); err != nil || !strings.HasPrefix(out, "Nothing to do") {
		t.Errorf("a stopped machine: %q, %v", out, err)
	}
	c.Remove("web")
	if out, err := run(t, c, "sync"); err != nil || out != "Docker context \"web\" was removed.\n" {
		t.Errorf("a machine that is gone: %q, %v", out, err)
	}
	c.PutAs("odd", controllertest.Running("../../odd", "10.0.0.3"))
	if out, err := run(t, c, "sync"); !fault.Is(err, fault.Invalid) || out != "" {
		t.Errorf("a controller that names a machine so: %q, %v", out, err)
	}
}
