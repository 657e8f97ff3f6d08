package footprint

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"mctl/internal/fault"
)

func TestUninstallGivesTheHostBack(t *testing.T) {
	h := newHost(t)
	h.put("/etc/docker/daemon.json", "{ \"debug\": true }", 0o600)
	h.put("/etc/systemd/system/mctl-front.service.d/x", "theirs", 0o644)
	before := h.snapshot()
	_, err := h.install(nil)
	must(t, err)
	journal := OpenJournal(h.root)
	for _, path := range []string{"/etc/docker/daemon.json", "/etc/docker/ca.pem", "/etc/systemd/system/docker.service.d/mctl.conf"} {
		must(t, journal.File(path))
		h.put(path, "ours", 0o644)
		must(t, journal.Written(path))
	}
	h.asked()
	h.uninstall(false)
	if after := h.snapshotWithoutVar(); !slices.Equal(after, before) {
		t.Errorf("before %q\nafter %q", before, after)
	}
	if h.hostname != "before" {
		t.Errorf("the kernel calls itself %q", h.hostname)
	}
	want := []string{
		"systemctl stop mctl-agent.service mctl-front.socket mctl-front.service",
		"systemctl kill -s KILL mctl-front.service",
		"systemctl daemon-reload", "systemctl kill -s HUP --kill-who=main docker.service",
		"systemctl --no-reload disable mctl-agent.service mctl-front.socket mctl-front.service",
		"systemctl reset-failed mctl-agent.service mctl-front.socket mctl-front.service", "systemctl daemon-reload",
	}
	if got := h.asked(); !slices.Equal(got, want) {
		t.Errorf("asked %q", got)
	}
	h.uninstall(true)
	if got := h.asked(); len(got) != 0 {
		t.Errorf("the second time it asked %q", got)
	}
}

func TestUninstallAsksTheEngineToWithdrawBeforeFilesGoBack(t *testing.T) {
	h := newHost(t)
	_, err := h.install(nil)
	must(t, err)
	const path = "/etc/docker/daemon.json"
	journal := OpenJournal(h.root)
	must(t, journal.File(path))
	h.put(path, `{"ours":1}`, 0o644)
	must(t, journal.Written(path))
	h.put(path, `{"ours":1,"theirs":1}`, 0o644)
	h.config.Withdraw = func(context.Context) error {
		h.put(path, `{"theirs":1}`, 0o644)
		return errors.New("docker is out of sorts")
	}
	told := h.uninstall(false)
	if h.read(path) != `{"theirs":1}` || !says(told, path+" was changed by somebody else") || !says(told, "out of sorts") {
		t.Errorf("%s holds %q, told %+v", path, h.read(path), told)
	}
	if exists(h.config.at(StateDir)) || exists(h.config.at(Binary)) {
		t.Error("an engine out of sorts keeps the rest on the host")
	}
}

func TestUninstallGoesOnAfterAFailure(t *testing.T) {
	for _, call := range []string{"systemctl stop", "systemctl daemon-reload", "systemctl --no-reload disable", "dpkg-query"} {
		t.Run(call, func(t *testing.T) {
			h := newHost(t)
			h.put("/usr/bin/dpkg", "", 0o755)
			before := h.snapshot()
			_, err := h.install(nil)
			must(t, err)
			must(t, OpenJournal(h.root).Package("docker.io"))
			h.failing[call] = "no"
			if err := Uninstall(t.Context(), &bytes.Buffer{}, h.config, true); !fault.Is(err, fault.Precondition) {
				t.Errorf("got %v", err)
			}
			delete(h.failing, call)
			h.uninstall(true)
			if after := h.snapshotWithoutVar(); !slices.Equal(after, before) {
				t.Errorf("before %q\nafter %q", before, after)
			}
		})
	}
}

func TestAHostThatIsSwitchedOffWhileItIsGivenBackHasAnAgentToGoOn(t *testing.T) {
	h := newHost(t)
	h.put("/usr/bin/dpkg", "", 0o755)
	_, err := h.install(nil)
	must(t, err)
	must(t, OpenJournal(h.root).Package("docker.io"))
	h.asked()
	h.failing["dpkg-query"] = "no" // the last thing before what the agent needs itself
	if err := Uninstall(t.Context(), &bytes.Buffer{}, h.config, true); err == nil {
		t.Fatal("no error")
	}
	if slices.ContainsFunc(h.asked(), func(call string) bool { return strings.Contains(call, "disable") }) {
		t.Error("the agent would not start with the host")
	}
	for _, path := range []string{unitDir + agentUnit, configFile, Binary} {
		if !exists(h.config.at(path)) {
			t.Errorf("%s is gone already", path)
		}
	}
}

