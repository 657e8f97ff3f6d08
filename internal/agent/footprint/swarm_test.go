package footprint

import (
	"slices"
	"strings"
	"testing"

	"mctl/internal/fault"
)

var opened = []string{
	"systemctl daemon-reload", "systemctl stop mctl-front-swarm.socket mctl-front.service",
	"systemctl start mctl-front-swarm.socket", "systemctl enable mctl-front-swarm.socket",
}

func TestAManagersPortIsOpenedOnceAndTakenAway(t *testing.T) {
	h := newHost(t)
	_, err := h.install(nil)
	must(t, err)
	before := h.snapshot()
	h.asked()
	must(t, ServeSwarm(t.Context(), h.config, 0))
	if got := h.asked(); len(got) != 0 {
		t.Errorf("for a host in no swarm it asked %q", got)
	}
	must(t, ServeSwarm(t.Context(), h.config, 3376))
	if got := h.asked(); !slices.Equal(got, opened) {
		t.Errorf("asked %q", got)
	}
	if unit := h.read(unitDir + swarmSocket); !strings.Contains(unit, "\nListenStream=3376\n") || !strings.Contains(unit, "\nService=mctl-front.service\n") {
		t.Errorf("the socket is %q", unit)
	}
	h.put(swarmWanted, "", 0o644) // what enabling does
	must(t, ServeSwarm(t.Context(), h.config, 3376))
	if got := h.asked(); len(got) != 0 {
		t.Errorf("the second time it asked %q", got)
	}
	must(t, ServeSwarm(t.Context(), h.config, 4000))
	if got := h.asked(); !slices.Equal(got, opened) {
		t.Errorf("for another port it asked %q", got)
	}
	must(t, ServeSwarm(t.Context(), h.config, 0))
	if got := h.asked(); !slices.Contains(got, "systemctl stop mctl-front-swarm.socket") || got[len(got)-1] != "systemctl try-restart mctl-front.service" ||
		slices.ContainsFunc(got, func(call string) bool { return strings.Contains(call, "KILL") }) {
		t.Errorf("to end it asked %q", got)
	}
	after := slices.DeleteFunc(h.snapshot(), func(s string) bool { return strings.Contains(s, "wants") }) // which disabling removes
	if !slices.Equal(after, before) {
		t.Errorf("before %q\nafter %q", before, after)
	}
}

func TestAManagersPortThatWasOpenedHalfIsOpenedWhole(t *testing.T) {
	for _, call := range opened {
		h := newHost(t)
		_, err := h.install(nil)
		must(t, err)
		h.failing[call] = "killed"
		if err := ServeSwarm(t.Context(), h.config, 3376); err == nil {
			t.Fatalf("%s: no error", call)
		}
		clear(h.failing)
		h.asked()
		must(t, ServeSwarm(t.Context(), h.config, 3376))
		if got := h.asked(); !slices.Equal(got, opened) {
			t.Errorf("after %s: asked %q", call, got)
		}
	}
}

func TestAManagersPortThatIsTakenIsNamed(t *testing.T) {
	h := newHost(t)
	h.failing["systemctl start mctl-front-swarm.socket"] = "failed"
	// Its service may just have been called for the engine's port; the next try is better.
	if err := ServeSwarm(t.Context(), h.config, 3376); !fault.Is(err, fault.Unavailable) {
		t.Errorf("%v", err)
	}
	h.answers["journalctl -u mctl-front-swarm.socket"] = "Failed to create listening socket: Address already in use"
	if err := ServeSwarm(t.Context(), h.config, 3376); !fault.Is(err, fault.Precondition) || !strings.Contains(err.Error(), "port 3376 can't be opened: another program holds it") {
		t.Errorf("%v", err)
	}
}

func TestUninstallTakesAManagersPortAway(t *testing.T) {
	h := newHost(t)
	before := h.snapshot()
	_, err := h.install(nil)
	must(t, err)
	must(t, ServeSwarm(t.Context(), h.config, 3376))
	h.asked()
	h.uninstall(false)
	if after := h.snapshotWithoutVar(); !slices.Equal(after, before) {
		t.Errorf("before %q\nafter %q", before, after)
	}
	if got := h.asked(); got[0] != "systemctl stop mctl-agent.service mctl-front.socket mctl-front-swarm.socket mctl-front.service" {
		t.Errorf("asked %q", got)
	}
}
