package mctl

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/timestamppb"

	"mctl/internal/buildinfo"
	"mctl/internal/mctl/controllertest"
	controllerv1 "mctl/proto/mctl/controller/v1"
)

// Update has the golden files, and the expected outputs in scripts, written instead of compared.
var Update = flag.Bool("update", false, "write golden files")

// transcript is what command lines print, as a golden file keeps it.
type transcript struct {
	t       *testing.T
	c       *controllertest.Controller
	replace *strings.Replacer // of what differs from run to run
	text    bytes.Buffer
}

// newTranscript is for a controller; volatile are pairs of what differs from run to run and its stand-in.
func newTranscript(t *testing.T, c *controllertest.Controller, volatile ...string) *transcript {
	t.Helper()
	return &transcript{t: t, c: c, replace: strings.NewReplacer(append(volatile, c.Dir().Root, "/home/ann/.mctl")...)}
}

// run runs a command line, given as its words, and notes what it prints, and how it ends unless that is well. Words in front of
// the program are variables.
func (tr *transcript) run(words ...string) {
	tr.t.Helper()
	tr.runAt(time.Now(), words...)
}

// runAt is run at a time that the command takes for the present.
func (tr *transcript) runAt(now time.Time, words ...string) {
	tr.t.Helper()
	variables := map[string]string{}
	line := make([]string, 0, len(words))
	for _, word := range words {
		if strings.ContainsAny(word, " {}$`'\\()") {
			word = "'" + word + "'"
		}
		line = append(line, word)
	}
	for strings.Contains(words[0], "=") {
		name, value, _ := strings.Cut(words[0], "=")
		variables[name], words = value, words[1:]
	}
	env := tr.c.Env()
	env.Args, env.Now = words, func() time.Time { return now }
	lookup := env.Lookup
	env.Lookup = func(name string) (string, bool) {
		if value, ok := variables[name]; ok {
			return value, true
		}
		return lookup(name)
	}
	code := Run(tr.t.Context(), env)
	fmt.Fprintf(&tr.text, "$ %s\n", strings.Join(line, " "))
	for _, out := range []any{env.Out, env.Err} {
		text := out.(*bytes.Buffer).String()
		if text != "" && !strings.HasSuffix(text, "\n") {
			tr.t.Errorf("%q does not end its last line: %q", words, text)
		}
		tr.text.WriteString(tr.replace.Replace(text))
	}
	if code != 0 {
		fmt.Fprintf(&tr.text, "[exit %d]\n", code)
	}
}

