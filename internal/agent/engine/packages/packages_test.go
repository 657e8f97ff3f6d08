package packages

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"

	"mctl/internal/agent/engine/program"
	"mctl/internal/fault"
)

// Recorded os-release files, cut to the fields that are read.
const (
	debian12   = "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nVERSION_ID=\"12\"\nVERSION_CODENAME=bookworm\nID=debian\n"
	ubuntu2404 = "PRETTY_NAME=\"Ubuntu 24.04.1 LTS\"\nVERSION_ID=\"24.04\"\nVERSION_CODENAME=noble\nID=ubuntu\nID_LIKE=debian\nUBUNTU_CODENAME=noble\n"
	mint22     = "PRETTY_NAME=\"Linux Mint 22\"\nVERSION_ID=\"22\"\nVERSION_CODENAME=wilma\nID=linuxmint\nID_LIKE=\"ubuntu debian\"\nUBUNTU_CODENAME=noble\n"
	rocky9     = "NAME=\"Rocky Linux\"\nVERSION_ID=\"9.4\"\nID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\nPRETTY_NAME=\"Rocky Linux 9.4 (Blue Onyx)\"\n"
	fedora41   = "NAME=\"Fedora Linux\"\nID=fedora\nVERSION_ID=41\nPRETTY_NAME=\"Fedora Linux 41 (Cloud Edition)\"\n"
	amazon2023 = "NAME=\"Amazon Linux\"\nID=\"amzn\"\nID_LIKE=\"fedora\"\nVERSION_ID=\"2023\"\nPRETTY_NAME=\"Amazon Linux 2023\"\n"
	leap156    = "NAME=\"openSUSE Leap\"\nID=\"opensuse-leap\"\nID_LIKE=\"suse opensuse\"\nVERSION_ID=\"15.6\"\nPRETTY_NAME=\"openSUSE Leap 15.6\"\n"
	void       = "NAME=\"Void\"\nID=\"void\"\nPRETTY_NAME=\"Void Linux\"\n"
)

// transcript is a host whose programs answer from a recording.
type transcript struct {
	t         *testing.T
	mu        sync.Mutex // apt thinks and downloads at once
	root      string
	answers   map[string]string // by a part of the command
	failures  map[string]error
	calls     []string
	progress  []string
	footprint []string
	outlive   []string // calls that no end of the agent cuts short
	pauses    []time.Duration
	onPause   func()
	client    *http.Client
}

func newHost(t *testing.T, release string) *transcript {
	t.Helper()
	h := &transcript{t: t, root: t.TempDir(), answers: map[string]string{}, failures: map[string]error{}, client: http.DefaultClient}
	h.put("/etc/os-release", release)
	return h
}

func (h *transcript) put(path, content string) {
	h.t.Helper()
	full := filepath.Join(h.root, path)
	if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
		h.t.Fatal(err)
	}
	if err := os.WriteFile(full, []byte(content), 0o600); err != nil {
		h.t.Fatal(err)
	}
}

func (h *transcript) get(path string) string {
	content, err := os.ReadFile(filepath.Join(h.root, path))
	if err != nil {
		h.t.Error(err)
	}
	return string(content)
}

func (h *transcript) config() Config {
	return Config{
		Logger: hclog.NewNullLogger(), Root: h.root, Runner: h, Footprint: h, HTTP: h.client, Sources: DefaultSources(), LockWait: 3 * time.Second,
		Progress: func(line string) { h.progress = append(h.progress, line) },
		Pause: func(ctx context.Context, d time.Duration) error {
			if h.pauses = append(h.pauses, d); h.onPause != nil {
				h.onPause()
			}
			return ctx.Err()
		},
	}
}

func (h *transcript) family() Family {
	h.t.Helper()
	family, err := Detect(h.config())
	if err != nil {
		h.t.Fatal(err)
	}
	return family
}

func (h *transcript) Run(_ context.Context, command program.Command) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	call := strings.Join(command.Args, " ")
	h.calls = append(h.calls, call)
	if command.Outlives {
		h.outlive = append(h.outlive, call)
	}
	for part, failure := range h.failures {
		if strings.Contains(call, part) {
			return failure
		}
	}
	for part, answer := range h.answers {
		if strings.Contains(call, part) && command.Line != nil {
			for line := range strings.Lines(answer) {
				command.Line(strings.TrimSpace(line))
			}
		}
	}
	return nil
}

