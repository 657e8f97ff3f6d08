package engine

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mctl/internal/agent/engine/program"
	"mctl/internal/fault"
	"mctl/internal/host"
)

const (
	daemonJSON = "/etc/docker/daemon.json"
	dropIn     = "/etc/systemd/system/docker.service.d/20-mctl.conf"
)

func converge(t *testing.T, h *fakeHost, want host.Engine) host.EngineFacts {
	t.Helper()
	facts, err := h.engine().Converge(t.Context(), want)
	if err != nil {
		t.Fatalf("converge: %v (hint: %s)", err, fault.HintOf(err))
	}
	return facts
}

func wish(labels ...string) host.Engine {
	return host.Engine{Install: host.InstallAuto, Labels: append(labels, "provider=nspawn")}
}

func TestABareHostGetsTheDistributionsDocker(t *testing.T) {
	h := newHost(t)
	facts := converge(t, h, wish("a=b"))
	if want := (host.EngineFacts{Version: "20.10.24", Source: "distro", StorageDriver: "overlay2"}); facts != want {
		t.Errorf("facts %+v, want %+v", facts, want)
	}
	if diff := cmp.Diff(map[string]any{"labels": []any{"a=b", "provider=nspawn"}}, h.loaded); diff != "" {
		t.Errorf("dockerd has another configuration (-want +got):\n%s", diff)
	}
	if restarts := h.called("systemctl restart"); restarts != 0 {
		t.Errorf("%d restarts for a label", restarts)
	}
	if !slices.Contains(h.footprint, "package containerd docker.io") {
		t.Errorf("packages are not in the footprint, or ones that were there are: %q", h.footprint)
	}
	if !slices.Contains(h.progress, "Docker 20.10.24 (the distribution's package)") {
		t.Errorf("choice and version are not told: %q", h.progress)
	}
	before, told := len(h.calls), len(h.progress)
	converge(t, h, wish("a=b"))
	if len(h.progress) != told {
		t.Errorf("a fulfilled wish tells %q", h.progress[told:])
	}
	for _, call := range h.calls[before:] {
		if !strings.HasPrefix(call, "systemctl show") {
			t.Errorf("a fulfilled wish runs %q", call)
		}
	}
}

func TestFilesAreInTheFootprintBeforeAndAfter(t *testing.T) {
	h := newHost(t).withDocker()
	want := wish()
	want.Env = []string{"A=b"}
	converge(t, h, want)
	expected := []string{"file " + daemonJSON, "written " + daemonJSON, "file " + dropIn, "written " + dropIn}
	if diff := cmp.Diff(expected, h.footprint); diff != "" {
		t.Error(diff)
	}
}

func TestAHealthyDockerIsTakenAsItIs(t *testing.T) {
	h := newHost(t).withDocker()
	pid := h.pid
	facts := converge(t, h, wish())
	if facts.Source != "existing" || h.pid != pid || h.called("apt-get") != 0 || !slices.Contains(h.progress, "Docker 20.10.24 (was there already)") {
		t.Errorf("source %q, pid %d → %d, %d calls of apt-get", facts.Source, pid, h.pid, h.called("apt-get"))
	}
}

func TestSourceOfDocker(t *testing.T) {
	tests := map[string]struct {
		want host.Engine
		from host.Install
		kind fault.Kind
	}{
		"auto takes the distribution's":        {want: host.Engine{Install: host.InstallAuto}, from: host.InstallDistro},
		"auto takes Docker's where it answers": {want: host.Engine{Install: host.InstallAuto, RepositoryReachable: true}, from: host.InstallDocker},
		"auto takes the script that was given": {want: host.Engine{Install: host.InstallAuto, InstallURL: "http://x/", RepositoryReachable: true}, from: host.InstallScript},
		"distro stays distro":                  {want: host.Engine{Install: host.InstallDistro, RepositoryReachable: true}, from: host.InstallDistro},
		"none installs nothing":                {want: host.Engine{Install: host.InstallNone}, kind: fault.Precondition},
		"script needs its address":             {want: host.Engine{Install: host.InstallScript}, kind: fault.Invalid},
		"another word is refused":              {want: host.Engine{Install: "snap"}, kind: fault.Invalid},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			from, err := source(test.want)
			if from != test.from || fault.KindOf(err) != test.kind {
				t.Errorf("%q, %v", from, err)
			}
		})
	}
}

