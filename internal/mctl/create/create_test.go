package create

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/spf13/cobra"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"mctl/internal/fault"
	"mctl/internal/mctl/cli"
	"mctl/internal/mctl/controllertest"
	"mctl/internal/mctl/credential"
	controllerv1 "mctl/proto/mctl/controller/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// flag is a driver's flag for a text.
func flag(name string, kind controllerv1.DriverFlag_Kind) *controllerv1.DriverFlag {
	return &controllerv1.DriverFlag{Name: name, Kind: kind, Type: controllerv1.DriverFlag_TYPE_STRING}
}

// newWorld has a controller with the drivers cloud, generic and broken.
func newWorld(t *testing.T, variables ...string) *controllertest.Controller {
	t.Helper()
	c := controllertest.New(t, variables...)
	c.Drivers = []*controllerv1.Driver{
		{Name: "broken", Unusable: "no tool", DefaultRank: 1, Flags: []*controllerv1.DriverFlag{flag("broken-x", controllerv1.DriverFlag_KIND_VALUE)}},
		{Name: "cloud", DefaultRank: 2, Flags: []*controllerv1.DriverFlag{
			flag("cloud-zone", controllerv1.DriverFlag_KIND_VALUE), flag("cloud-token", controllerv1.DriverFlag_KIND_SECRET),
		}},
		{Name: "generic", Flags: []*controllerv1.DriverFlag{
			flag("generic-ip-address", controllerv1.DriverFlag_KIND_VALUE), flag("generic-ssh-key", controllerv1.DriverFlag_KIND_FILE),
		}},
	}
	return c
}

// call runs `mctl create` as the root does and returns what it printed.
func call(ctx context.Context, env *cli.Env, args ...string) (string, error) {
	root := &cobra.Command{Use: "mctl", SilenceErrors: true, SilenceUsage: true}
	root.PersistentFlags().StringVar(&env.Global.Output, "output", "text", "")
	root.PersistentFlags().StringVar(&env.Global.StoragePath, "storage-path", "", "")
	root.AddCommand(Commands(env)...)
	root.SetArgs(append([]string{"create"}, args...))
	err := root.ExecuteContext(ctx)
	return env.Out.(*bytes.Buffer).String(), err
}