func (h *transcript) File(path string) error { return h.tell("file " + path) }

func (h *transcript) Package(names ...string) error {
	return h.tell("package " + strings.Join(names, " "))
}

func (h *transcript) Written(path string) error { return h.tell("written " + path) }

func (h *transcript) tell(line string) error {
	h.footprint = append(h.footprint, line)
	h.calls = append(h.calls, "footprint "+line)
	return nil
}

func (h *transcript) index(part string) int {
	return slices.IndexFunc(h.calls, func(c string) bool { return strings.Contains(c, part) })
}

func TestDistributionsPackages(t *testing.T) {
	tests := map[string]struct {
		release string
		want    []string
	}{
		"Debian 12":      {debian12, []string{"docker.io"}},
		"Ubuntu 24.04":   {ubuntu2404, []string{"docker.io"}},
		"Fedora 41":      {fedora41, []string{"moby-engine", "docker-cli"}},
		"Amazon Linux":   {amazon2023, []string{"docker"}},
		"openSUSE":       {leap156, []string{"docker"}},
		"Rocky has none": {rocky9, nil},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			h := newHost(t, test.release)
			h.answers["apt-cache policy docker-cli"] = "docker-cli:\n  Installed: (none)\n  Candidate: (none)\n"
			got, err := h.family().DistroPackages(t.Context())
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
			if test.want == nil && (!fault.Is(err, fault.Precondition) || fault.HintOf(err) == "") {
				t.Errorf("error %v", err)
			}
		})
	}
	t.Run("a client that is its own package comes along", func(t *testing.T) {
		h := newHost(t, debian12)
		h.answers["apt-cache policy docker-cli"] = "docker-cli:\n  Installed: (none)\n  Candidate: 26.1.5+dfsg1-9\n"
		if got, err := h.family().DistroPackages(t.Context()); err != nil || !slices.Equal(got, []string{"docker.io", "docker-cli"}) {
			t.Errorf("%q, %v", got, err)
		}
	})
}

func TestUnknownDistributionsAreASentence(t *testing.T) {
	h := newHost(t, void)
	if _, err := Detect(h.config()); !fault.Is(err, fault.Precondition) || !strings.Contains(err.Error(), "Void Linux") || fault.HintOf(err) == "" {
		t.Errorf("error %v", err)
	}
	h.root = t.TempDir()
	if _, err := Detect(h.config()); !fault.Is(err, fault.Precondition) {
		t.Errorf("without os-release: %v", err)
	}
}

// standIn serves Docker's repository.
func (h *transcript) standIn() {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "key of ", r.URL.Path) }))
	h.t.Cleanup(server.Close)
	client := server.Client()
	client.Transport = redirected{address: strings.TrimPrefix(server.URL, "http://"), next: client.Transport}
	h.client = client
}

// redirected sends every request to one address.
type redirected struct {
	address string
	next    http.RoundTripper
}

func (r redirected) RoundTrip(request *http.Request) (*http.Response, error) {
	request = request.Clone(request.Context())
	request.URL.Scheme, request.URL.Host = "http", r.address
	return r.next.RoundTrip(request)
}

func TestDockersRepositoryOnDebianAndUbuntu(t *testing.T) {
	tests := map[string]struct{ release, entry string }{
		"Debian 12":    {debian12, "deb [arch=amd64 signed-by=/etc/apt/keyrings/docker.asc] https://download.docker.com/linux/debian bookworm stable\n"},
		"Ubuntu 24.04": {ubuntu2404, "deb [arch=amd64 signed-by=/etc/apt/keyrings/docker.asc] https://download.docker.com/linux/ubuntu noble stable\n"},
		"Mint 22":      {mint22, "deb [arch=amd64 signed-by=/etc/apt/keyrings/docker.asc] https://download.docker.com/linux/ubuntu noble stable\n"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			h := newHost(t, test.release)
			h.standIn()
			h.answers["dpkg --print-architecture"] = "amd64\n"
			names, err := h.family().AddRepository(t.Context())
			if err != nil || names[0] != "docker-ce" {
				t.Fatalf("%q, %v", names, err)
			}
			if got := h.get(aptSource); got != test.entry {
				t.Errorf("entry %q", got)
			}
			if got := h.get(aptKey); !strings.HasPrefix(got, "key of /linux/") {
				t.Errorf("key %q", got)
			}
			want := []string{"file " + aptKey, "written " + aptKey, "file " + aptSource, "written " + aptSource}
			if diff := cmp.Diff(want, h.footprint); diff != "" {
				t.Error(diff)
			}
			if h.index("apt-get") < h.index("written "+aptSource) {
				t.Error("the lists are read too early")
			}
		})
	}
}

