package machine

import (
	"context"
	"slices"
	"strings"
	"testing"

	"mctl/internal/controller/driver"
	"mctl/internal/fault"
)

// release asks for a host to be given back, after the question whether that is possible.
func (w *world) release(name string) {
	w.t.Helper()
	if _, err := w.service.Export(w.t.Context(), name, true, true); err != nil {
		w.t.Fatal(err)
	}
	if _, err := w.service.Delete(w.t.Context(), "", name, 0, Deletion{Release: true}); err != nil {
		w.t.Fatal(err)
	}
}

func TestAHostThatMctlMadeIsHandedOverAndItsProviderKeepsIt(t *testing.T) {
	for _, driverName := range []string{"cloud", "adopt"} {
		w := newWorld(t)
		w.create("web", driverName, func(s *Spec) { s.Engine.Labels, s.TLSSANs = []string{"tier=web"}, []string{"web.example.com"} })
		w.running("web")
		e, err := w.service.Export(t.Context(), "web", true, true)
		if err != nil {
			t.Fatal(err)
		}
		if e.Driver != "generic" || e.Engine == nil || !slices.Equal(e.Engine.Options, []string{"data-root=/data"}) {
			t.Errorf("%s: docker-machine's driver is %s, its engine %+v", driverName, e.Driver, e.Engine)
		}
		if driverName == "cloud" && !strings.Contains(string(e.Key), "OPENSSH PRIVATE KEY") {
			t.Errorf("old programs can't read the key: %.40s", string(e.Key))
		}
		if copied, err := w.service.Export(t.Context(), "web", false, false); err != nil || copied.Engine != nil || copied.Key != nil {
			t.Errorf("a copy asked the host or has secrets: %+v, %v", copied, err)
		}
		w.release("web")
		w.gone("web")
		if len(w.ssh.handed) != 1 || w.ssh.removed != 0 {
			t.Fatalf("%s: handed over %+v, removed %d times", driverName, w.ssh.handed, w.ssh.removed)
		}
		h := w.ssh.handed[0]
		certificate := string(h.Certificate)
		if h.Port != DefaultEnginePort || h.Provider != "generic" || string(h.ClientCA) != "CA" || !slices.Equal(h.Engine.Labels, []string{"tier=web"}) ||
			!strings.HasPrefix(certificate, "default signs request of web for [") || !strings.Contains(certificate, "web.example.com") {
			t.Errorf("%s: %+v, certificate %s", driverName, h, certificate)
		}
		if len(w.cloud.instances) != 1 {
			t.Errorf("%s: its provider has %v", driverName, w.cloud.instances)
		}
	}
}

// tagging is a driver that marks its hosts at the provider.
type tagging struct {
	*cloud
	released int
	err      error
}

func (r *tagging) Release(context.Context, driver.Machine) error {
	r.released++
	return r.err
}

func TestAProviderIsToldThatAHostGoesOnWithoutUs(t *testing.T) {
	w := newWorld(t)
	d := &tagging{cloud: w.cloud, err: fault.New("tagging", fault.Unavailable, "", "not now")}
	w.more = drivers{"tagging": d}
	w.restart()
	w.create("web", "tagging")
	w.running("web")
	w.release("web")
	if _, err := w.step("web"); err != nil { // on its way
		t.Fatal(err)
	}
	if _, err := w.step("web"); !fault.Is(err, fault.Unavailable) {
		t.Fatalf("it is not asked once more: %v", err)
	}
	d.err = nil
	w.gone("web")
	if d.released != 2 || len(w.ssh.handed) != 2 || len(w.cloud.instances) != 1 {
		t.Errorf("told %d times, handed over %d times, the provider has %v", d.released, len(w.ssh.handed), w.cloud.instances)
	}
}

func TestAHostOfAStoreGetsBackWhatWasThereUnlessItsAuthorityChanged(t *testing.T) {
	for _, regenerated := range []bool{false, true} {
		w := newWorld(t)
		w.arrive(t, "web", "plugin:gone")
		m := w.running("web")
		if regenerated {
			w.alter("web", func(m *Machine) { m.Status.Authority = DefaultAuthority })
		}
		e, err := w.service.Export(t.Context(), "web", true, true)
		if err != nil || e.Driver != "gone" || (e.Engine != nil) != regenerated {
			t.Fatalf("%+v, %v", e, err)
		}
		w.release("web")
		w.gone("web")
		if handed := len(w.ssh.handed) == 1; handed != regenerated || w.ssh.removed == len(w.ssh.handed) {
			t.Errorf("regenerated %t: handed over %d times, removed %d times; %s", regenerated, len(w.ssh.handed), w.ssh.removed, m.UID)
		}
	}
}

func TestAControllerThatIsKilledAmidstAReleaseGoesOn(t *testing.T) {
	w := newWorld(t)
	w.create("web", "cloud")
	w.running("web")
	w.ssh.handOver = fault.New("ssh", fault.Unavailable, "", "the connection broke")
	w.release("web")
	for range 2 {
		if m, _ := w.step("web"); m.Status.Failure != nil {
			t.Fatalf("parked: %+v", m.Status.Failure)
		}
	}
	w.restart()
	// The same command once more asks the host for nothing: it may be half on its way.
	w.ssh.offer = fault.New("ssh", fault.Precondition, "", "the agent is gone")
	if _, err := w.service.Export(t.Context(), "web", true, true); err != nil {
		t.Error(err)
	}
	w.ssh.handOver = nil
	w.gone("web")
	if len(w.ssh.handed) != 1 || len(w.cloud.instances) != 1 {
		t.Errorf("handed over %d times, the provider has %v", len(w.ssh.handed), w.cloud.instances)
	}
}

