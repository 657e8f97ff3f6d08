package footprint

import (
	"bytes"
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

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
		"systemctl --no-reload disable mctl-front.socket", "systemctl kill -s KILL mctl-front.service",
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
	for _, call := range []string{"systemctl stop", "systemctl daemon-reload", "systemctl --no-reload disable"} {
		t.Run(call, func(t *testing.T) {
			h := newHost(t)
			before := h.snapshot()
			_, err := h.install(nil)
			must(t, err)
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
	_, err := h.install(nil)
	must(t, err)
	must(t, OpenJournal(h.root).Package("docker.io"))
	h.asked()
	h.unpurged = errors.New("no") // the last thing before what the agent needs itself
	if err := Uninstall(t.Context(), &bytes.Buffer{}, h.config, true); err == nil {
		t.Fatal("no error")
	}
	if slices.ContainsFunc(h.asked(), func(call string) bool { return strings.Contains(call, "disable") && strings.Contains(call, agentUnit) }) {
		t.Error("the agent would not start with the host")
	}
	for _, path := range []string{unitDir + agentUnit, configFile, Binary} {
		if !exists(h.config.at(path)) {
			t.Errorf("%s is gone already", path)
		}
	}
}

func TestARemovalThatWasCutOffIsKnownToTheAgentAndEndedByAnInstallation(t *testing.T) {
	h := newHost(t)
	_, err := h.install(nil)
	must(t, err)
	h.failing = map[string]string{"systemctl stop": "the power went"}
	if err := Uninstall(t.Context(), &bytes.Buffer{}, h.config, true); err == nil {
		t.Fatal("no error")
	}
	if got := h.read(StateDir + "/" + LeavingFile); got != `{"PurgeEngine":true,"Told":true}` {
		t.Errorf("the agent reads %q", got)
	}
	clear(h.failing)
	_, err = h.install(nil)
	must(t, err)
	if exists(h.config.at(StateDir + "/" + LeavingFile)) {
		t.Error("a host that stays would leave at its next boot")
	}
}

func TestTwoRemovalsAreOneAfterTheOther(t *testing.T) {
	h := newHost(t)
	_, err := h.install(nil)
	must(t, err)
	other, err := os.Open(h.config.at(Binary))
	must(t, err)
	must(t, syscall.Flock(int(other.Fd()), syscall.LOCK_EX))
	h.asked()
	limited, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := Uninstall(limited, &bytes.Buffer{}, h.config, false); !fault.Is(err, fault.Unavailable) || len(h.asked()) != 0 {
		t.Errorf("beside another removal: %v", err)
	}
	other.Close()
	h.uninstall(false)
}

func TestPackagesGoOnlyWhenAskedForAndNobodyNeedsThem(t *testing.T) {
	for name, c := range map[string]struct {
		purge  bool
		kept   string
		failed error
		want   []string // packages that were to go
		says   string
	}{
		"not asked":         {},
		"asked":             {purge: true, want: []string{"docker.io", "runc"}},
		"needed by another": {purge: true, kept: "podman needs runc", want: []string{"docker.io", "runc"}, says: "packages stay: podman needs runc"},
		"not yet":           {purge: true, failed: fault.New("p", fault.Unavailable, "", "locked").WithHint("wait"), want: []string{"docker.io", "runc"}},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t)
			_, err := h.install(nil)
			must(t, err)
			must(t, OpenJournal(h.root).Package("docker.io", "runc"))
			h.kept, h.unpurged = c.kept, c.failed
			var output bytes.Buffer
			err = Uninstall(t.Context(), &output, h.config, c.purge)
			if told := h.lines(&output); !fault.Is(err, fault.KindOf(c.failed)) && err != nil || (err != nil) != (c.failed != nil) || !says(told, c.says) {
				t.Errorf("error %v, told %+v", err, told)
			}
			if !slices.Equal(h.purged, c.want) {
				t.Errorf("to go were %q", h.purged)
			}
			if there := exists(h.config.at(Binary)); there != (c.failed != nil) {
				t.Errorf("the program is there: %t", there)
			}
		})
	}
}

func TestReleaseRunsOutsideOfTheAgentsUnit(t *testing.T) {
	h := newHost(t)
	must(t, Release(t.Context(), h.config, true))
	want := []string{"systemd-run --quiet --collect --wait --unit=mctl-release --property=KillMode=process --property=Restart=on-failure --property=RestartSec=10 /usr/local/bin/mctl-agent uninstall --purge-engine"}
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