func TestARepositoryThatIsThereIsNotAddedAgain(t *testing.T) {
	h := newHost(t, debian12)
	h.put("/etc/apt/sources.list.d/mine.sources", "URIs: https://download.docker.com/linux/debian\n")
	if _, err := h.family().AddRepository(t.Context()); err != nil || len(h.footprint) != 0 {
		t.Errorf("%v, %q", err, h.footprint)
	}
}

func TestDockersRepositoryOnTheRPMFamily(t *testing.T) {
	for release, path := range map[string]string{rocky9: "centos", fedora41: "fedora"} {
		h := newHost(t, release)
		names, err := h.family().AddRepository(t.Context())
		if err != nil || names[0] != "docker-ce" {
			t.Fatalf("%q, %v", names, err)
		}
		want := "[docker-ce-stable]\nname=Docker CE Stable - $basearch\nbaseurl=https://download.docker.com/linux/" + path +
			"/$releasever/$basearch/stable\nenabled=1\ngpgcheck=1\ngpgkey=https://download.docker.com/linux/" + path + "/gpg\n"
		if diff := cmp.Diff(want, h.get(yumSource)); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff([]string{"file " + yumSource, "written " + yumSource}, h.footprint); diff != "" {
			t.Error(diff)
		}
	}
	for _, release := range []string{amazon2023, leap156} {
		if _, err := newHost(t, release).family().AddRepository(t.Context()); !fault.Is(err, fault.Precondition) {
			t.Errorf("error %v", err)
		}
	}
}

func TestOnlyWhatComesNewIsInTheFootprintAndBeforeItComes(t *testing.T) {
	tests := map[string]struct {
		release string
		answers map[string]string
		ask     []string
		want    string
		install string
	}{
		"apt": {debian12, map[string]string{"--simulate": "Inst runc (1.1.5 Debian:12.5/stable [amd64])\nInst libx [1] (2 Debian [amd64])\n" +
			"Inst docker.io (20.10.24 Debian:12.5/stable [amd64]) []\nConf runc (1.1.5)\n"}, []string{"docker.io"}, "package runc docker.io",
			"install --no-install-recommends --no-remove docker.io"},
		"dnf": {rocky9, map[string]string{"rpm -q": "package docker-ce is not installed\ncontainerd.io 1.6.1-1.el9\n"}, []string{"docker-ce", "containerd.io"},
			"package docker-ce", "--setopt=install_weak_deps=False install docker-ce"},
		"zypper": {leap156, map[string]string{"rpm -q": "package docker is not installed\n"}, []string{"docker"}, "package docker",
			"zypper --non-interactive install --no-recommends docker"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			h := newHost(t, test.release)
			h.put("/usr/bin/dnf", "")
			h.answers = test.answers
			if err := h.family().Install(t.Context(), test.ask); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]string{test.want}, h.footprint); diff != "" {
				t.Error(diff)
			}
			told, came := h.index("footprint"), h.index(test.install)
			if told < 0 || came < told {
				t.Errorf("calls %q", h.calls)
			}
			if len(h.outlive) != 1 || !strings.Contains(h.outlive[0], test.install) {
				t.Errorf("the end of the agent does not cut short %q", h.outlive)
			}
		})
	}
}

func TestInstalledReadsWhatTheDatabaseSays(t *testing.T) {
	h := newHost(t, ubuntu2404)
	h.answers["dpkg-query"] = "installed docker.io 24.0.7-0ubuntu4.1\nconfig-files containerd 1.7\nno packages found matching docker-ce\n"
	got, err := h.family().Installed(t.Context())
	if diff := cmp.Diff(map[string]string{"docker.io": "24.0.7-0ubuntu4.1"}, got); diff != "" || err != nil {
		t.Error(diff, err)
	}
	h = newHost(t, fedora41)
	h.answers["rpm -q"] = "moby-engine 24.0.5-4.fc41\npackage docker-ce is not installed\n"
	got, err = h.family().Installed(t.Context())
	if diff := cmp.Diff(map[string]string{"moby-engine": "24.0.5-4.fc41"}, got); diff != "" || err != nil {
		t.Error(diff, err)
	}
}