func TestWhatTheUserHadStaysAndComesBackByteForByte(t *testing.T) {
	const users = "{ \"labels\": [\"mine=1\"],\n\t\"log-driver\" : \"json-file\" , \"mtu\": 1400 }"
	h := newHost(t)
	h.put(daemonJSON, users)
	h.withDocker()
	converge(t, h, wish("a=b"))
	want := map[string]any{"labels": []any{"mine=1", "a=b", "provider=nspawn"}, "log-driver": "json-file", "mtu": 1400.0}
	if diff := cmp.Diff(want, h.loaded); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if err := h.engine().Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := h.get(daemonJSON); got != users {
		t.Errorf("daemon.json came back as %q", got)
	}
	if diff := cmp.Diff(map[string]any{"labels": []any{"mine=1"}, "log-driver": "json-file", "mtu": 1400.0}, h.loaded); diff != "" {
		t.Errorf("dockerd keeps ours (-want +got):\n%s", diff)
	}
	if h.called("systemctl restart") != 0 {
		t.Error("dockerd was restarted")
	}
}

func TestWhatTheUserChangedAfterUsStays(t *testing.T) {
	h := newHost(t).withDocker()
	converge(t, h, wish("a=b"))
	h.put(daemonJSON, `{"labels": ["a=b", "provider=nspawn", "late=1"], "debug": true}`)
	converge(t, h, wish("c=d"))
	if diff := cmp.Diff(map[string]any{"labels": []any{"late=1", "c=d", "provider=nspawn"}, "debug": true}, h.loaded); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if err := h.engine().Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]any{"labels": []any{"late=1"}, "debug": true}, h.loaded); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestATakenBackValueIsForgottenWithoutARestart(t *testing.T) {
	h := newHost(t).withDocker()
	want := wish()
	want.InsecureRegistries, want.Options = []string{"r:5000"}, []string{"debug"}
	converge(t, h, want)
	pid := h.pid
	var seen []map[string]any
	h.refuse = func(content map[string]any) bool { seen = append(seen, content); return false }
	converge(t, h, wish())
	neutral := map[string]any{"labels": []any{"provider=nspawn"}, "insecure-registries": []any{}, "debug": false}
	if diff := cmp.Diff([]map[string]any{neutral, {"labels": []any{"provider=nspawn"}}}, seen); diff != "" {
		t.Errorf("dockerd read (-want +got):\n%s", diff)
	}
	if h.pid != pid {
		t.Error("dockerd was restarted")
	}
}

func TestOnlyWhatNeedsARestartRestarts(t *testing.T) {
	tests := map[string]struct {
		change   func(*host.Engine)
		restarts int
	}{
		"label":             {func(w *host.Engine) { w.Labels = []string{"x=y"} }, 0},
		"mirror":            {func(w *host.Engine) { w.RegistryMirrors = []string{"https://m"} }, 0},
		"insecure registry": {func(w *host.Engine) { w.InsecureRegistries = []string{"r:5000"} }, 0},
		"live-restore":      {func(w *host.Engine) { w.Options = []string{"live-restore"} }, 0},
		"debug":             {func(w *host.Engine) { w.Options = []string{"debug=true"} }, 0},
		"storage driver":    {func(w *host.Engine) { w.StorageDriver = "overlay2" }, 1},
		"environment":       {func(w *host.Engine) { w.Env = []string{"A=b"} }, 1},
		"log driver":        {func(w *host.Engine) { w.Options = []string{"log-driver=none"} }, 1},
		"unknown flag":      {func(w *host.Engine) { w.Options = []string{"brand-new=1"} }, 1},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			h := newHost(t).withDocker()
			want := wish()
			test.change(&want)
			converge(t, h, want)
			converge(t, h, want)
			if got := h.called("systemctl restart"); got != test.restarts {
				t.Errorf("%d restarts, want %d", got, test.restarts)
			}
		})
	}
}

