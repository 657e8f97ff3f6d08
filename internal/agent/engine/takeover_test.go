package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"mctl/internal/fault"
	"mctl/internal/host"
)

const (
	machinesCommand = "/usr/bin/dockerd -H tcp://0.0.0.0:2376 -H unix:///var/run/docker.sock --storage-driver overlay2 --tlsverify " +
		"--tlscacert /etc/docker/ca.pem --tlscert /etc/docker/server.pem --tlskey /etc/docker/server-key.pem --label provider=generic"
	machinesUnit = "[Service]\nExecStart=\nExecStart=" + machinesCommand + " \nEnvironment=\n"
	ourUnit      = "# Written by mctl; the agent writes it anew.\n[Service]\nExecStart=\nExecStart=" + ourCommand + "\n"
	ourCommand   = "/usr/bin/dockerd -H unix:///var/run/docker.sock --storage-driver overlay2 --label provider=generic"
)

// machinesHost is a host as docker-machine leaves it, with a container.
func machinesHost(t *testing.T) *fakeHost {
	h := newHost(t)
	h.put(machineDropIn, machinesUnit)
	h.put("/usr/bin/dockerd", "")
	h.withDocker()
	h.container = "running"
	return h
}

func adoption(adopt host.AdoptRestart) host.Engine {
	return host.Engine{Labels: []string{"provider=generic"}, AdoptRestart: adopt, Port: 2376}
}

// argv is the command line of the dockerd that runs.
func (h *fakeHost) argv() string {
	return strings.TrimSpace(strings.ReplaceAll(h.get(fmt.Sprintf("/proc/%d/cmdline", h.pid)), "\x00", " "))
}

// own checks that the host is as its owner had it, with dockerd listening.
func (h *fakeHost) own(when string) {
	h.t.Helper()
	if h.argv() != machinesCommand || h.get(dropIn) != "-" || h.get(machineDropIn) != machinesUnit || h.get(daemonJSON) != "-" || h.loaded["live-restore"] == true {
		h.t.Errorf("%s: dockerd runs as %q with %v, drop-in %q, daemon.json %q", when, h.argv(), h.loaded, h.get(dropIn), h.get(daemonJSON))
	}
	if h.container != "running" {
		h.t.Errorf("%s: the container is %s", when, h.container)
	}
}

// taken checks that dockerd serves its own socket alone.
func (h *fakeHost) taken(when string) {
	h.t.Helper()
	if h.argv() != ourCommand || h.get(dropIn) != ourUnit || h.get(machineDropIn) != machinesUnit || h.get(daemonJSON) != "-" || h.loaded["live-restore"] == true {
		h.t.Errorf("%s: dockerd runs as %q with %v, drop-in %q, daemon.json %q", when, h.argv(), h.loaded, h.get(dropIn), h.get(daemonJSON))
	}
}

func TestADockerdWithThePortIsTakenOverAndGivenBackWithItsContainersRunning(t *testing.T) {
	for _, adopt := range []host.AdoptRestart{"", host.AdoptLive, host.AdoptNow} {
		h := machinesHost(t)
		if facts := converge(t, h, adoption(adopt)); facts.AwaitsRestart != "" || facts.Source != existing {
			t.Errorf("%s: %+v", adopt, facts)
		}
		h.taken("taken over")
		calls := len(h.calls)
		converge(t, h, adoption(adopt))
		if h.called("systemctl restart") != 1 || len(h.calls)-calls > 1 || h.container != "running" {
			t.Errorf("%s: %q, the container is %s", adopt, h.calls, h.container)
		}
		// The agent's own part of leaving: the front has the port still.
		if err := h.engine().Release(t.Context()); err != nil {
			t.Fatal(err)
		}
		h.taken("released")
		for range 2 {
			if err := h.engine().Return(t.Context()); err != nil {
				t.Fatal(err)
			}
			h.own("returned")
		}
		if h.called("systemctl restart") != 2 {
			t.Errorf("%s: %q", adopt, h.calls)
		}
		for _, path := range []string{"ca.pem", "server.pem", "server-key.pem"} {
			if !slices.Contains(h.footprint, "put back /etc/docker/"+path) {
				t.Errorf("dockerd got another %s than its own: %q", path, h.footprint)
			}
		}
	}
}

