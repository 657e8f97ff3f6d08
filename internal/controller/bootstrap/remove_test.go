package bootstrap

import (
	"slices"
	"strings"
	"testing"

	"mctl/internal/controller/bootstrap/survey"
	"mctl/internal/fault"
)

func TestAHostIsGivenBack(t *testing.T) {
	for purge, command := range map[bool]string{false: uninstallPresentCommand, true: purgePresentCommand} {
		w := newWorld(t)
		if _, err := w.install(); err != nil {
			t.Fatal(err)
		}
		w.host.answers = []string{`{"progress":"taking the front away"}`, `{"done":true}`}
		for range 2 {
			if err := w.installer.Remove(t.Context(), w.target, purge, w.progress); err != nil {
				t.Fatal(err)
			}
		}
		times := 0
		for _, asked := range w.asked() {
			if asked == command {
				times++
			}
		}
		if times != 1 || !slices.Contains(w.told, "taking the front away") {
			t.Errorf("purge %v: asked %q, told %q", purge, w.asked(), w.told)
		}
	}
}

func TestAHostWhereNothingIsLeftIsSuccess(t *testing.T) {
	w := newWorld(t)
	if err := w.installer.Remove(t.Context(), w.target, true, w.progress); err != nil {
		t.Fatal(err)
	}
	for _, asked := range w.asked() {
		if asked != firstOf(survey.Script) {
			t.Errorf("asked %q", asked)
		}
	}
}

func TestAHostThatIsFullOrForeignIsGivenBackAllTheSame(t *testing.T) {
	w := newWorld(t)
	if _, err := w.install(); err != nil {
		t.Fatal(err)
	}
	w.host.facts["df"] = "/dev/vda 100 99 1 99% /"
	w.host.facts["os_ID"] = "void"
	w.host.more = []string{tcp, `ss=LISTEN 0      511          0.0.0.0:2376       0.0.0.0:*    users:(("nginx",pid=7,fd=6))`}
	if err := w.installer.Remove(t.Context(), w.target, false, w.progress); err != nil || w.host.facts["agent"] != "" {
		t.Error(err)
	}
}

func TestTheLeftOversOfABrokenInstallationGo(t *testing.T) {
	t.Run("an upload", func(t *testing.T) {
		w := newWorld(t)
		w.host.facts["state"] = "1"
		if err := w.installer.Remove(t.Context(), w.target, false, w.progress); err != nil || w.host.uploaded != nil {
			t.Errorf("%v, uploaded %q", err, w.host.uploaded)
		}
		if !slices.Contains(w.asked(), firstOf(tidyScript)) {
			t.Errorf("asked %q", w.asked())
		}
	})
	t.Run("a footprint whose agent is gone", func(t *testing.T) {
		w := newWorld(t)
		w.host.facts["state"], w.host.facts["installed"] = "1", "1"
		if err := w.installer.Remove(t.Context(), w.target, false, w.progress); err != nil || string(w.host.uploaded) != agentBytes {
			t.Errorf("%v, uploaded %q", err, w.host.uploaded)
		}
		if !slices.Contains(w.asked(), uninstallNewCommand) {
			t.Errorf("asked %q", w.asked())
		}
	})
}

func TestAHostThatSomebodyElseHasByNowIsLeftAlone(t *testing.T) {
	w := newWorld(t)
	w.host.facts["agent"], w.host.facts["agent_uid"], w.host.facts["state"] = digest(agentBytes), "uid-2", "1"
	if err := w.installer.Remove(t.Context(), w.target, true, w.progress); err != nil {
		t.Fatal(err)
	}
	if w.host.facts["agent"] == "" || len(w.told) != 1 {
		t.Errorf("asked %q, told %q", w.asked(), w.told)
	}
	w.target.MachineUID = ""
	if err := w.installer.Remove(t.Context(), w.target, true, w.progress); err != nil || w.host.facts["agent"] != "" {
		t.Errorf("anybody's: %v", err)
	}
}

func TestWhatIsLeftBehindIsSaid(t *testing.T) {
	for name, c := range map[string]struct {
		prepare func(h *pretended)
		kind    fault.Kind
		says    string
	}{
		"it says done and is still there": {func(h *pretended) { h.stubborn = true }, fault.Internal, "something of mctl's is left"},
		"it fails":                        {func(h *pretended) { h.answers, h.status = nil, 1 }, fault.Precondition, "could not take itself away"},
		"it says why": {func(h *pretended) {
			h.answers, h.status = []string{`{"error":"dpkg is locked","kind":"unavailable","hint":"wait"}`}, 1
		}, fault.Unavailable, "dpkg is locked"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			if _, err := w.install(); err != nil {
				t.Fatal(err)
			}
			c.prepare(w.host)
			err := w.installer.Remove(t.Context(), w.target, false, w.progress)
			if !fault.Is(err, c.kind) || !strings.Contains(err.Error(), c.says) || fault.HintOf(err) == "" {
				t.Errorf("%v, hint %q", err, fault.HintOf(err))
			}
		})
	}
}

func TestAHostIsToldToBootAnewOverOneConnection(t *testing.T) {
	w := newWorld(t)
	if err := w.installer.Reboot(t.Context(), w.target, w.progress); err != nil {
		t.Fatal(err)
	}
	if asked := w.asked(); !slices.Equal(asked, []string{rebootCommand}) {
		t.Errorf("asked %q", asked)
	}
	w.host.status = 1
	if err := w.installer.Reboot(t.Context(), w.target, w.progress); !fault.Is(err, fault.Precondition) || fault.HintOf(err) == "" {
		t.Errorf("refused: %v", err)
	}
	w.target.Key = nil
	if err := w.installer.Reboot(t.Context(), w.target, w.progress); !fault.Is(err, fault.Denied) {
		t.Errorf("without a key: %v", err)
	}
}
