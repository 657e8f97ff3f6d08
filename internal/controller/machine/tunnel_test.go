package machine

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"mctl/internal/controller/driver"
	"mctl/internal/controller/sshlink"
	"mctl/internal/fault"
	"mctl/internal/host"
)

func linked(link host.Link) func(*Spec) { return func(s *Spec) { s.Link = link } }

// come has a machine's agent connect a certain way.
func (w *world) come(m *Machine, way host.Way) {
	w.hosts.connect(m.UID, w.now)
	o := w.hosts.observed[m.UID]
	o.Way = way
	w.hosts.observed[m.UID] = o
}

func TestAHostIsReachedOverSSHWhenItsAgentIsLostForSeconds(t *testing.T) {
	w := newWorld(t)
	w.create("web", "cloud")
	m := w.running("web")
	w.come(m, host.WayDirect)
	if m, _ = w.step("web"); w.tunnels.has(m.UID) || m.Status.Link != host.WayDirect {
		t.Fatalf("with a direct session: %s, and a tunnel: %t", m.Status.Link, w.tunnels.has(m.UID))
	}
	w.hosts.lose(m.UID, w.now)
	result, err := w.service.Step(t.Context(), "web")
	if err != nil || w.tunnels.has(m.UID) || result.After == 0 || result.After > lostLimit {
		t.Fatalf("just lost: %v, looks again after %s, a tunnel: %t", err, result.After, w.tunnels.has(m.UID))
	}
	w.now = w.now.Add(lostLimit)
	if w.step("web"); !w.tunnels.has(m.UID) { //nolint:errcheck // that the provider is asked is another test's
		t.Fatal("lost for seconds, and no tunnel")
	}
	w.come(m, host.WaySSH)
	if m, _ = w.step("web"); !w.tunnels.has(m.UID) || m.Status.Link != host.WaySSH {
		t.Errorf("over SSH: %s, and a tunnel: %t", m.Status.Link, w.tunnels.has(m.UID))
	}
	w.restart()
	w.hosts.lose(m.UID, w.now)
	w.tunnels.Drop(m.UID)
	if w.step("web"); !w.tunnels.has(m.UID) { //nolint:errcheck // as above
		t.Error("a controller that starts anew waits although it knows the way")
	}
	w.come(m, host.WayDirect)
	if w.step("web"); w.tunnels.has(m.UID) { //nolint:errcheck // as above
		t.Error("a tunnel beside a direct session")
	}
}

func TestALinkOfOneKindNeverComesTheOtherWay(t *testing.T) {
	w := newWorld(t)
	w.create("near", "cloud", linked(host.LinkDirect))
	w.create("far", "cloud", linked(host.LinkSSH))
	near, far := w.running("near"), w.running("far")
	if given := w.ssh.installed; len(given) != 2 || given[0].Unreached || given[0].Probe || !given[1].Unreached || given[1].Probe {
		t.Errorf("the hosts were given %+v", given)
	}
	w.hosts.lose(near.UID, w.now)
	w.now = w.now.Add(time.Hour)
	w.step("near") //nolint:errcheck // that the provider is asked is another test's
	w.step("far")  //nolint:errcheck // as above
	if w.tunnels.has(near.UID) || !w.tunnels.has(far.UID) {
		t.Errorf("a tunnel to the near one: %t, to the far one: %t", w.tunnels.has(near.UID), w.tunnels.has(far.UID))
	}
	if told := w.hosts.wishes[far.UID].Endpoints; len(told) != 0 {
		t.Errorf("the far one is told to dial %v", told)
	}
}