func TestAListenerThatDockerdHasNotTakenUpYetCostsNoContainer(t *testing.T) {
	for _, adopt := range []host.AdoptRestart{host.AdoptLive, host.AdoptNever} {
		h := newHost(t)
		h.put("/usr/bin/dockerd", "")
		h.withDocker()
		h.container = "running"
		h.put(machineDropIn, machinesUnit) // with nothing restarted since
		for range 2 {
			facts := converge(t, h, adoption(adopt))
			if waits := facts.AwaitsRestart != ""; waits != (adopt == host.AdoptNever) || h.container != "running" {
				t.Errorf("%s: %+v, the container is %s", adopt, facts, h.container)
			}
		}
		want := 1
		if adopt == host.AdoptNever {
			if want = 0; h.called("systemctl restart") == 0 {
				h.start() // somebody's restart
			}
			if facts := converge(t, h, adoption(adopt)); facts.AwaitsRestart != "" {
				t.Errorf("%s: after the restart %+v", adopt, facts)
			}
		}
		h.taken(string(adopt))
		if n := h.called("systemctl restart"); n != want {
			t.Errorf("%s: docker was restarted %d times, want %d", adopt, n, want)
		}
	}
}

func TestAListenerInDaemonJSONIsTakenOverAndComesBackByteForByte(t *testing.T) {
	const theirs = "{ \"hosts\":[\"unix:///var/run/docker.sock\", \"tcp://0.0.0.0:2376\"],\n\"tlsverify\" : true, \"tlscacert\":\"/pki/ca.pem\", \"mtu\":1400 }"
	h := newHost(t)
	h.put(daemonJSON, theirs)
	h.put(fragment, "[Service]\nExecStart=/usr/sbin/dockerd\n")
	h.start()
	h.container = "running"
	want := adoption(host.AdoptLive)
	converge(t, h, want)
	if strings.Contains(h.get(daemonJSON), "2376") || strings.Contains(h.get(daemonJSON), "tls") || !strings.Contains(h.get(daemonJSON), "1400") || h.get(dropIn) != "-" {
		t.Errorf("daemon.json %s, drop-in %s", h.get(daemonJSON), h.get(dropIn))
	}
	if h.called("systemctl restart") != 1 || h.loaded["live-restore"] != nil {
		t.Errorf("calls %q, loaded %v", h.calls, h.loaded)
	}
	if err := errors.Join(h.engine().Release(t.Context()), h.engine().Return(t.Context())); err != nil {
		t.Fatal(err)
	}
	if h.get(daemonJSON) != theirs || h.container != "running" || h.loaded["hosts"] == nil || !slices.Contains(h.footprint, "put back /pki/ca.pem") {
		t.Errorf("daemon.json %s, loaded %v, the container is %s", h.get(daemonJSON), h.loaded, h.container)
	}
}

func TestAListenerInAVariableIsTakenOver(t *testing.T) {
	h := newHost(t)
	h.put("/etc/default/docker", `DOCKER_OPTS="-H 0.0.0.0:2376 --mtu 1300"`)
	h.withDocker()
	converge(t, h, adoption(host.AdoptLive))
	if h.argv() != "/usr/sbin/dockerd -H fd:// --mtu 1300" {
		t.Errorf("dockerd runs as %s", h.argv())
	}
	if err := h.engine().Return(t.Context()); err != nil || h.argv() != "/usr/sbin/dockerd -H fd:// -H 0.0.0.0:2376 --mtu 1300" {
		t.Errorf("back: %v, dockerd runs as %s", err, h.argv())
	}
}

func TestAListenerElsewhereStaysAndNothingIsRestarted(t *testing.T) {
	h := machinesHost(t)
	want := adoption(host.AdoptLive)
	want.Port = 3376
	if facts := converge(t, h, want); facts.AwaitsRestart != "" || h.called("systemctl restart") != 0 {
		t.Errorf("%+v, %q", facts, h.calls)
	}
	h.own("adopted")
}

func TestOptionsThatNeedARestartComeWithTheOnlyOne(t *testing.T) {
	h := machinesHost(t)
	want := adoption(host.AdoptLive)
	want.Options, want.Env = []string{"mtu=1400", "storage-driver=overlay2"}, []string{"A=b"}
	converge(t, h, want)
	if h.called("systemctl restart") != 1 || h.container != "running" || h.loaded["mtu"] != 1400.0 || h.loaded["live-restore"] != nil || h.loaded["storage-driver"] != nil {
		t.Errorf("%q, %v, the container is %s", h.calls, h.loaded, h.container)
	}
}