func TestLiveRestoreGoesOffForASwarmsMemberAndComesBack(t *testing.T) {
	for name, c := range map[string]struct {
		document string
		options  []string
	}{"of the user's own": {"{\"live-restore\": true}", nil}, "asked for": {"", []string{"live-restore"}}, "nobody's": {"", nil}} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t)
			if c.document != "" {
				h.put(daemonJSON, c.document)
			}
			h.withDocker()
			want := wish()
			want.Options = c.options
			converge(t, h, want)
			before, pid := h.loaded["live-restore"], h.pid
			want.SwarmMember = true
			converge(t, h, want)
			if h.loaded["live-restore"] != false {
				t.Errorf("a member has live-restore: %v", h.loaded["live-restore"])
			}
			want.SwarmMember = false
			converge(t, h, want)
			if h.loaded["live-restore"] != before && (before != nil || h.loaded["live-restore"] != false) || h.pid != pid {
				t.Errorf("live-restore was %v and is %v", before, h.loaded["live-restore"])
			}
		})
	}
}

func TestFlagsOfTheUnitAreNeverKeys(t *testing.T) {
	h := newHost(t)
	h.put("/etc/default/docker", `DOCKER_OPTS="--label old=1 --log-driver json-file --mtu 1300"`)
	h.withDocker()
	want := wish("new=2")
	want.Options = []string{"log-driver=json-file", "mtu=1400"}
	converge(t, h, want)
	if len(h.loaded) != 0 {
		t.Errorf("keys that are flags: %v", h.loaded)
	}
	expected := "# Written by mctl; the agent writes it anew.\n[Service]\nExecStart=\n" +
		"ExecStart=/usr/sbin/dockerd -H fd:// $DOCKER_OPTS \"--label=new=2\" \"--mtu=1400\"\n"
	if got := h.get(dropIn); got != expected {
		t.Errorf("drop-in is\n%swant\n%s", got, expected)
	}
	restarts := h.called("systemctl restart")
	converge(t, h, want)
	if h.get(dropIn) != expected || h.called("systemctl restart") != restarts {
		t.Error("the second time is not like the first")
	}
	// The user takes the flags out of the unit: what is left are ours, which can be keys now.
	h.put("/etc/default/docker", "")
	h.start()
	converge(t, h, want)
	keys := map[string]any{"labels": []any{"new=2", "provider=nspawn"}, "log-driver": "json-file", "mtu": 1400.0}
	if diff := cmp.Diff(keys, h.loaded); diff != "" || h.get(dropIn) != "-" {
		t.Errorf("drop-in %q (-want +got):\n%s", h.get(dropIn), diff)
	}
}

func TestAnAdoptedHostWithLabelsAsFlagsIsNotRestartedForOurs(t *testing.T) {
	h := newHost(t)
	h.put("/etc/default/docker", `DOCKER_OPTS="--label old=1"`)
	h.withDocker()
	pid := h.pid
	converge(t, h, wish())
	if h.pid != pid || h.get(dropIn) != "-" || h.get(daemonJSON) != "-" {
		t.Errorf("pid %d → %d, drop-in %q, daemon.json %q", pid, h.pid, h.get(dropIn), h.get(daemonJSON))
	}
}

func TestAnEmptyFolderOfTheirsForDropInsStays(t *testing.T) {
	h := newHost(t).withDocker()
	folder := filepath.Dir(filepath.Join(h.root, dropIn))
	if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	want := wish()
	want.Env = []string{"A=b"}
	converge(t, h, want)
	if err := h.engine().Release(t.Context()); err != nil || h.get(dropIn) != "-" {
		t.Errorf("released: %v, drop-in %q", err, h.get(dropIn))
	}
	if _, err := os.Stat(folder); err != nil {
		t.Error(err)
	}
}

func TestFormerFilesComeBackWhenDockerDoesNotStart(t *testing.T) {
	const users = `{"mtu":1400}`
	h := newHost(t)
	h.put(daemonJSON, users)
	h.withDocker()
	converge(t, h, wish())
	before := h.get(daemonJSON)
	h.refuse = func(content map[string]any) bool { return content["storage-driver"] == "zfs" }
	want := wish()
	want.StorageDriver, want.Env = "zfs", []string{"A=b"}
	_, err := h.engine().Converge(t.Context(), want)
	if !fault.Is(err, fault.Precondition) || !strings.Contains(err.Error(), "driver not supported") || fault.HintOf(err) == "" {
		t.Errorf("error %v, hint %q", err, fault.HintOf(err))
	}
	if h.get(daemonJSON) != before || h.get(dropIn) != "-" || h.pid == 0 {
		t.Errorf("daemon.json %q, drop-in %q, pid %d", h.get(daemonJSON), h.get(dropIn), h.pid)
	}
	converge(t, h, wish())
	if err := h.engine().Release(t.Context()); err != nil || h.get(daemonJSON) != users {
		t.Errorf("released: %v, daemon.json %q", err, h.get(daemonJSON))
	}
}

