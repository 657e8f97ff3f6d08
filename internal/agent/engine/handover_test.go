package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"mctl/internal/agent/engine/tree"
	"mctl/internal/fault"
	"mctl/internal/host"
)

const (
	handedCommand = "/usr/bin/dockerd -H tcp://0.0.0.0:2376 -H unix:///var/run/docker.sock --storage-driver overlay2 --tlsverify " +
		"--tlscacert /etc/docker/ca.pem --tlscert /etc/docker/server.pem --tlskey /etc/docker/server-key.pem --label tier=web --label provider=generic"
	handedUnit = "[Service]\nExecStart=\nExecStart=" + handedCommand + " \nEnvironment=\n"
)

// ownHost is one whose Docker mctl installed, with a container.
func ownHost(t *testing.T) *fakeHost {
	t.Helper()
	h := newHost(t).withDocker()
	want := wish("tier=web", "provider=nspawn")
	want.Port = 2376
	converge(t, h, want)
	h.container = "running"
	return h
}

// asked is how a controller wants a host to be handed over.
func asked() host.HandOver {
	return host.HandOver{Port: 2376, Provider: "generic", Engine: host.Engine{Labels: []string{"tier=web"}}}
}

// offer is how the host is handed over then.
func offer(t *testing.T, h *fakeHost) host.HandOver {
	t.Helper()
	calls, ask := len(h.calls), asked()
	engine, err := h.engine().Offer(t.Context(), ask)
	if err != nil {
		t.Fatal(err)
	}
	for _, call := range h.calls[calls:] {
		if !strings.HasPrefix(call, "systemctl show") {
			t.Errorf("an offer asks for %s", call)
		}
	}
	ask.Engine = engine
	return ask
}

// handed checks that dockerd is docker-machine's.
func (h *fakeHost) handed(when string) {
	h.t.Helper()
	if h.argv() != handedCommand || h.get(dropIn) != "-" || h.get(machineDropIn) != handedUnit || h.get(daemonJSON) != "-" || len(h.loaded) != 0 {
		h.t.Errorf("%s: dockerd runs as %q with %v, drop-ins %q and %q, daemon.json %q", when, h.argv(), h.loaded, h.get(dropIn), h.get(machineDropIn), h.get(daemonJSON))
	}
	if h.container != "running" {
		h.t.Errorf("%s: the container is %s", when, h.container)
	}
}

func TestADockerdOfOursIsLeftToDockerMachineWithItsContainersRunning(t *testing.T) {
	h := ownHost(t)
	how := offer(t, h)
	for range 2 {
		if err := h.engine().HandOver(t.Context(), how); err != nil {
			t.Fatal(err)
		}
		h.handed("handed over")
	}
	if n := h.called("systemctl restart"); n != 1 {
		t.Errorf("docker was restarted %d times: %q", n, h.calls)
	}
	for _, path := range HandOverFiles() {
		if !slices.Contains(h.footprint, "written "+path) {
			t.Errorf("%s is not in the footprint, should it be refused: %q", path, h.footprint)
		}
	}
}

func TestAnOfferChangesNothingWhileTheAgentChangesDocker(t *testing.T) {
	h := ownHost(t)
	e := h.engine()
	m, err := e.load()
	if err != nil {
		t.Fatal(err)
	}
	former, between := []byte(h.get(daemonJSON)), []byte("{}")
	m.Former, m.Neutral = &kept{Document: &former}, tree.Digest(&between)
	if err := errors.Join(e.save(m), e.tree.Put(daemonJSON, &between, 0o644)); err != nil {
		t.Fatal(err)
	}
	offer(t, h)
	if h.get(daemonJSON) != "{}" {
		t.Errorf("daemon.json is %s, which dockerd was about to read", h.get(daemonJSON))
	}
}

func TestAHandOverThatIsKilledAnywhereIsMadeGoodByTheNextCall(t *testing.T) {
	for meanwhile, happens := range map[string]func(h *fakeHost){
		"nothing":                  func(*fakeHost) {},
		"the host is switched off": func(h *fakeHost) { h.start(); h.container = "running" },
		"dockerd is killed and does not come back": func(h *fakeHost) { h.pid, h.failed = 0, true },
	} {
		for _, after := range []bool{false, true} {
			if !after && meanwhile != "nothing" {
				continue // what happens after an act tells all
			}
			t.Run(fmt.Sprintf("%s, after it: %t", meanwhile, after), func(t *testing.T) {
				t.Parallel()
				for n, crashed := 1, true; crashed; n++ {
					h := ownHost(t)
					how := offer(t, h)
					crashed = interrupted(t, h, n, after, func(ctx context.Context, e *Engine) error { return e.HandOver(ctx, how) })
					happens(h)
					if err := h.engine().HandOver(t.Context(), how); err != nil {
						t.Fatal(err)
					}
					h.handed(fmt.Sprintf("killed at %d", n))
				}
			})
		}
	}
}