func TestAHostThatDoesNotReachUsIsGoneToAtOnce(t *testing.T) {
	w := newWorld(t)
	w.ssh.unreached = true
	w.create("web", "cloud")
	m := w.stepUntil("web", Joining)
	if m.Status.Link != host.WaySSH {
		t.Fatalf("it is expected to come by %s", m.Status.Link)
	}
	w.tunnels.next = sshlink.State{Err: fault.New("login", fault.Precondition, "web", "it forwards nothing to us").WithHint("AllowTcpForwarding yes")}
	if m, _ = w.step("web"); !w.tunnels.has(m.UID) {
		t.Fatal("no tunnel")
	}
	if view := w.service.View(m); !strings.Contains(view.TunnelError, "forwards nothing") {
		t.Errorf("the view says %q", view.TunnelError)
	}
	w.now = w.now.Add(defaultWaitAgent)
	m, err := w.step("web")
	if err != nil || m.Status.Failure == nil || !strings.Contains(m.Status.Failure.Message, "forwards nothing") || m.Status.Failure.Hint != "AllowTcpForwarding yes" {
		t.Errorf("%v: %+v", err, m.Status.Failure)
	}
}

func TestWhoHasNoPowerOrNoAgentGetsNoTunnel(t *testing.T) {
	w := newWorld(t)
	w.create("web", "cloud", linked(host.LinkSSH))
	m := w.running("web")
	if !w.tunnels.has(m.UID) {
		t.Fatal("no tunnel while it runs")
	}
	w.edit("web", func(s *Spec) { s.Power = PowerOff })
	m = w.stepUntil("web", Stopped)
	w.step("web") //nolint:errcheck // nothing is done
	if w.tunnels.has(m.UID) {
		t.Error("a tunnel to a host that is off")
	}
	w.edit("web", func(s *Spec) { s.Power = PowerOn })
	w.stepUntil("web", Starting)
	w.step("web") //nolint:errcheck // the agent is not back
	if !w.tunnels.has(m.UID) {
		t.Error("no tunnel to a host that starts")
	}
	if _, err := w.service.Delete(t.Context(), "", "web", 0, Deletion{Force: true}); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		w.step("web") //nolint:errcheck // until it is gone
	}
	if w.tunnels.has(m.UID) {
		t.Error("a tunnel to a host that is gone")
	}
}

func TestOurEndOfTheConnectionIsToldWhereNobodySaysWhereWeAre(t *testing.T) {
	for name, c := range map[string]struct {
		advertise, want []string
	}{
		"nobody":   {nil, []string{"192.0.2.7:4000"}},
		"somebody": {[]string{"ctl.example:4000"}, []string{"ctl.example:4000"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.advertise = c.advertise
			w.restart()
			w.create("web", "cloud")
			m := w.running("web")
			w.come(m, host.WaySSH)
			w.tunnels.next = sshlink.State{Up: true, Own: "192.0.2.7:4000"}
			w.step("web") //nolint:errcheck // once to keep a tunnel
			w.step("web") //nolint:errcheck // and once to hear of it
			if told := w.hosts.wishes[m.UID].Endpoints; !slices.Equal(told, c.want) {
				t.Errorf("told %v", told)
			}
		})
	}
}

func TestALentKeyKeepsNoSSHLink(t *testing.T) {
	w := newWorld(t)
	_, err := w.service.Create(t.Context(), "", "web", Spec{Driver: "lent", Options: driver.Options{}, Link: host.LinkSSH}, false)
	if !fault.Is(err, fault.Precondition) || fault.HintOf(err) == "" {
		t.Errorf("a lent key: %v", err)
	}
	if _, err := w.service.Create(t.Context(), "", "web", Spec{Driver: "adopt", Options: driver.Options{}, Link: host.LinkSSH}, false); err != nil {
		t.Errorf("a key of ours: %v", err)
	}
	if _, err := w.service.Create(t.Context(), "", "web2", Spec{Driver: "cloud", Options: driver.Options{}, Link: "pigeon"}, false); !fault.Is(err, fault.Invalid) {
		t.Errorf("an unknown mode: %v", err)
	}
	if _, err := w.service.Target(t.Context(), "nobody"); !errors.As(err, new(*fault.Error)) {
		t.Errorf("Target: %v", err)
	}
}