func TestARefusedReloadIsTakenBack(t *testing.T) {
	h := newHost(t).withDocker()
	h.refuse = func(content map[string]any) bool { return content["registry-mirrors"] != nil }
	want := wish()
	want.RegistryMirrors = []string{"https://mirror.example/a?query"}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	h.events <- `{"Type":"daemon","Action":"other"}` // and then the stream ends without a reload
	_, err := h.engine().Converge(ctx, want)
	if !fault.Is(err, fault.Precondition) {
		t.Errorf("error %v", err)
	}
	if h.get(daemonJSON) != "-" {
		t.Errorf("daemon.json stays %q", h.get(daemonJSON))
	}
}

func TestAStoppedEngineStaysStopped(t *testing.T) {
	h := newHost(t).withDocker()
	facts := converge(t, h, wish())
	h.pid = 0
	if again := converge(t, h, wish("x=y")); again != facts {
		t.Errorf("facts of a stopped engine %+v, want those known last %+v", again, facts)
	}
	if h.pid != 0 {
		t.Fatal("it was started against its user's wish")
	}
	if !strings.Contains(h.get(daemonJSON), "x=y") {
		t.Error("the wish is not written for its next start")
	}
	want := wish("x=y")
	want.Provision = 1
	converge(t, h, want)
	if h.pid == 0 {
		t.Error("provision does not start it")
	}
}

func TestAStoppedEngineIsStartedTheFirstTime(t *testing.T) {
	h := newHost(t).withDocker()
	h.pid = 0
	converge(t, h, wish())
	if h.pid == 0 {
		t.Error("not started")
	}
}

func TestForeignEnginesAreRefusedAndLeftUntouched(t *testing.T) {
	tests := map[string]func(*fakeHost){
		"daemon.json is no JSON": func(h *fakeHost) { h.put(daemonJSON, `{"labels": [`) },
	}
	for name, prepare := range tests {
		t.Run(name, func(t *testing.T) {
			h := newHost(t).withDocker()
			prepare(h)
			h.start()
			document := h.get(daemonJSON)
			_, err := h.engine().Converge(t.Context(), wish())
			if !fault.Is(err, fault.Precondition) || fault.HintOf(err) == "" {
				t.Errorf("error %v, hint %q", err, fault.HintOf(err))
			}
			if h.get(daemonJSON) != document || h.get(dropIn) != "-" || len(h.footprint) != 0 {
				t.Error("the host was touched")
			}
		})
	}
	t.Run("no docker.service, but its socket", func(t *testing.T) {
		h := newHost(t)
		h.listen()
		if _, err := h.engine().Converge(t.Context(), wish()); !fault.Is(err, fault.Precondition) || !strings.Contains(err.Error(), "docker.sock") {
			t.Errorf("error %v", err)
		}
	})
}