func TestADockerdThatDoesNotComeBackHasItsListenerAgain(t *testing.T) {
	h := machinesHost(t)
	h.broken = func(argv string) bool { return !strings.Contains(argv, "tcp://") }
	h.refuse = func(map[string]any) bool { return false } // has the journal speak
	_, err := h.engine().Converge(t.Context(), adoption(host.AdoptLive))
	if !fault.Is(err, fault.Precondition) || !strings.Contains(err.Error(), "driver not supported") || !strings.Contains(fault.HintOf(err), "listens itself") {
		t.Errorf("error %v, hint %q", err, fault.HintOf(err))
	}
	h.own("undone")
	h.broken, h.refuse = nil, nil
	if err := h.engine().Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	h.own("released")
	converge(t, h, adoption(host.AdoptLive))
	h.taken("tried again")
}

func TestWhereContainersWouldStopTheRestartIsSomebodyElses(t *testing.T) {
	swarm := func(h *fakeHost) { h.swarm = true }
	fixed := func(h *fakeHost) {
		h.put(machineDropIn, strings.Replace(machinesUnit, "--label", "--live-restore=false --label", 1))
		h.start()
	}
	for name, c := range map[string]struct {
		prepare func(*fakeHost)
		adopt   host.AdoptRestart
		why     string
	}{
		"swarm":                 {swarm, host.AdoptLive, "swarm"},
		"live-restore is fixed": {fixed, host.AdoptLive, "live-restore=false"},
		"never":                 {func(*fakeHost) {}, host.AdoptNever, "--adopt-restart never"},
	} {
		t.Run(name, func(t *testing.T) {
			h := machinesHost(t)
			c.prepare(h)
			h.container = "running"
			life, argv := h.lives, h.argv()
			for range 2 {
				facts := converge(t, h, adoption(c.adopt))
				if !strings.HasPrefix(facts.AwaitsRestart, "dockerd listens on tcp://0.0.0.0:2376 itself until it restarts (") || !strings.Contains(facts.AwaitsRestart, c.why) {
					t.Errorf("%+v", facts)
				}
				if h.lives != life || h.argv() != argv || h.container != "running" || len(h.loaded) != 0 {
					t.Errorf("life %d, dockerd runs as %s with %v, the container is %s", h.lives, h.argv(), h.loaded, h.container)
				}
			}
			h.start() // whoever does it
			if facts := converge(t, h, adoption(c.adopt)); facts.AwaitsRestart != "" || h.lives != life+1 || strings.Contains(h.argv(), "tcp://") {
				t.Errorf("%+v, life %d, dockerd runs as %s", facts, h.lives, h.argv())
			}
			converge(t, h, adoption(c.adopt))
			if h.called("systemctl restart") != 0 {
				t.Errorf("%q", h.calls)
			}
		})
		t.Run(name+", provisioned", func(t *testing.T) {
			h := machinesHost(t)
			c.prepare(h)
			converge(t, h, adoption(c.adopt))
			want := adoption(c.adopt)
			want.Provision = 1
			if facts := converge(t, h, want); facts.AwaitsRestart != "" || h.called("systemctl restart") != 1 || strings.Contains(h.argv(), "tcp://") {
				t.Errorf("%+v, %q, dockerd runs as %s", facts, h.calls, h.argv())
			}
			converge(t, h, want)
			if h.called("systemctl restart") != 1 {
				t.Errorf("%q", h.calls)
			}
		})
		t.Run(name+", given back before", func(t *testing.T) {
			h := machinesHost(t)
			c.prepare(h)
			h.container = "running"
			life, argv := h.lives, h.argv()
			converge(t, h, adoption(c.adopt))
			if err := errors.Join(h.engine().Release(t.Context()), h.engine().Return(t.Context())); err != nil {
				t.Fatal(err)
			}
			if h.lives != life || h.container != "running" || h.get(dropIn) != "-" || h.get(daemonJSON) != "-" {
				t.Errorf("life %d, the container is %s, drop-in %q, daemon.json %q", h.lives, h.container, h.get(dropIn), h.get(daemonJSON))
			}
			if h.start(); h.argv() != argv {
				t.Errorf("dockerd runs as %s", h.argv())
			}
		})
	}
}

func TestARestartThatWasWaitedForAndFailsIsUndone(t *testing.T) {
	h := machinesHost(t)
	converge(t, h, adoption(host.AdoptNever))
	h.broken = func(argv string) bool { return !strings.Contains(argv, "tcp://") }
	h.start()
	h.container = "running"
	h.failed = true
	if _, err := h.engine().Converge(t.Context(), adoption(host.AdoptNever)); !fault.Is(err, fault.Precondition) {
		t.Errorf("error %v", err)
	}
	if h.argv() != machinesCommand || h.get(dropIn) != "-" {
		t.Errorf("dockerd runs as %q, drop-in %q", h.argv(), h.get(dropIn))
	}
}