// matches compares it with a golden file, byte for byte.
func (tr *transcript) matches(name string) {
	tr.t.Helper()
	path := filepath.Join("testdata", "golden", name+".golden")
	if *Update {
		if err := os.WriteFile(path, tr.text.Bytes(), 0o644); err != nil { //nolint:gosec // for everybody to read
			tr.t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		tr.t.Fatal(err)
	}
	if bytes.Equal(tr.text.Bytes(), want) {
		return
	}
	got, expected := strings.SplitAfter(tr.text.String(), "\n"), strings.SplitAfter(string(want), "\n")
	for i := range min(len(got), len(expected)) {
		if got[i] != expected[i] {
			tr.t.Fatalf("%s:%d: it is\n%q, want\n%q\n(go test ./internal/mctl -update accepts it)", path, i+1, got[i], expected[i])
		}
	}
	tr.t.Fatalf("%s: %d lines, want %d (go test ./internal/mctl -update accepts it)", path, len(got), len(expected))
}

// realDrivers are the drivers as a controller of this build describes them.
func realDrivers(t *testing.T) []*controllerv1.Driver {
	t.Helper()
	state, err := os.MkdirTemp("", "mctl")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(state)
	command := func(args ...string) *exec.Cmd {
		c := exec.CommandContext(t.Context(), "mctl", args...) // this very program, see TestMain
		c.Env = append(os.Environ(), "MCTL_HOME="+state, "XDG_RUNTIME_DIR="+state, "MCTL_LISTEN=127.0.0.1:0")
		return c
	}
	defer func() {
		if err := command("controller", "stop").Run(); err != nil {
			t.Error(err)
		}
	}()
	text, err := command("drivers", "--output", "json").Output()
	if err != nil {
		t.Fatal(err)
	}
	var documents []json.RawMessage
	if err := json.Unmarshal(text, &documents); err != nil {
		t.Fatal(err)
	}
	var drivers []*controllerv1.Driver
	for _, document := range documents {
		d := new(controllerv1.Driver)
		if err := protojson.Unmarshal(document, d); err != nil {
			t.Fatal(err)
		}
		drivers = append(drivers, d)
	}
	return drivers
}

func options(pairs ...string) []*controllerv1.DriverOption {
	var all []*controllerv1.DriverOption
	for pair := range slices.Chunk(pairs, 2) {
		all = append(all, &controllerv1.DriverOption{Name: pair[0], Values: strings.Split(pair[1], ",")})
	}
	return all
}

// fleet is a controller with a machine of each driver, and some more.
func fleet(t *testing.T) *controllertest.Controller {
	t.Helper()
	c := controllertest.New(t)
	web := controllertest.Running("web", "10.128.0.2")
	web.Spec.Driver = "nspawn"
	web.Spec.Engine = &controllerv1.EngineSpec{
		Labels: []string{"tier=web", "zone=a"}, StorageDriver: "overlay2", Env: []string{"HTTP_PROXY=http://proxy.example"}, Options: []string{"log-driver=none"},
		InsecureRegistries: []string{"registry.example:5000"}, RegistryMirrors: []string{"https://mirror.example.com"}, InstallUrl: "https://get.example.com",
	}
	web.Spec.DriverOptions = options("nspawn-cpus", "2", "nspawn-memory", "512")
	web.Spec.TlsSans = []string{"web.example.com"}
	web.Status.Engine = &controllerv1.EngineStatus{Version: "29.1.0"}
	web.Status.Ssh = &controllerv1.SSHEndpoint{Address: "10.128.0.2", Port: 22, User: "root"}

	db := controllertest.Running("db", "203.0.113.7")
	db.Spec.Driver = "generic"
	db.Spec.Engine = &controllerv1.EngineSpec{Labels: []string{"tier=DB"}}
	db.Spec.DriverOptions = append(options("generic-ip-address", "203.0.113.7", "generic-ssh-user", "debian", "generic-ssh-port", "2222"), &controllerv1.DriverOption{Name: "generic-ssh-key"})
	db.Status.Ssh = &controllerv1.SSHEndpoint{Address: "203.0.113.7", Port: 2222, User: "debian"}
	db.Status.Error = "docker is not running"

	runner := controllertest.Running("runner", "")
	runner.Spec.Driver = "google"
	runner.Spec.DriverOptions = append(options("google-project", "acme", "google-zone", "europe-west1-b", "google-open-port", "80/tcp,443/tcp", "google-tags", "007"),
		&controllerv1.DriverOption{Name: "google-application-credentials"})
	runner.Status.State, runner.Status.Url = "Stopped", ""
	for _, m := range []*controllerv1.Machine{web, db, runner} {
		c.Put(m)
		if err := c.Dir().Machine(m.GetName()).Claim(m.GetUid()); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Dir().Machine("web").WriteKeys([]byte("key"), nil); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestGoldenEnv(t *testing.T) {
	tr := newTranscript(t, fleet(t))
	for _, shell := range []string{"bash", "zsh", "fish", "powershell", "cmd", "tcsh", "emacs"} {
		tr.run("mctl", "env", "--shell", shell, "web")
		tr.run("NO_PROXY=localhost", "mctl", "env", "--shell", shell, "--no-proxy", "web")
		tr.run("mctl", "env", "--shell", shell, "-u")
		tr.run("NO_PROXY=localhost", "mctl", "env", "--shell", shell, "--no-proxy", "-u")
	}
	tr.run("SHELL=/usr/bin/fish", "docker-machine", "env", "web")
	tr.run("SHELL=", "__fish_bin_dir=/usr/bin", "mctl", "env", "web")
	tr.run("SHELL=", "mctl", "env", "web")
	tr.run("no_proxy=a,10.128.0.2", "mctl", "env", "--no-proxy", "web")
	tr.run("mctl", "env", "-u", "web")
	tr.run("mctl", "env", "web", "runner")
	tr.run("mctl", "env", "runner")
	tr.run("mctl", "env", "--swarm", "web")
	c := tr.c
	c.Change("web", manages("tcp://10.128.0.2:3376"))
	tr.run("mctl", "env", "--swarm", "--shell", "bash", "web")
	c.Change("web", func(m *controllerv1.Machine) { m.Status.Swarm = nil })
	tr.run("mctl", "env", "--swarm", "web")
	tr.run("mctl", "env")
	tr.run("docker-machine", "env", "nosuch")
	tr.matches("env")
}

// manages makes a machine a swarm's master, served at a URL.
func manages(url string) func(*controllerv1.Machine) {
	return func(m *controllerv1.Machine) {
		m.Spec.Swarm, m.Status.Swarm = &controllerv1.SwarmSpec{Master: true}, &controllerv1.SwarmStatus{Manager: true, Url: url}
	}
}

func TestGoldenConfig(t *testing.T) {
	c := fleet(t)
	engine := c.Authority().Engine(t, func(http.ResponseWriter, *http.Request) {})
	c.Change("web", func(m *controllerv1.Machine) { m.Status.Url = engine })
	c.Change("db", func(m *controllerv1.Machine) { m.Status.Url = "tcp://127.0.0.1:1" })
	tr := newTranscript(t, c, strings.TrimPrefix(engine, "tcp://"), "10.128.0.2:2376")
	tr.run("mctl", "config", "web")
	tr.run("docker-machine", "config", "web", "ignored")
	tr.run("docker-machine", "config", "db")
	tr.run("mctl", "config", "runner")
	tr.run("mctl", "config", "--swarm", "web")
	c.Change("web", manages(engine))
	tr.run("mctl", "config", "--swarm", "web")
	c.Change("web", manages("tcp://127.0.0.1:1"))
	tr.run("mctl", "config", "--swarm", "web")
	tr.run("mctl", "config", "nosuch")
	tr.run("mctl", "config")
	tr.matches("config")
}

func TestGoldenList(t *testing.T) {
	empty := newTranscript(t, controllertest.New(t))
	empty.run("mctl", "ls")
	tr := newTranscript(t, fleet(t))
	tr.text = empty.text
	if err := os.MkdirAll(tr.c.Dir().Machine("old").Path, 0o700); err != nil {
		t.Fatal(err)
	}
	tr.run("mctl", "ls")
	tr.run("DOCKER_HOST=tcp://10.128.0.2:2376", "docker-machine", "ls", "-t", "5", "ignored", "words")
	tr.run("mctl", "ls", "-q")
	tr.c.Change("web", func(m *controllerv1.Machine) {
		b := busy("web", 3*time.Second, 12, 31, 61, 4)
		m.Status.Health, m.Status.Link = b.GetStatus().GetHealth(), b.GetStatus().GetLink()
		m.Status.Host = &controllerv1.HostStatus{Os: "Debian GNU/Linux 12\x1b[1m (bookworm)", Arch: "amd64", AgentVersion: "v1"}
		m.Status.Engine.CertificateExpireTime, m.CreateTime = timestamppb.New(noon.AddDate(0, 0, 29)), timestamppb.New(noon)
	})
	tr.runAt(noon, "mctl", "ls", "--columns", "name,state,cpu,memory,disk,containers,age,link,expiry,errors")
	tr.runAt(noon, "mctl", "ls", "--columns", "CREATED, OS,ARCH,AGENT,ADDRESS,NAME", "--filter", "name=^web$")
	tr.runAt(noon, "mctl", "ls", "--columns", "NAME,ACTIVE,DRIVER,STATE,URL,SWARM,DOCKER,ERRORS")
	for _, words := range []string{"--columns name,size", "--columns name,", "--columns name -q", "--columns name --format {{.Name}}"} {
		tr.run(append([]string{"mctl", "ls"}, strings.Fields(words)...)...)
	}
	for _, field := range listFields() {
		tr.run("DOCKER_HOST=tcp://10.128.0.2:2376", "mctl", "ls", "--format", `table {{.Name}}\t{{`+field+`}}`)
		tr.run("DOCKER_HOST=tcp://10.128.0.2:2376", "mctl", "ls", "--format", `{{.Name}}\n\t{{`+field+`}} `)
	}
	tr.run("mctl", "ls", "-f", `table {{.Name}}\t{{range .EngineOptions.Labels}}{{.}} {{end}}\t{{.SwarmOptions.IsSwarm}}`)
	for _, filters := range []string{
		"name=^d", "NAME=^web$ name=^r", "state=running", "state=Stopped driver=google", "state=Stopped driver=nspawn", "driver=NSPAWN driver=generic",
		"label=tier=WEB", "label=TIER=web", "label=tier=web label=tier=db", "label=tier", "swarm=web", "nosuch=x", "name", "name=(", "",
	} {
		words := []string{"mctl", "ls", "-q"}
		for f := range strings.SplitSeq(filters, " ") {
			words = append(words, "--filter", f)
		}
		tr.run(words...)
	}
	for _, format := range []string{"{{.Nosuch}}", "{{json .Name}}", "{{.Name", "table"} {
		tr.run("mctl", "ls", "--format", format)
	}
	tr.run("DOCKER_HOST=tcp://10.128.0.2:2376", "mctl", "active")
	tr.run("mctl", "active")
	tr.run("mctl", "active", "web")
	tr.matches("ls")
}

// listFields are the fields of docker-machine's ls, and some of what is in them.
func listFields() []string {
	return []string{
		".Name", ".Active", ".ActiveHost", ".ActiveSwarm", ".DriverName", ".State", ".URL", ".Swarm", ".DockerVersion", ".Error", ".ResponseTime",
		".SwarmOptions", ".SwarmOptions.Master", ".SwarmOptions.ArbitraryJoinFlags",
		".EngineOptions", ".EngineOptions.Labels", ".EngineOptions.InsecureRegistry", ".EngineOptions.StorageDriver",
	}
}

func TestGoldenInspect(t *testing.T) {
	c := fleet(t)
	c.Drivers = realDrivers(t)
	tr := newTranscript(t, c)
	for _, name := range []string{"web", "db", "runner"} {
		tr.run("mctl", "inspect", name)
	}
	for _, format := range []string{
		"{{.DriverName}}", "{{json .DriverName}}", "{{.Driver.Project}} {{.Driver.Zone}} {{.Driver.MachineType}}", "{{.HostOptions.AuthOptions.StorePath}}", "{{json .Driver}}",
		"{{prettyjson .HostOptions.SwarmOptions}}", "{{index .Driver.OpenPorts 1}}", "{{.Nosuch}}", "{{.Driver.SSHPort}}", "{{", "{{nosuch}}", "{{.Name.X}}",
	} {
		tr.run("mctl", "inspect", "runner", "-f", format)
	}
	tr.run("mctl", "inspect", "web", "runner")
	tr.run("mctl", "inspect", "nosuch")
	tr.run("mctl", "inspect")
	tr.matches("inspect")
}

func TestGoldenHelp(t *testing.T) {
	c := controllertest.New(t)
	c.Drivers = realDrivers(t)
	tr := newTranscript(t, c, buildinfo.Version(), "VERSION")
	tr.run("mctl")
	tr.run("docker-machine")
	for _, name := range slices.Sorted(maps.Keys(commands(t))) {
		tr.run(append(append([]string{"mctl"}, strings.Fields(name)...), "--help")...)
	}
	for _, driver := range []string{"generic", "google", "nspawn"} {
		tr.run("mctl", "create", "--driver", driver, "--help")
	}
	tr.matches("help")
}

func TestOldNameIsTheOnlyOneThatHelpSays(t *testing.T) {
	for name := range commands(t) {
		env := world(t, append(strings.Fields(name), "--help")...)
		env.Args[0] = "docker-machine"
		if code := Run(t.Context(), env); code != 0 {
			t.Errorf("%s: code %d", name, code)
		}
		for line := range strings.Lines(env.Out.(*bytes.Buffer).String()) {
			said := strings.ReplaceAll(line, "mctl://", "") // a scheme, whatever the program is called
			if strings.Contains(said, "mctl") && !strings.Contains(said, "MCTL_") {
				t.Errorf("docker-machine %s --help says %q", name, line)
			}
		}
	}
}