func TestUpgradeTakesInstalledPackagesAlone(t *testing.T) {
	for release, want := range map[string]string{
		debian12: "install --only-upgrade --no-install-recommends --no-remove containerd docker.io", rocky9: "upgrade containerd docker.io",
		leap156: "update containerd docker.io",
	} {
		h := newHost(t, release)
		if err := h.family().Upgrade(t.Context(), []string{"containerd", "docker.io"}); err != nil || h.index(want) < 0 || len(h.outlive) != 1 {
			t.Errorf("%v, %q, outlive %q", err, h.calls, h.outlive)
		}
	}
}

func TestPackagesGoUnlessSomethingElseNeedsThem(t *testing.T) {
	for name, c := range map[string]struct {
		release, installed string
		needed             string // the call that finds out that they are needed
		want               string // the call that removes
	}{
		"Debian":            {release: debian12, installed: "bash docker.io runc", want: "purge docker.io runc"},
		"one is gone":       {release: debian12, installed: "bash runc", want: "purge runc"},
		"all are gone":      {release: debian12, installed: "bash"},
		"needed by another": {release: debian12, installed: "docker.io runc", needed: "dpkg --no-act --purge docker.io runc"},
		"Fedora":            {release: fedora41, installed: "docker.io", want: "dnf -y --setopt=install_weak_deps=False --setopt=clean_requirements_on_remove=False remove docker.io"},
		"needed on Fedora":  {release: fedora41, installed: "docker.io", needed: "rpm -e --test docker.io"},
		"openSUSE":          {release: leap156, installed: "docker.io", want: "zypper --non-interactive remove --no-clean-deps docker.io"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t, c.release)
			h.put("/usr/bin/dnf", "")
			listed := strings.ReplaceAll(c.installed, " ", "\n")
			h.answers["dpkg-query"], h.answers["rpm -qa"] = listed, listed
			if c.needed != "" {
				h.failures[c.needed] = &program.ExitError{Program: "dpkg", Code: 1, Tail: []string{"podman depends on runc"}}
			}
			kept, err := h.family().Remove(t.Context(), []string{"docker.io", "runc"})
			if err != nil || (kept != "") != (c.needed != "") {
				t.Errorf("kept %q, %v", kept, err)
			}
			if c.want == "" && len(h.outlive) != 0 || c.want != "" && (len(h.outlive) != 1 || !strings.Contains(h.outlive[0], c.want)) {
				t.Errorf("removed by %q", h.outlive)
			}
		})
	}
}

func TestPackagesAreNotKeptForWantOfAnAnswer(t *testing.T) {
	for _, call := range []string{"dpkg-query", "dpkg --no-act --purge"} {
		h := newHost(t, debian12)
		h.answers["dpkg-query"] = "runc\n"
		h.failures[call] = program.ErrMissing
		if kept, err := h.family().Remove(t.Context(), []string{"runc"}); !fault.Is(err, fault.Precondition) || kept != "" || len(h.outlive) != 0 {
			t.Errorf("%s: kept %q, %v, removed by %q", call, kept, err, h.outlive)
		}
	}
}

func TestAnInterruptedRemovalIsCompletedFirst(t *testing.T) {
	h := newHost(t, debian12)
	h.put("/var/lib/dpkg/updates/0001", "")
	h.answers["dpkg-query"] = "runc\n"
	if _, err := h.family().Remove(t.Context(), []string{"docker.io", "runc"}); err != nil || h.index("dpkg --configure -a") != 0 || h.index("purge runc") < 0 {
		t.Errorf("%v, %q", err, h.calls)
	}
}

func TestTheNetworkIsTriedAgainAndThenASentence(t *testing.T) {
	h := newHost(t, debian12)
	h.failures[" update"] = &program.ExitError{Program: "apt-get", Code: 100, Tail: []string{
		"Err:1 http://mirror.example.org/debian bookworm InRelease", "  Temporary failure resolving 'mirror.example.org'", "E: Some index files failed to download."}}
	_, err := h.family().DistroPackages(t.Context())
	if !fault.Is(err, fault.Precondition) || !strings.Contains(err.Error(), "no network on the host") || fault.HintOf(err) == "" {
		t.Errorf("error %v, hint %q", err, fault.HintOf(err))
	}
	if want := []time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second}; !slices.Equal(h.pauses, want) {
		t.Errorf("pauses %v", h.pauses)
	}
	h.failures, h.pauses = map[string]error{" update": h.failures[" update"]}, nil
	h.onPause = func() { clear(h.failures) }
	if _, err := h.family().DistroPackages(t.Context()); err != nil {
		t.Errorf("the network came back: %v", err)
	}
}