func TestAMachineWhoseReleaseFailedIsNotSaidToBeRemovedWhileItsHostGoesOn(t *testing.T) {
	w := newWorld(t)
	w.create("web", "cloud")
	w.running("web")
	w.ssh.handOver = fault.New("ssh", fault.Precondition, "", "dockerd does not take it")
	w.release("web")
	w.stepUntil("web", Deleting)
	for range 2 {
		_, _ = w.step("web")
	}
	if _, err := w.service.Delete(t.Context(), "", "web", 0, Deletion{}); !fault.Is(err, fault.Precondition) || !strings.Contains(err.Error(), "given back") || !strings.Contains(fault.HintOf(err), "export --release") {
		t.Errorf("%v, hint %q", err, fault.HintOf(err))
	}
	if _, err := w.service.Edit(t.Context(), "", "stop", "web", 0, func(s *Spec) { s.Power = PowerOff }); !fault.Is(err, fault.Precondition) || !strings.Contains(fault.HintOf(err), "export --release") {
		t.Errorf("%v, hint %q", err, fault.HintOf(err))
	}
	if _, err := w.service.Delete(t.Context(), "", "web", 0, Deletion{Abandon: true}); err != nil {
		t.Error(err)
	}
	w.gone("web")
	if len(w.cloud.instances) != 1 {
		t.Errorf("its provider has %v", w.cloud.instances)
	}
}

func TestWhatCanNotBeGivenBackIsRefusedBefore(t *testing.T) {
	lost := fault.New("ssh", fault.Unavailable, "", "nobody answers")
	for name, c := range map[string]struct {
		prepare func(w *world)
		kind    fault.Kind
		says    string
	}{
		"stopped":   {func(w *world) { w.alter("web", func(m *Machine) { m.Status.Phase = Stopped }) }, fault.Precondition, "is stopped"},
		"half made": {func(w *world) { w.alter("web", func(m *Machine) { m.Status.Phase = Installing }) }, fault.Precondition, "is not ready"},
		"parked": {func(w *world) {
			w.alter("web", func(m *Machine) { m.Status.Failure = &Failure{Kind: "precondition", Generation: m.Generation} })
		}, fault.Precondition, "is not ready"},
		"a swarm's":     {func(w *world) { w.alter("web", func(m *Machine) { m.Spec.Swarm = &Swarm{} }) }, fault.Precondition, "member of a swarm"},
		"being removed": {func(w *world) { w.alter("web", func(m *Machine) { m.Spec.Deleted = true }) }, fault.Precondition, "is being removed"},
		"unreachable":   {func(w *world) { w.ssh.offer = lost }, fault.Unavailable, "nobody answers"},
		"an odd port": {func(w *world) {
			w.alter("web", func(m *Machine) { m.Spec.Driver, m.Spec.Port = "plugin:cloudy", 4000 })
		}, fault.Precondition, "another port"},
		"no key of a CA": {func(w *world) { w.rights.keyless = true }, fault.Precondition, "can't sign"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.create("web", "cloud")
			w.running("web")
			c.prepare(w)
			_, err := w.service.Export(t.Context(), "web", true, true)
			if !fault.Is(err, c.kind) || !strings.Contains(err.Error(), c.says) || c.kind == fault.Precondition && fault.HintOf(err) == "" {
				t.Errorf("%v, hint %q", err, fault.HintOf(err))
			}
			if len(w.ssh.handed)+w.ssh.removed != 0 {
				t.Error("something was done to the host")
			}
		})
	}
	w := newWorld(t)
	w.arrive(t, "web", "plugin:gone")
	if _, err := w.service.Export(t.Context(), "web", true, true); !fault.Is(err, fault.Precondition) || !strings.Contains(err.Error(), "not been taken over yet") {
		t.Errorf("one that is not taken over yet: %v", err)
	}
	m := w.running("web")
	w.ssh.greet = fault.New("ssh", fault.Denied, "", "the host key has changed")
	if _, err := w.service.Export(t.Context(), "web", true, true); err != nil {
		t.Errorf("a host of a store lets nobody in, and its agent is connected: %v", err)
	}
	w.hosts.lose(m.UID, w.now)
	if _, err := w.service.Export(t.Context(), "web", true, true); !fault.Is(err, fault.Denied) {
		t.Errorf("without its agent: %v", err)
	}
}

func TestAHostWithoutAnAgentIsGivenBackWithoutALogin(t *testing.T) {
	w := newWorld(t)
	w.arrive(t, "bare", "plugin:gone", func(a *Arrival) { a.Agentless = "its SSH key is lost" })
	w.stepUntil("bare", Running)
	w.ssh.greet = fault.New("ssh", fault.Denied, "", "there is no key")
	w.release("bare")
	w.gone("bare")
	if w.ssh.removed+len(w.ssh.handed) != 0 {
		t.Error("the host was logged in to")
	}
}

// alter changes a stored record behind everybody's back.
func (w *world) alter(name string, change func(*Machine)) {
	w.t.Helper()
	if _, err := w.service.write(w.t.Context(), name, 0, func(m *Machine) (bool, error) { change(m); return true, nil }); err != nil {
		w.t.Fatal(err)
	}
}