func TestWhatDockerdDoesNotTakeIsTakenBack(t *testing.T) {
	h := ownHost(t)
	how := offer(t, h)
	before := h.argv()
	h.broken = func(argv string) bool { return strings.Contains(argv, "tcp://") }
	h.refuse = func(map[string]any) bool { return false } // has the journal speak
	err := h.engine().HandOver(t.Context(), how)
	if !fault.Is(err, fault.Precondition) || !strings.Contains(err.Error(), "driver not supported") || !strings.Contains(fault.HintOf(err), "former configuration is back") {
		t.Errorf("error %v, hint %q", err, fault.HintOf(err))
	}
	if h.argv() != before || h.get(machineDropIn) != "-" || h.container != "running" || h.loaded["live-restore"] == true || h.loaded["labels"] == nil {
		t.Errorf("dockerd runs as %q with %v, drop-in %q, the container is %s", h.argv(), h.loaded, h.get(machineDropIn), h.container)
	}
	h.broken, h.refuse = nil, nil
	if err := h.engine().HandOver(t.Context(), how); err != nil {
		t.Fatal(err)
	}
	h.handed("tried again")
}

func TestWhatTheHostHadGoesOn(t *testing.T) {
	h := newHost(t)
	h.put(fragment, "[Service]\nEnvironment=\"A=b c\" no-variable\nExecStart=/opt/dockerd -H fd:// --containerd=/run/containerd/containerd.sock --data-root /data --debug --label of=theirs --label provider=x\n")
	h.put("/opt/dockerd", "")
	h.start()
	want := wish("tier=web", "provider=generic")
	want.Port = 2376
	converge(t, h, want)
	h.container = "running"
	how := offer(t, h)
	if err := h.engine().HandOver(t.Context(), how); err != nil {
		t.Fatal(err)
	}
	command := strings.Replace(handedCommand, "--label provider", "--label of=theirs --label provider", 1) + " --data-root=/data --debug"
	if h.argv() != command || !strings.HasSuffix(h.get(machineDropIn), "\nEnvironment=\"A=b c\"\n") || h.container != "running" {
		t.Errorf("dockerd runs as %q\nwant            %q\n%s", h.argv(), command, h.get(machineDropIn))
	}
	if how.Engine.Check() != nil || len(how.Engine.Options) != 2 || how.Engine.StorageDriver != "overlay2" || len(how.Engine.Labels) != 2 {
		t.Errorf("docker-machine is told of %+v", how.Engine)
	}
}

func TestAHostThatDockerMachineMadeGetsAnotherCertificateInTheSameWay(t *testing.T) {
	h := machinesHost(t)
	converge(t, h, adoption(host.AdoptLive))
	if err := h.engine().HandOver(t.Context(), offer(t, h)); err != nil {
		t.Fatal(err)
	}
	h.handed("handed over")
	if slices.ContainsFunc(h.footprint, func(line string) bool { return strings.HasPrefix(line, "put back") }) {
		t.Errorf("the former certificates came back: %q", h.footprint)
	}
}

func TestAHandOverThatCanNotBeIsRefusedBeforeAnythingIsChanged(t *testing.T) {
	for name, c := range map[string]struct {
		prepare func(*fakeHost)
		says    string
	}{
		"stopped": {func(h *fakeHost) { h.pid = 0 }, "does not run"},
		"a swarm": {func(h *fakeHost) { h.swarm = true }, "swarm"},
		"a drop-in that counts": {func(h *fakeHost) {
			h.later = "/etc/systemd/system/docker.service.d/override.conf"
			h.put(h.later, handedUnit)
		}, "override.conf"},
		"labels in daemon.json":     {func(h *fakeHost) { h.put(daemonJSON, `{"labels":["of=theirs"]}`) }, `"labels"`},
		"a listener in daemon.json": {func(h *fakeHost) { h.put(daemonJSON, `{"hosts":["unix:///var/run/docker.sock"]}`) }, `"hosts"`},
		"a mirror that is none": {func(h *fakeHost) {
			h.put(fragment, "[Service]\nExecStart=/usr/bin/dockerd -H fd:// --registry-mirror mirror.example.com\n")
		}, "can't be handed on"},
		"a broken daemon.json": {func(h *fakeHost) { h.put(daemonJSON, `{`) }, "no valid JSON"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t).withDocker()
			c.prepare(h)
			files := []string{h.get(daemonJSON), h.get(dropIn), h.get(machineDropIn)}
			_, err := h.engine().Offer(t.Context(), asked())
			if !fault.Is(err, fault.Precondition) || !strings.Contains(err.Error(), c.says) || fault.HintOf(err) == "" {
				t.Errorf("error %v, hint %q", err, fault.HintOf(err))
			}
			if now := []string{h.get(daemonJSON), h.get(dropIn), h.get(machineDropIn)}; !slices.Equal(now, files) || len(h.footprint) > 0 {
				t.Errorf("it changed %q to %q, footprint %q", files, now, h.footprint)
			}
		})
	}
	h := machinesHost(t)
	converge(t, h, adoption(host.AdoptNever))
	if _, err := h.engine().Offer(t.Context(), asked()); !fault.Is(err, fault.Precondition) || !strings.Contains(err.Error(), "has not been restarted") {
		t.Errorf("one that waits for its restart: %v", err)
	}
}