func TestNowAndASwarmsMemberMeanARestartOfAll(t *testing.T) {
	h := machinesHost(t)
	h.swarm = true
	if facts := converge(t, h, adoption(host.AdoptNow)); facts.AwaitsRestart != "" || h.called("systemctl restart") != 1 {
		t.Errorf("%+v, %q", facts, h.calls)
	}
	h.taken("now")
	life := h.lives
	h.container = "running"
	if err := h.engine().Return(t.Context()); err != nil {
		t.Fatal(err)
	}
	if h.lives != life || h.container != "running" || h.get(dropIn) != "-" || !strings.Contains(strings.Join(h.progress, "\n"), "when it restarts next") {
		t.Errorf("life %d, the container is %s, drop-in %q, told %q", h.lives, h.container, h.get(dropIn), h.progress)
	}
}

func TestACommandLineThatIsSetAfterOursIsRefusedBeforeAnythingIsWritten(t *testing.T) {
	h := machinesHost(t)
	h.later = "/etc/systemd/system/docker.service.d/99-override.conf"
	h.put(h.later, machinesUnit+"Environment=LATE=1\n")
	h.put(h.later, strings.Replace(machinesUnit, "--label", "--debug --label", 1))
	_, err := h.engine().Converge(t.Context(), adoption(host.AdoptNow))
	if !fault.Is(err, fault.Precondition) || !strings.Contains(err.Error(), "99-override.conf") || fault.HintOf(err) == "" {
		t.Errorf("error %v, hint %q", err, fault.HintOf(err))
	}
	if h.get(dropIn) != "-" || h.get(daemonJSON) != "-" || h.loaded["live-restore"] != nil || h.called("systemctl restart") != 0 {
		t.Errorf("drop-in %q, daemon.json %q, loaded %v, %q", h.get(dropIn), h.get(daemonJSON), h.loaded, h.calls)
	}
}

// interrupted does something until the n-th act; false when there are fewer.
func interrupted(t *testing.T, h *fakeHost, n int, after bool, do func(ctx context.Context, e *Engine) error) (crashed bool) {
	t.Helper()
	defer func() {
		if r := recover(); r != nil {
			if r != any(errCrash) {
				panic(r)
			}
			crashed = true
		}
	}()
	e, left := h.engine(), n
	c := crashing{fakeHost: h, left: &left, after: after}
	e.config.Runner, e.config.Footprint = c, c
	if err := do(t.Context(), New(e.config)); err != nil {
		t.Fatal(err)
	}
	return false
}

func TestATakeoverThatIsKilledAnywhereIsMadeGoodByTheNextCall(t *testing.T) {
	for name, c := range map[string]struct {
		prepare func(*fakeHost)
		want    host.Engine
		live    bool
	}{
		"live":  {func(*fakeHost) {}, adoption(host.AdoptLive), true},
		"swarm": {func(h *fakeHost) { h.swarm = true }, adoption(host.AdoptNow), false},
	} {
		for _, after := range []bool{false, true} {
			for _, reboot := range []bool{false, true} {
				for n, crashed := 1, true; crashed; n++ {
					h := machinesHost(t)
					c.prepare(h)
					when := fmt.Sprintf("%s, killed at %d (after it: %t, rebooted: %t)", name, n, after, reboot)
					crashed = interrupted(t, h, n, after, func(ctx context.Context, e *Engine) error { _, err := e.Converge(ctx, c.want); return err })
					if reboot {
						h.start()
						h.container = "running"
					}
					if facts := converge(t, h, c.want); facts.AwaitsRestart != "" {
						t.Fatalf("%s: %+v", when, facts)
					}
					h.taken(when)
					if c.live && h.container != "running" {
						t.Fatalf("%s: the container is %s", when, h.container)
					}
				}
			}
		}
	}
}

func TestAGivingBackThatIsKilledAnywhereIsMadeGoodByTheNextCall(t *testing.T) {
	give := func(ctx context.Context, e *Engine) error { return errors.Join(e.Release(ctx), e.Return(ctx)) }
	for _, after := range []bool{false, true} {
		for _, reboot := range []bool{false, true} {
			for n, crashed := 1, true; crashed; n++ {
				h := machinesHost(t)
				converge(t, h, adoption(host.AdoptLive))
				crashed = interrupted(t, h, n, after, give)
				if reboot {
					h.start()
					h.container = "running"
				}
				if err := give(t.Context(), h.engine()); err != nil {
					t.Fatal(err)
				}
				h.own(fmt.Sprintf("killed at %d (after it: %t, rebooted: %t)", n, after, reboot))
			}
		}
	}
}