func TestWhatPackageManagersSayBecomesASentence(t *testing.T) {
	tests := map[string]struct {
		tail     []string
		kind     fault.Kind
		sentence string
	}{
		"apt's disk":    {[]string{"E: You don't have enough free space in /var/cache/apt/archives/."}, fault.Precondition, "disk is full"},
		"dpkg's disk":   {[]string{"dpkg: error: cannot copy: failed to write (No space left on device)", "E: Sub-process /usr/bin/dpkg returned an error code (1)"}, fault.Precondition, "disk is full"},
		"dnf's disk":    {[]string{"Error: Transaction test error:", "  installing package docker-ce needs 100MB more space on the / filesystem"}, fault.Precondition, "disk is full"},
		"dnf's network": {[]string{"Errors during downloading metadata for repository 'baseos':", "  - Curl error (6): Couldn't resolve host name", "Error: Failed to download metadata for repo 'baseos'"}, fault.Unavailable, "no network"},
		"apt's lock":    {[]string{"E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 812 (unattended-upgr)"}, fault.Unavailable, "unattended-upgr"},
		"no package":    {[]string{"Error: Unable to find a match: moby-engine"}, fault.Precondition, "no package of Docker"},
		"anything else": {[]string{"Setting up …", "E: Sub-process /usr/bin/dpkg returned an error code (1)"}, fault.Precondition, "returned an error code"},
		"nothing":       {nil, fault.Precondition, "said nothing"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			manager := "apt-get"
			if strings.HasPrefix(name, "dnf") {
				manager = "dnf"
			}
			err := explain(&program.ExitError{Program: manager, Code: 1, Tail: test.tail})
			if !fault.Is(err, test.kind) || !strings.Contains(err.Error(), test.sentence) || fault.HintOf(err) == "" {
				t.Errorf("error %v, hint %q", err, fault.HintOf(err))
			}
		})
	}
}

func TestCloudInitIsWaitedForOnlyWhileItRuns(t *testing.T) {
	for state, waits := range map[string]bool{"status: running\n": true, "status: done\n": false, "": false} {
		h := newHost(t, ubuntu2404)
		h.answers["cloud-init status"] = state
		if err := AwaitBoot(t.Context(), h.config()); err != nil || (h.index("--wait") >= 0) != waits {
			t.Errorf("%q: %v, %q", state, err, h.calls)
		}
	}
}

func TestAnInterruptedInstallationIsCompletedFirst(t *testing.T) {
	h := newHost(t, debian12)
	h.put("/var/lib/dpkg/updates/0001", "")
	if err := h.family().Install(t.Context(), []string{"docker.io"}); err != nil || h.index("dpkg --configure -a") != 0 || len(h.outlive) != 2 {
		t.Errorf("%v, %q", err, h.calls)
	}
}

// TestMain lets the test binary stand in for another package manager that holds a lock.
func TestMain(m *testing.M) {
	if path := os.Getenv("HOLD_LOCK"); path != "" {
		os.Exit(holdLock(path))
	}
	os.Exit(m.Run())
}

func TestWhoHoldsTheLockIsSaid(t *testing.T) {
	h := newHost(t, debian12)
	h.put("/var/lib/dpkg/lock-frontend", "")
	path := filepath.Join(h.root, "/var/lib/dpkg/lock-frontend")
	holder := exec.Command(os.Args[0])
	holder.Env = append(os.Environ(), "HOLD_LOCK="+path)
	stdin, err := holder.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := holder.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	ended := false
	release := func() {
		if !ended {
			ended = true
			stdin.Close()
			_ = holder.Wait()
		}
	}
	defer release()
	if _, err := io.ReadFull(stdout, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	pid := holder.Process.Pid
	h.put(fmt.Sprintf("/proc/%d/comm", pid), "unattended-upgr\n")
	said := fmt.Sprintf("held by unattended-upgr (pid %d)", pid)
	err = h.family().Install(t.Context(), []string{"docker.io"})
	if !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), said) {
		t.Errorf("error %v", err)
	}
	if want := []string{"waiting for the package manager's lock, " + said}; !slices.Equal(h.progress, want) {
		t.Errorf("progress %q", h.progress)
	}
	if len(h.pauses) != 3 || len(h.calls) != 0 {
		t.Errorf("pauses %v, calls %q", h.pauses, h.calls)
	}
	h.onPause = release
	if err := h.family().Install(t.Context(), []string{"docker.io"}); err != nil {
		t.Errorf("the lock is free: %v", err)
	}
}