func TestHostileValuesAreWrittenLiterallyOrRefused(t *testing.T) {
	values := []string{"$(touch /canary)", "`touch /canary`", `"; touch /canary; "`, `a'b\c`, "%n %i %%", "${HOME} $HOME", "a b\tc", "--flag", "line\nbreak", "\x00", "ünïcödé"}
	for _, value := range values {
		h := newHost(t).withDocker()
		want := wish("hostile=" + value)
		want.Env = []string{"HOSTILE=" + value}
		want.Options = []string{"brand-new=" + value}
		_, err := h.engine().Converge(t.Context(), want)
		if strings.ContainsAny(value, "\n\t\x00") {
			if !fault.Is(err, fault.Invalid) || h.get(dropIn) != "-" {
				t.Errorf("%q is not refused: %v", value, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%q: %v", value, err)
			continue
		}
		labels, _ := h.loaded["labels"].([]any)
		if !slices.Contains(labels, any("hostile="+value)) {
			t.Errorf("%q became %q", value, labels)
		}
		if argv := h.get("/proc/200/cmdline"); !strings.Contains(argv, "\x00--brand-new="+value+"\x00") {
			t.Errorf("%q became %q", value, argv)
		}
		for _, call := range h.calls {
			if strings.Contains(call, value) && value != "--flag" {
				t.Errorf("%q is in the command %q", value, call)
			}
		}
	}
}

func TestInvalidWishesTouchNothing(t *testing.T) {
	tests := map[string]host.Engine{
		"listener":            {Options: []string{"host=tcp://0.0.0.0:2375"}},
		"TLS of its own":      {Options: []string{"tlsverify"}},
		"number":              {Options: []string{"mtu=big"}},
		"dashes":              {Options: []string{"--debug"}},
		"label":               {Labels: []string{"nothing"}},
		"environment":         {Env: []string{"1A=b"}},
		"environment's break": {Env: []string{"A=b\nExecStart=/bin/sh"}},
	}
	for name, want := range tests {
		t.Run(name, func(t *testing.T) {
			h := newHost(t).withDocker()
			_, err := h.engine().Converge(t.Context(), want)
			if !fault.Is(err, fault.Invalid) || len(h.calls) != 0 {
				t.Errorf("error %v, calls %q", err, h.calls)
			}
		})
	}
}

func TestUpgradeRestartsWhenTheVersionChanged(t *testing.T) {
	h := newHost(t).withDocker()
	want := wish()
	converge(t, h, want)
	want.Upgrade = 1
	if facts := converge(t, h, want); facts.Version != "26.1.5" {
		t.Errorf("version %s", facts.Version)
	}
	calls := len(h.calls)
	converge(t, h, want)
	if slices.ContainsFunc(h.calls[calls:], func(c string) bool { return strings.HasPrefix(c, "apt-get") }) {
		t.Error("upgraded once more without being asked")
	}
}

func TestScriptRunsFromAFileAndItsDigestIsShown(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("#!/bin/sh\n")) }))
	defer server.Close()
	h := newHost(t)
	want := wish()
	want.InstallURL = server.URL + "/$(id)"
	if facts := converge(t, h, want); facts.Source != "script" {
		t.Errorf("source %q", facts.Source)
	}
	if h.called("sh ") != 1 || h.called("sh "+h.root+"/var/lib/mctl/engine/install-") != 1 {
		t.Errorf("calls %q", h.calls)
	}
	if !strings.Contains(strings.Join(h.progress, "\n"), "(sha256 a8076d3d28d21e02012b20eaf7dbf75409a6277134439025f282e368e3305abf)") {
		t.Errorf("progress %q", h.progress)
	}
	if !slices.Contains(h.footprint, "package docker.io") {
		t.Errorf("what the script installed is not in the footprint: %q", h.footprint)
	}
}

func TestAnInstallationThatBrokeOffIsTakenUpAgain(t *testing.T) {
	h := newHost(t)
	h.fail["apt-get -y -q -o DPkg::Lock::Timeout=30 -o Dpkg::Use-Pty=0 -o Acquire::Retries=2 -o Dpkg::Options::=--force-confdef "+
		"-o Dpkg::Options::=--force-confold install --no-install-recommends"] = errors.New("killed")
	if _, err := h.engine().Converge(t.Context(), wish()); err == nil {
		t.Fatal("no error")
	}
	h.put(fragment, debianUnit) // half unpacked
	clear(h.fail)
	if facts := converge(t, h, wish()); facts.Source != "distro" {
		t.Errorf("source %q", facts.Source)
	}
}

func TestFaultsOfThePackageManagerAreSentences(t *testing.T) {
	tests := map[string]struct {
		said, sentence string
		kind           fault.Kind
	}{
		"disk full":  {"E: You don't have enough free space in /var/cache/apt/archives/.", "disk is full", fault.Precondition},
		"no package": {"E: Unable to locate package docker.io", "no package of Docker", fault.Precondition},
		"else":       {"E: Sub-process /usr/bin/dpkg returned an error code (1)", "Sub-process /usr/bin/dpkg", fault.Precondition},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			h := newHost(t)
			h.fail["apt-get"] = &program.ExitError{Program: "apt-get", Code: 100, Tail: []string{"Reading…", test.said}}
			_, err := h.engine().Converge(t.Context(), wish())
			if !fault.Is(err, test.kind) || !strings.Contains(err.Error(), test.sentence) || fault.HintOf(err) == "" {
				t.Errorf("error %v, hint %q", err, fault.HintOf(err))
			}
		})
	}
}