func TestMachineGetsAKeyOfItsOwnAndItsFolder(t *testing.T) {
	c := newWorld(t)
	out, err := call(t.Context(), c.Env(), "--driver", "cloud", "--cloud-zone", "z", "--cloud-token", "canary", "--tls-san", "web.example.com", "--wait-ssh", "90s", "web")
	if err != nil || out != "Running pre-create checks...\nCreating machine...\nThe host of \"web\" runs.\n" {
		t.Fatalf("%q, %v", out, err)
	}
	m, err := c.Env().Get(t.Context(), "web")
	if err != nil {
		t.Fatal(err)
	}
	spec, folder := m.GetSpec(), c.Dir().Machine("web")
	public, err := os.ReadFile(folder.File("id_rsa.pub"))
	if err != nil || strings.TrimSpace(string(public)) != spec.GetSshAuthorizedKeys()[0] {
		t.Errorf("%q is not %q, %v", public, spec.GetSshAuthorizedKeys(), err)
	}
	if spec.GetDriver() != "cloud" || spec.GetTlsSans()[0] != "web.example.com" || spec.GetWaits().GetSsh().AsDuration().Seconds() != 90 || spec.GetWaits().GetAgent() != nil {
		t.Errorf("%v", spec)
	}
	if mark, ours := folder.Mark(); !ours || mark.UID != m.GetUid() {
		t.Errorf("the mark is %v", mark)
	}
	err = filepath.WalkDir(c.Dir().Root, func(path string, entry os.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			if text, _ := os.ReadFile(path); bytes.Contains(text, []byte("canary")) {
				t.Errorf("%s tells the secret", path)
			}
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func TestRefusedCreateLeavesNothing(t *testing.T) {
	for name, c := range map[string]struct {
		refusal error
		want    string
		code    int
	}{
		"a pre-check":                 {fault.New("op", fault.Denied, "web", "no systemd").WithReason(fault.ReasonPrecheck).WithHint("h"), `Error with pre-create check: "no systemd"`, 3},
		"a host that is out of reach": {fault.New("op", fault.Unavailable, "web", "connection refused").WithReason(fault.ReasonPrecheck).WithHint("h"), `Error with pre-create check: "connection refused"`, 3},
		"a flag":                      {fault.New("op", fault.Invalid, "web", "--cloud-zone is odd").WithReason(fault.ReasonUsage).WithHint("h"), "Error setting machine configuration from flags provided: --cloud-zone is odd", 2},
		"a name":                      {fault.New("op", fault.Exists, "web", `Docker machine "web" already exists`), `Docker machine "web" already exists`, 1},
	} {
		world := newWorld(t)
		world.Refuse = func(method string) error {
			if method == "CreateMachine" {
				return c.refusal
			}
			return nil
		}
		env := world.Env()
		_, err := call(t.Context(), env, "--driver", "cloud", "web")
		if err == nil || err.Error() != c.want || env.Report("mctl create", err) != c.code {
			t.Errorf("%s: %v", name, err)
		}
		if entries, _ := os.ReadDir(world.Dir().Machines()); len(entries) > 0 {
			t.Errorf("%s: left %v", name, entries)
		}
	}
}

func TestFailedCreateStaysUnlessItIsRolledBack(t *testing.T) {
	c := newWorld(t)
	c.Act = func(_ string, m *controllerv1.Machine) {
		c.Change(m.GetName(), controllertest.Park(fault.Quota, "no room", "remove one"))
		if m.GetSpec().GetRollback() {
			c.Emit(&controllerv1.Event{Machine: m.GetName(), MachineUid: m.GetUid(), Type: "FAILED", Message: "no room"})
			c.Remove(m.GetName())
		}
	}
	_, err := call(t.Context(), c.Env(), "--driver", "cloud", "web")
	if !fault.Is(err, fault.Quota) || err.Error() != "Error creating machine: no room" || fault.HintOf(err) != "remove one" || !c.Dir().Machine("web").HasKey() {
		t.Errorf("%v", err)
	}
	// The record may be gone before its failure was seen: the journal knows why.
	_, err = call(t.Context(), c.Env(), "--driver", "cloud", "--rollback", "db")
	if err == nil || err.Error() != "Error creating machine: no room" || !strings.Contains(fault.HintOf(err), "nothing is left") || c.Dir().Machine("db").Exists() {
		t.Errorf("%v, hint %q", err, fault.HintOf(err))
	}
}

// The machine's failure is what is told, not that nobody is there any more for the view.
func TestControllerThatGoesAwayAfterAFailureIsNoSecondOne(t *testing.T) {
	c := newWorld(t)
	var failed atomic.Bool
	c.Refuse = func(method string) error {
		if method == "GetDriver" && failed.Load() {
			return fault.New("test", fault.Unavailable, "", "the controller does not answer").WithHint("h")
		}
		return nil
	}
	c.Act = func(_ string, m *controllerv1.Machine) {
		failed.Store(true)
		c.Change(m.GetName(), controllertest.Park(fault.Quota, "no room", "remove one"))
	}
	env := c.Env()
	_, err := call(t.Context(), env, "--driver", "cloud", "web")
	if code := env.Report("mctl create", err); code != cli.ExitFailure || env.Err.(*bytes.Buffer).String() != "Error creating machine: no room\nHint: remove one\n" {
		t.Errorf("exit %d, %q", code, env.Err)
	}
}

func TestRollbackIsFollowedToItsEnd(t *testing.T) {
	c := newWorld(t)
	removing := make(chan struct{})
	c.Act = func(_ string, m *controllerv1.Machine) {
		c.Change(m.GetName(), controllertest.Park(fault.Denied, "no", ""))
		go func() {
			c.Wait("the client follows the removal", func() bool { return strings.Count(strings.Join(c.Calls(), " "), "WatchMachines") == 2 })
			c.Remove(m.GetName())
			close(removing)
		}()
	}
	out, err := call(t.Context(), c.Env(), "--driver", "cloud", "--rollback", "web")
	<-removing
	if err == nil || !strings.Contains(out, "Removing what was made...\n") || c.Dir().Machine("web").Exists() {
		t.Errorf("%q, %v", out, err)
	}
}

func TestMachineThatIsRemovedMeanwhileLeavesNoFiles(t *testing.T) {
	c := newWorld(t)
	c.Act = func(_ string, m *controllerv1.Machine) { c.Remove(m.GetName()) }
	_, err := call(t.Context(), c.Env(), "--driver", "cloud", "web")
	if err == nil || err.Error() != `Error creating machine: machine "web" was removed meanwhile` || c.Dir().Machine("web").Exists() {
		t.Errorf("%v", err)
	}
}

func TestInterruptLeavesTheWork(t *testing.T) {
	c := newWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	c.Act = func(string, *controllerv1.Machine) {}
	done := make(chan error, 1)
	go func() { _, err := call(ctx, c.Env(), "--driver", "cloud", "web"); done <- err }()
	c.Wait("it watches", func() bool { return slices.Contains(c.Calls(), "WatchMachines") })
	cancel()
	var exit cli.Exit
	if err := <-done; !errors.As(err, &exit) || exit.Code != cli.ExitInterrupted || !strings.Contains(exit.Hint, "`mctl wait web`") || !c.Dir().Machine("web").HasKey() {
		t.Errorf("%#v", err)
	}
}

func TestCreateWhoseAnswerIsLostIsFoundAgain(t *testing.T) {
	c := newWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	c.Act = func(string, *controllerv1.Machine) { cancel() } // it is stored, but nobody is there to hear
	_, err := call(ctx, c.Env(), "--driver", "cloud", "web")
	var exit cli.Exit
	if !errors.As(err, &exit) || !c.Dir().Machine("web").HasKey() {
		t.Errorf("%#v; the key is there: %v", err, c.Dir().Machine("web").HasKey())
	}
}

func TestAdoptedHostTakesTheKeyThatIsNamed(t *testing.T) {
	c := newWorld(t)
	pair, err := credential.NewKeyPair("x")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(path, pair.Private, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := call(t.Context(), c.Env(), "--driver", "generic", "--generic-ip-address", "10.0.0.1", "--generic-ssh-key", path, "web"); err != nil {
		t.Fatal(err)
	}
	kept, err := os.ReadFile(c.Dir().Machine("web").Key())
	if err != nil || !bytes.Equal(kept, pair.Private) {
		t.Errorf("%v", err)
	}
	if m, _ := c.Env().Get(t.Context(), "web"); len(m.GetSpec().GetSshAuthorizedKeys()) > 0 {
		t.Error("a new key was made for a host that has one")
	}
	_, err = call(t.Context(), c.Env(), "--driver", "generic", "--generic-ip-address", "10.0.0.1", "db")
	if fault.ReasonOf(err) != fault.ReasonPrecheck || !strings.Contains(err.Error(), "no SSH key is named and no ssh-agent is running") {
		t.Errorf("without key and agent: %v", err)
	}
}

func TestDriverIsTheNamedOneThenThatOfTheFlagsThenTheFirstUsable(t *testing.T) {
	drivers := newWorld(t).Drivers
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"nothing":                            {[]string{"web"}, "cloud"},
		"a flag":                             {[]string{"--generic-ip-address", "x"}, "generic"},
		"a flag with one dash":               {[]string{"-cloud-zone=z"}, "cloud"},
		"a value that looks like a flag":     {[]string{"--engine-env", "--generic-ip-address"}, "cloud"},
		"what follows two dashes":            {[]string{"--", "--generic-ip-address"}, "cloud"},
		"the flag of one that can't be used": {[]string{"--broken-x", "1"}, "broken"},
	} {
		if d, err := choose(drivers, c.args, false); err != nil || d.GetName() != c.want {
			t.Errorf("%s: %v, %v", name, d.GetName(), err)
		}
	}
	if _, err := choose(drivers, []string{"--cloud-zone", "z", "--generic-ip-address", "x"}, false); fault.ReasonOf(err) != fault.ReasonUsage {
		t.Errorf("flags of two: %v", err)
	}
	_, err := choose(drivers[:1], nil, false)
	if fault.ReasonOf(err) != fault.ReasonPrecheck || !strings.Contains(err.Error(), "(broken: no tool)") {
		t.Errorf("none: %v", err)
	}
	box := &controllerv1.Driver{Name: "virtualbox"}
	if d, err := choose(append(drivers, box), nil, true); err != nil || d != box {
		t.Errorf("by the old name: %v, %v", d.GetName(), err)
	}
	for text, want := range map[string]string{"-d a --driver b": "a", "--driver=a": "a", "-driver a": "a", "--engine-env -d web": "", "-- -d a": "", "-d": ""} {
		if got, ok := scanDriver(strings.Fields(text)); got != want || ok != (want != "" || text == "-d") {
			t.Errorf("%q: %q, %v", text, got, ok)
		}
	}
}

func TestEngineFlagsBecomeTheWish(t *testing.T) {
	flags := newFlags()
	env := controllertest.New(t, "ENGINE_REGISTRY_MIRROR=https://a, https://b", "MCTL_ENGINE_INSTALL=distro", "MACHINE_DOCKER_INSTALL_URL=https://get.example.com").Env()
	if err := flags.Parse([]string{"--engine-label", "a=b", "--engine-env", "X=1", "--engine-opt", "debug", "--engine-storage-driver", "overlay2", "--engine-insecure-registry", "r:5000"}); err != nil {
		t.Fatal(err)
	}
	engine, err := readEngine(env, flags)
	if err != nil || engine.GetInstall() != controllerv1.EngineInstall_ENGINE_INSTALL_DISTRO || !slices.Equal(engine.GetRegistryMirrors(), []string{"https://a", "https://b"}) ||
		engine.GetStorageDriver() != "overlay2" || engine.GetOptions()[0] != "debug" || engine.GetInsecureRegistries()[0] != "r:5000" || engine.GetInstallUrl() != "https://get.example.com" {
		t.Errorf("%v, %v", engine, err)
	}
	for text, want := range map[string]controllerv1.EngineInstall{
		"--engine-install-url none":                              controllerv1.EngineInstall_ENGINE_INSTALL_NONE,
		"--engine-install script --engine-install-url https://x": controllerv1.EngineInstall_ENGINE_INSTALL_SCRIPT,
		"--engine-install docker":                                controllerv1.EngineInstall_ENGINE_INSTALL_DOCKER,
		"--engine-install auto":                                  controllerv1.EngineInstall_ENGINE_INSTALL_AUTO,
	} {
		flags := newFlags()
		if err := flags.Parse(strings.Fields(text)); err != nil {
			t.Fatal(err)
		}
		if engine, err := readEngine(env, flags); err != nil || engine.GetInstall() != want {
			t.Errorf("%s: %v, %v", text, engine, err)
		}
	}
	for text, want := range map[string]controllerv1.AdoptRestart{
		"": controllerv1.AdoptRestart_ADOPT_RESTART_LIVE, "never": controllerv1.AdoptRestart_ADOPT_RESTART_NEVER,
		"live": controllerv1.AdoptRestart_ADOPT_RESTART_LIVE, "now": controllerv1.AdoptRestart_ADOPT_RESTART_NOW,
		"soon": 0, "unspecified": 0,
	} {
		flags := newFlags()
		if text != "" {
			if err := flags.Parse([]string{"--adopt-restart", text}); err != nil {
				t.Fatal(err)
			}
		}
		engine, err := readEngine(env, flags)
		if engine.GetAdoptRestart() != want || (want == 0) != (err != nil) {
			t.Errorf("--adopt-restart %q: %v, %v", text, engine, err)
		}
	}
}

func TestASwarmIsAskedForWhole(t *testing.T) {
	for text, says := range map[string]string{
		"--swarm": "--swarm needs --swarm-master or --swarm-discovery", "--swarm-discovery mctl://m1": "--swarm-discovery needs --swarm",
	} {
		c := newWorld(t)
		env := c.Env()
		out, err := call(t.Context(), env, append([]string{"--driver", "cloud", "web"}, strings.Fields(text)...)...)
		if err == nil || err.Error() != says || env.Report("mctl create", err) != 2 || out != "" || slices.Contains(c.Calls(), "CreateMachine") {
			t.Errorf("%s: %q, %v", text, out, err)
		}
	}
	usual := &controllerv1.SwarmSpec{Host: "tcp://0.0.0.0:3376", Strategy: "spread", Image: "swarm:latest"}
	for text, change := range map[string]func(*controllerv1.SwarmSpec){
		"--swarm=false --swarm-image x --swarm-opt a --swarm-strategy s --swarm-experimental": nil,
		"--swarm-master": func(s *controllerv1.SwarmSpec) { s.Master = true },
		"--swarm --swarm-discovery mctl://m1 --swarm-opt manager": func(s *controllerv1.SwarmSpec) {
			s.Discovery, s.Options = "mctl://m1", []string{"manager"}
		},
		"--swarm --swarm-master --swarm-image x --swarm-join-opt b --swarm-host tcp://:4 --swarm-addr a --swarm-strategy s --swarm-experimental": func(s *controllerv1.SwarmSpec) {
			s.Master, s.Image, s.JoinOptions, s.Host, s.Address, s.Strategy, s.Experimental = true, "x", []string{"b"}, "tcp://:4", "a", "s", true
		},
	} {
		flags := newFlags()
		if err := flags.Parse(strings.Fields(text)); err != nil {
			t.Fatal(err)
		}
		var want *controllerv1.SwarmSpec
		if change != nil {
			want = proto.CloneOf(usual)
			change(want)
		}
		got, err := readSwarm(newWorld(t).Env(), flags)
		if err != nil || !proto.Equal(got, want) {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
}

func TestStorageDriverOverlayIsTakenAsItsSuccessor(t *testing.T) {
	for given, c := range map[string]struct{ want, notice string }{
		"overlay":  {"overlay2", "Notice: the storage driver overlay is no longer in Docker, overlay2 is used\n"},
		"overlay2": {"overlay2", ""},
		"vfs":      {"vfs", ""},
	} {
		world := newWorld(t)
		out, err := call(t.Context(), world.Env(), "--driver", "cloud", "--engine-storage-driver", given, "web")
		m, _ := world.Env().Get(t.Context(), "web")
		if got := m.GetSpec().GetEngine().GetStorageDriver(); err != nil || got != c.want || !strings.HasPrefix(out, c.notice+"Running pre-create checks...\n") {
			t.Errorf("%s: %s, %q, %v", given, got, out, err)
		}
	}
}

func TestRepeatedCreateSaysSoInItsFirstLine(t *testing.T) {
	for name, args := range map[string][]string{
		"the same again":          {"--driver", "cloud", "web"},
		"with nothing named":      {"web"},
		"with a key that is lost": {"--driver", "generic", "--generic-ip-address", "10.0.0.1", "--generic-ssh-key", "/nosuch", "web"},
		"a foreign folder":        {"--driver", "cloud", "alien"},
	} {
		c := newWorld(t)
		c.Put(controllertest.Running("web", "10.0.0.1"))
		if err := os.MkdirAll(c.Dir().Machine("alien").Path, 0o700); err != nil {
			t.Fatal(err)
		}
		env := c.Env()
		out, err := call(t.Context(), env, args...)
		code := env.Report("mctl create", err)
		first, rest, _ := strings.Cut(out+env.Err.(*bytes.Buffer).String(), "\n")
		if code != 1 || first != `Docker machine "`+args[len(args)-1]+`" already exists` || !strings.HasPrefix(rest, "Hint: ") {
			t.Errorf("%s: code %d, %q, then %q", name, code, first, rest)
		}
	}
}

func TestViewIsThereAsSoonAsTheMachineIs(t *testing.T) {
	c := newWorld(t)
	c.Drivers[1].Flags[0].DefaultValues = []string{"zone-a"}
	view := make(chan string, 1)
	c.Act = func(_ string, m *controllerv1.Machine) {
		go func() {
			c.Wait("the folder is there", func() bool { return c.Dir().Machine("web").Exists() })
			text, _ := os.ReadFile(c.Dir().Machine("web").File("config.json"))
			view <- string(text)
			c.Change(m.GetName(), controllertest.Park(fault.Quota, "no room", ""))
		}()
	}
	_, err := call(t.Context(), c.Env(), "--driver", "cloud", "--cloud-token", "canary", "web")
	text := <-view
	if err == nil || !strings.Contains(text, `"Zone": "zone-a"`) || !strings.Contains(text, `"DriverName": "cloud"`) || !strings.Contains(text, `"Token": "redacted"`) || !strings.Contains(text, `/machines/web/id_rsa"`) {
		t.Errorf("%s, %v", text, err)
	}
	if after, err := os.ReadFile(c.Dir().Machine("web").File("config.json")); err != nil || !bytes.Contains(after, []byte(`"IPAddress": "127.0.0.1"`)) {
		t.Errorf("after the failure it is %s, %v", after, err)
	}
}

func TestMachineWhoseEngineIsNotReachedIsMadeAllTheSame(t *testing.T) {
	c := newWorld(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listener.Close()
	engines := map[string]string{"web": "tcp://" + listener.Addr().String(), "db": c.Authority().Engine(t, func(http.ResponseWriter, *http.Request) {})}
	c.Act = func(_ string, m *controllerv1.Machine) {
		c.Change(m.GetName(), func(m *controllerv1.Machine) {
			controllertest.Reach(m)
			m.Status.Url = engines[m.GetName()]
			m.Status.Ssh = &controllerv1.SSHEndpoint{Address: "127.0.0.1"}
		})
	}
	out, err := call(t.Context(), c.Env(), "--driver", "cloud", "web")
	if err != nil || !strings.Contains(out, "Checking connection to Docker...\nDocker runs on \"web\", but this computer does not reach it: dial tcp") {
		t.Errorf("%q, %v", out, err)
	}
	out, err = call(t.Context(), c.Env(), "--driver", "cloud", "db")
	want := "Docker is up and running!\nTo see how to connect your Docker Client to the Docker Engine running on this virtual machine, run: mctl env db\n"
	if err != nil || !strings.HasSuffix(out, want) {
		t.Errorf("%q, %v", out, err)
	}
}

func TestMachineThatSomebodyStopsIsNotToldToRun(t *testing.T) {
	c := newWorld(t)
	c.Act = func(_ string, m *controllerv1.Machine) {
		c.Change(m.GetName(), func(m *controllerv1.Machine) {
			m.Generation++
			m.Spec.Power = controllerv1.PowerState_POWER_STATE_STOPPED
			m.Status.Ssh = &controllerv1.SSHEndpoint{Address: "127.0.0.1"}
			controllertest.Reach(m)
		})
	}
	out, err := call(t.Context(), c.Env(), "--driver", "cloud", "web")
	if err == nil || err.Error() != `Error creating machine: "web" was stopped meanwhile` || fault.HintOf(err) != "`mctl start web` goes on with it" || strings.Contains(out, "Docker") {
		t.Errorf("%q, %v, hint %q", out, err, fault.HintOf(err))
	}
}

func TestPluginIsNamedWithItsProgram(t *testing.T) {
	c := newWorld(t)
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"--driver x --plugin-binary /bin/x": "plugin:x@/bin/x", "--plugin-binary=y -d plugin:x": "plugin:x@" + filepath.Join(dir, "y"),
		"--driver x": "x", "--driver plugin:x": "plugin:x", "--driver x -- --plugin-binary /bin/x": "x",
	} {
		if got, err := namedDriver(c.Env(), strings.Fields(text)); err != nil || got != want {
			t.Errorf("%q: %q %v", text, got, err)
		}
	}
	for _, text := range []string{"--plugin-binary /bin/x", "--driver x --plugin-binary="} {
		if _, err := namedDriver(c.Env(), strings.Fields(text)); fault.ReasonOf(err) != fault.ReasonUsage {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestPluginWhoseFlagsCollideWithOursIsRefused(t *testing.T) {
	c := newWorld(t)
	for _, taken := range []string{"rollback", "storage-path", "d", "help", "h"} {
		c.Drivers = []*controllerv1.Driver{{Name: "odd", Flags: []*controllerv1.DriverFlag{flag(taken, controllerv1.DriverFlag_KIND_VALUE)}}}
		_, err := call(t.Context(), c.Env(), "--driver", "odd", "web")
		if fault.ReasonOf(err) != fault.ReasonPrecheck || !strings.Contains(err.Error(), "has a flag --"+taken+", which mctl has itself") || fault.HintOf(err) == "" {
			t.Errorf("%v, hint %q", err, fault.HintOf(err))
		}
	}
}

func TestAPluginThatIsNotThereIsNamedAndWhereItWouldBeFound(t *testing.T) {
	c := newWorld(t)
	c.Refuse = func(method string) error {
		if method != "GetDriver" {
			return nil
		}
		return fault.New("x", fault.NotFound, "odd", "no").WithHint("put docker-machine-driver-odd in the controller's PATH")
	}
	for _, name := range []string{"odd", "plugin:odd"} {
		_, err := call(t.Context(), c.Env(), "--driver", name, "web")
		if err == nil || err.Error() != `Driver "odd" not found. Do you have the plugin binary "docker-machine-driver-odd" accessible in your PATH?` ||
			!strings.HasPrefix(fault.HintOf(err), "put docker-machine-driver-odd in") {
			t.Errorf("%s: %v, hint %q", name, err, fault.HintOf(err))
		}
	}
}

func TestFlagsOfThePluginThatIsNamedAreCompleted(t *testing.T) {
	c := newWorld(t)
	c.Plugins = []*controllerv1.Driver{
		{Name: "odd", Flags: []*controllerv1.DriverFlag{flag("odd-size", controllerv1.DriverFlag_KIND_VALUE)}},
		{Name: "plugin:generic@/bin/x", Flags: []*controllerv1.DriverFlag{flag("generic-odd", controllerv1.DriverFlag_KIND_VALUE)}},
	}
	command := newCreate(c.Env())
	command.SetContext(t.Context())
	for words, want := range map[string][]string{
		"--driver odd --od": {"--odd-size"}, "--driver generic --plugin-binary /bin/x --gen": {"--generic-odd"},
		"--driver generic --gen": {"--generic-ip-address", "--generic-ssh-key"}, "--od": nil, "--driver nosuch --cloud": nil,
	} {
		args := strings.Fields(words)
		if got, _ := complete(c.Env())(command, args[:len(args)-1], args[len(args)-1]); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", words, got, want)
		}
	}
}

func TestADiscoveryIsCompletedByThoseThatCanBeJoined(t *testing.T) {
	c := newWorld(t)
	for name, machine := range map[string]func(*controllerv1.Machine){
		"m1":    func(m *controllerv1.Machine) { m.Spec.Swarm = &controllerv1.SwarmSpec{Master: true} },
		"m2":    func(m *controllerv1.Machine) { m.Status.Swarm = &controllerv1.SwarmStatus{Manager: true} },
		"w1":    func(m *controllerv1.Machine) { m.Status.Swarm = &controllerv1.SwarmStatus{} },
		"plain": func(*controllerv1.Machine) {},
	} {
		m := controllertest.Running(name, "10.0.0.1")
		machine(m)
		c.Put(m)
	}
	command := newCreate(c.Env())
	command.SetContext(t.Context())
	for _, words := range [][]string{{"--swarm", "--swarm-discovery", "mctl://m"}, {"--swarm", "--swarm-discovery=mctl://m"}} {
		got, _ := complete(c.Env())(command, words[:len(words)-1], words[len(words)-1])
		if lead := strings.TrimSuffix(words[len(words)-1], "mctl://m"); !slices.Equal(got, []string{lead + "mctl://m1", lead + "mctl://m2"}) {
			t.Errorf("%q: %q", words, got)
		}
	}
}