func TestScriptsAreLimitedAndNeverInAShellString(t *testing.T) {
	answer, status := []byte("#!/bin/sh\n"), http.StatusOK
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status); _, _ = w.Write(answer) }))
	defer server.Close()
	h := newHost(t, debian12)
	run := func(address string) error {
		return Script(t.Context(), h.config(), []string{aptSource}, address, "/var/lib/mctl/engine")
	}
	if err := run(server.URL + "/x;touch canary"); err != nil {
		t.Fatal(err)
	}
	if call := h.calls[h.index("sh ")]; !slices.Contains(h.outlive, call) || strings.Contains(call, "canary") || !strings.HasPrefix(call, "sh "+h.root+"/var/lib/mctl/engine/install-") {
		t.Errorf("call %q", call)
	}
	if left, _ := filepath.Glob(h.root + "/var/lib/mctl/engine/*"); len(left) != 1 || filepath.Base(left[0]) != "script.lock" {
		t.Errorf("left behind: %q", left)
	}
	for name, address := range map[string]string{"a file": "file:///etc/passwd", "no host": "https://", "no address": "x"} {
		if err := run(address); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	calls := len(h.calls)
	answer = make([]byte, 2<<20)
	if err := run(server.URL); !fault.Is(err, fault.Precondition) {
		t.Errorf("too large: %v", err)
	}
	answer, status = []byte("gone"), http.StatusNotFound
	if err := run(server.URL); !fault.Is(err, fault.Precondition) || !strings.Contains(err.Error(), "404") {
		t.Errorf("not found: %v", err)
	}
	server.Close()
	if err := run("http://user:secret@" + strings.TrimPrefix(server.URL, "http://")); !fault.Is(err, fault.Precondition) || strings.Contains(err.Error(), "secret") {
		t.Errorf("unreachable: %v", err)
	}
	if len(h.calls) != calls {
		t.Errorf("something ran: %q", h.calls[calls:])
	}
}

func TestAScriptThatAnEarlierAgentBeganIsWaitedFor(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("read -r go <$GATE\necho done\n"))
	}))
	defer server.Close()
	h := newHost(t, debian12)
	gate := filepath.Join(h.root, "gate")
	if err := syscall.Mkfifo(gate, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("GATE", gate)
	c := h.config()
	c.Runner = program.Local{}
	run := func(ctx context.Context) error { return Script(ctx, c, nil, server.URL, "/var/lib/mctl/engine") }
	ctx, cancel := context.WithCancel(t.Context())
	first := make(chan error, 1)
	go func() { first <- run(ctx) }()
	open, err := os.OpenFile(gate, os.O_WRONLY, 0) // returns once the script runs
	if err != nil {
		t.Fatal(err)
	}
	cancel() // as an agent that ends
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	if err := run(t.Context()); !fault.Is(err, fault.Unavailable) || fault.HintOf(err) == "" {
		t.Errorf("a second beside it: %v", err)
	}
	if _, err := open.WriteString("go\n"); err != nil {
		t.Fatal(err)
	}
	open.Close()
	free := func() bool {
		lock, err := c.alone("/var/lib/mctl/engine")
		if err == nil {
			lock.Close()
		}
		return err == nil
	}
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for limit := time.After(10 * time.Second); !free(); {
		select {
		case <-ticker.C:
		case <-limit:
			t.Fatal("its lock outlives it")
		}
	}
}

func TestAStoppedContextStopsTheAttempts(t *testing.T) {
	h := newHost(t, debian12)
	ctx, cancel := context.WithCancel(t.Context())
	h.onPause = cancel
	h.failures[" update"] = &program.ExitError{Program: "apt-get", Tail: []string{"Could not resolve 'x'"}}
	if _, err := h.family().DistroPackages(ctx); !errors.Is(err, context.Canceled) || len(h.pauses) != 1 {
		t.Errorf("%v after %d pauses", err, len(h.pauses))
	}
}