func TestPackagesGoOnlyWhenAskedForAndNobodyNeedsThem(t *testing.T) {
	for name, c := range map[string]struct {
		manager, installed string
		failing            string
		purge              bool
		want               string // the call that removes
		says               string
	}{
		"not asked":          {manager: "/usr/bin/dpkg", installed: "docker.io\nrunc\n"},
		"Debian":             {manager: "/usr/bin/dpkg", installed: "bash\ndocker.io\nrunc\n", purge: true, want: "apt-get -y -q -o DPkg::Lock::Timeout=60 -o Dpkg::Use-Pty=0 purge docker.io runc"},
		"one is gone":        {manager: "/usr/bin/dpkg", installed: "bash\nrunc\n", purge: true, want: "apt-get -y -q -o DPkg::Lock::Timeout=60 -o Dpkg::Use-Pty=0 purge runc"},
		"all are gone":       {manager: "/usr/bin/dpkg", installed: "bash\n", purge: true},
		"needed by another":  {manager: "/usr/bin/dpkg", installed: "docker.io\nrunc\n", purge: true, failing: "dpkg --no-act --purge docker.io runc", says: "packages stay"},
		"Fedora":             {manager: "/usr/bin/dnf", installed: "docker.io\n", purge: true, want: "dnf -y --setopt=clean_requirements_on_remove=False remove docker.io"},
		"SUSE":               {manager: "/usr/bin/zypper", installed: "docker.io\n", purge: true, want: "zypper --non-interactive remove --no-clean-deps docker.io"},
		"no package manager": {manager: "/usr/bin/true", purge: true, says: "no package manager"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t)
			h.put(c.manager, "", 0o755)
			_, err := h.install(nil)
			must(t, err)
			must(t, OpenJournal(h.root).Package("docker.io", "runc"))
			h.answers["dpkg-query"], h.answers["rpm -qa"] = c.installed, c.installed
			if c.failing != "" {
				h.failing[c.failing] = "podman depends on runc"
			}
			h.asked()
			told := h.uninstall(c.purge)
			removed := slices.DeleteFunc(h.asked(), func(call string) bool {
				return !strings.Contains(call, " remove ") && (!strings.Contains(call, "apt-get") || !strings.Contains(call, " purge "))
			})
			if c.want == "" && len(removed) > 0 || c.want != "" && !slices.Equal(removed, []string{c.want}) {
				t.Errorf("removed by %q", removed)
			}
			if !says(told, c.says) {
				t.Errorf("told %+v", told)
			}
		})
	}
}

func TestReleaseRunsOutsideOfTheAgentsUnit(t *testing.T) {
	h := newHost(t)
	must(t, Release(t.Context(), h.config, true))
	want := []string{"systemd-run --quiet --collect --wait --unit=mctl-release --property=Restart=on-abnormal --property=RestartSec=1 /usr/local/bin/mctl-agent uninstall --purge-engine"}
	if got := h.asked(); !slices.Equal(got, want) {
		t.Errorf("asked %q", got)
	}
	h.failing["systemd-run"] = "Unit mctl-release.service already exists."
	if err := Release(t.Context(), h.config, false); !fault.Is(err, fault.Precondition) {
		t.Errorf("got %v", err)
	}
}

func TestProgramsRunWithoutAShell(t *testing.T) {
	said, err := local{}.Run(t.Context(), "echo", "$HOME; `id`", "*")
	if err != nil || said != "$HOME; `id` *" {
		t.Errorf("said %q, error %v", said, err)
	}
	if _, err := (local{}).Run(t.Context(), "no-such-program-here"); !errors.Is(err, errMissing) {
		t.Errorf("got %v", err)
	}
	if said, err := (local{}).Run(t.Context(), "ls", "/no/such/path"); err == nil || !strings.Contains(err.Error(), "/no/such/path") || said == "" {
		t.Errorf("said %q, error %v", said, err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := (local{}).Run(ended, "sleep", "100"); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
