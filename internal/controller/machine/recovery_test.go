package machine

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"mctl/internal/controller/driver"
	"mctl/internal/fault"
	"mctl/internal/host"
)

func TestTheSameCreateAtTheSameTimeHasOneAnswer(t *testing.T) {
	w := newWorld(t)
	var both sync.WaitGroup
	both.Add(2)
	w.cloud.checked = func() { both.Done(); both.Wait() } // neither is stored before both are checked
	var all sync.WaitGroup
	made := make([]*Machine, 2)
	for i := range made {
		all.Go(func() {
			var err error
			if made[i], err = w.service.Create(context.Background(), "r1", "web", Spec{Driver: "cloud"}, false); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if made[0] == nil || made[1] == nil || made[0].UID != made[1].UID {
		t.Errorf("%+v and %+v", made[0], made[1])
	}
}

func (w *world) gone(name string) {
	w.t.Helper()
	for range 10 {
		if m, err := w.step(name); m == nil && err == nil {
			return
		}
	}
	w.t.Fatalf("%s is still there", name)
}

func TestARemovalThatComesOnceMoreLeavesTheNextMachineOfTheNameAlone(t *testing.T) {
	w := newWorld(t)
	if _, err := w.service.Create(t.Context(), "c1", "web", Spec{Driver: "cloud"}, false); err != nil {
		t.Fatal(err)
	}
	first, err := w.service.Delete(t.Context(), "d1", "web", 0, Deletion{})
	if err != nil {
		t.Fatal(err)
	}
	w.gone("web")
	w.restart()
	again, err := w.service.Delete(t.Context(), "d1", "web", 0, Deletion{})
	if err != nil || again.UID != first.UID {
		t.Errorf("when it is gone: %+v, %v", again, err)
	}
	if _, err := w.service.Create(t.Context(), "c1", "web", Spec{Driver: "cloud"}, false); !fault.Is(err, fault.NotFound) {
		t.Errorf("the creation that came before it: %v", err)
	}
	if _, err := w.service.Delete(t.Context(), "d2", "web", 0, Deletion{}); !fault.Is(err, fault.NotFound) {
		t.Errorf("another removal: %v", err)
	}
	second := w.create("web", "cloud")
	again, err = w.service.Delete(t.Context(), "d1", "web", 0, Deletion{})
	if err != nil || again.UID != first.UID {
		t.Errorf("when another one is there: %+v, %v", again, err)
	}
	if got, err := w.service.Get(t.Context(), "web"); err != nil || got.UID != second.UID || got.Spec.Deleted {
		t.Errorf("the other one: %+v, %v", got, err)
	}
	if _, err := w.service.Edit(t.Context(), "d1", "stop", "web", 0, func(*Spec) {}); !fault.Is(err, fault.Invalid) {
		t.Errorf("its id for another act: %v", err)
	}
}

func TestWhatIsKeptOfGoneMachinesIsForgottenAfterADay(t *testing.T) {
	w := newWorld(t)
	for i, name := range []string{"a", "b"} {
		if _, err := w.service.Create(t.Context(), "r", name, Spec{Driver: "cloud"}, false); err != nil {
			t.Fatal(err)
		}
		if _, err := w.service.Delete(t.Context(), "d", name, 0, Deletion{}); err != nil {
			t.Fatal(err)
		}
		w.gone(name)
		if len(w.store.items) != 1 || w.store.items[gonePrefix+name].Key == "" {
			t.Errorf("round %d: kept are %v", i, w.store.items)
		}
		w.now = w.now.Add(25 * time.Hour)
	}
}

func TestAWriteAtARevisionMayComeOnceMore(t *testing.T) {
	w := newWorld(t)
	m := w.create("web", "cloud")
	for range 2 {
		got, err := w.service.Edit(t.Context(), "r1", "restart", "web", m.Revision, func(s *Spec) { s.Restart++ })
		if err != nil || got.Spec.Restart != 1 {
			t.Fatalf("%+v, %v", got, err)
		}
	}
	if _, err := w.service.Edit(t.Context(), "r2", "restart", "web", m.Revision, func(s *Spec) { s.Restart++ }); !fault.Is(err, fault.Conflict) {
		t.Errorf("another one at the old revision: %v", err)
	}
}

func (w *world) retry(name string) {
	w.edit(name, func(s *Spec) { s.Retry++ })
}

func TestARetryAfterTheAgentDidNotJoinLogsInAnew(t *testing.T) {
	w := newWorld(t)
	w.create("web", "cloud")
	w.stepUntil("web", Joining)
	w.now = w.now.Add(time.Hour)
	if m, _ := w.step("web"); m.Status.Failure == nil {
		t.Fatalf("it waits on in %s", m.Status.Phase)
	}
	w.retry("web")
	w.running("web")
	if len(w.ssh.installed) != 2 || w.ssh.installed[0].Ticket == w.ssh.installed[1].Ticket {
		t.Errorf("%d logins", len(w.ssh.installed))
	}
}

func TestARetryAfterTheAgentWasLostWhileDockerWasInstalledLogsInAnew(t *testing.T) {
	w := newWorld(t)
	m := w.create("web", "cloud")
	w.stepUntil("web", Installing)
	w.hosts.lose(m.UID, w.now)
	w.now = w.now.Add(time.Hour)
	if got, _ := w.step("web"); got.Status.Failure == nil {
		t.Fatalf("it waits on in %s", got.Status.Phase)
	}
	w.retry("web")
	w.running("web")
	if len(w.ssh.installed) != 2 {
		t.Errorf("%d logins", len(w.ssh.installed))
	}
}

func TestARetryAfterTheAgentCameLateFindsIt(t *testing.T) {
	w := newWorld(t)
	m := w.create("web", "cloud")
	w.hosts.boot(m.UID, "boot-1", w.now)
	w.running("web")
	w.edit("web", func(s *Spec) { s.Power = PowerOff })
	w.stepUntil("web", Stopped)
	w.hosts.lose(m.UID, w.now)
	w.edit("web", func(s *Spec) { s.Power = PowerOn })
	for range 3 {
		w.now = w.now.Add(time.Hour)
		if _, err := w.step("web"); err != nil {
			t.Fatal(err)
		}
	}
	if got, _ := w.service.Get(t.Context(), "web"); got.Status.Failure == nil {
		t.Fatalf("it waits on in %s", got.Status.Phase)
	}
	w.hosts.boot(m.UID, "boot-2", w.now)
	w.now = w.now.Add(time.Hour)
	w.retry("web")
	w.hosts.apply(m.UID, nil)
	for range 5 { // without another session
		if _, err := w.step("web"); err != nil {
			t.Fatal(err)
		}
		w.hosts.apply(m.UID, nil)
	}
	if got, _ := w.service.Get(t.Context(), "web"); got.Status.Phase != Running || len(w.ssh.installed) != 0 {
		t.Errorf("%s, %d logins", got.Status.Phase, len(w.ssh.installed))
	}
}

// A controller that was killed between a reboot and the note of it asks the host, and reboots it once.
func TestARestartIsMadeOnceAlsoOverAKill(t *testing.T) {
	for name, c := range map[string]struct {
		boot   string // as the agent says that comes back
		before bool   // the kill came before the act
		starts int
	}{
		"after the act": {boot: "boot-2", starts: 1}, "before the act": {boot: "boot-1", before: true, starts: 1},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			m := w.create("web", "cloud")
			w.hosts.boot(m.UID, "boot-1", w.now)
			w.running("web")
			w.edit("web", func(s *Spec) { s.Restart++ })
			w.stepUntil("web", Starting)
			w.now = w.now.Add(time.Second)
			if !c.before {
				w.store.err = errors.New("killed")
				if _, err := w.step("web"); err == nil {
					t.Fatal("the outcome was stored")
				}
			}
			w.hosts.lose(m.UID, w.now)
			w.restart()
			w.now = w.now.Add(time.Second)
			if _, err := w.step("web"); err != nil {
				t.Fatal(err)
			}
			if got := w.cloud.starts; !c.before && got != 1 || c.before && got != 0 {
				t.Fatalf("%d starts before the agent could tell", got)
			}
			w.hosts.boot(m.UID, c.boot, w.now)
			for range 3 {
				w.now = w.now.Add(time.Second)
				if _, err := w.step("web"); err != nil {
					t.Fatal(err)
				}
			}
			got, _ := w.service.Get(t.Context(), "web")
			if w.cloud.starts != c.starts || got.Status.DoneRestart != 1 {
				t.Errorf("%d starts, %d restarts done", w.cloud.starts, got.Status.DoneRestart)
			}
			if c.before && got.Status.Phase != Starting {
				t.Errorf("phase %s: the session of the old boot counts as the new one's", got.Status.Phase)
			}
			w.hosts.boot(m.UID, "boot-2", w.now.Add(time.Second))
			w.running("web")
		})
	}
}

func TestAnAgentThatIsFasterThanItsProviderIsSeen(t *testing.T) {
	w := newWorld(t)
	m := w.create("web", "cloud")
	w.hosts.boot(m.UID, "boot-1", w.now)
	w.running("web")
	w.edit("web", func(s *Spec) { s.Restart++ })
	w.now = w.now.Add(time.Second)
	w.stepUntil("web", Starting)
	w.cloud.booted = func() { // it connects while the provider is still at it
		w.now = w.now.Add(time.Second)
		w.hosts.boot(m.UID, "boot-2", w.now)
		w.now = w.now.Add(time.Second)
	}
	if _, err := w.step("web"); err != nil {
		t.Fatal(err)
	}
	w.cloud.booted = nil
	if got, err := w.step("web"); err != nil || got.Status.Phase != Installing {
		t.Errorf("%s, %v", got.Status.Phase, err)
	}
}

func TestARestartIsMadeWhenTheAgentTellsNothing(t *testing.T) {
	w := newWorld(t)
	m := w.create("web", "cloud")
	w.hosts.boot(m.UID, "boot-1", w.now)
	w.running("web")
	w.edit("web", func(s *Spec) { s.Restart++ })
	w.stepUntil("web", Starting)
	w.hosts.lose(m.UID, w.now)
	w.now = w.now.Add(time.Second)
	w.restart()
	w.now = w.now.Add(settleTime)
	if _, err := w.step("web"); err != nil || w.cloud.starts != 1 {
		t.Errorf("%d starts, %v", w.cloud.starts, err)
	}
}

func TestTheAddressOfAHostThatBootedBehindOurBackIsFollowed(t *testing.T) {
	for name, c := range map[string]struct {
		seen bool
		boot string
	}{"seen off": {true, "boot-2"}, "not seen": {false, "boot-2"}, "seen off by mistake": {true, "boot-1"}} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			m := w.create("web", "cloud")
			w.hosts.boot(m.UID, "boot-1", w.now)
			w.running("web")
			w.hosts.lose(m.UID, w.now)
			instance := w.cloud.instances[m.UID]
			if c.seen {
				instance.Power, instance.Addresses = driver.Stopped, nil
				w.now = w.now.Add(time.Minute)
				if got, _ := w.step("web"); w.service.View(got).State != "Stopped" {
					t.Fatalf("%+v", got.Status)
				}
			}
			w.hosts.boot(m.UID, c.boot, w.now)
			if c.seen { // the agent is faster than its provider
				if got, err := w.step("web"); err != nil || got.Status.Phase != Running {
					t.Fatalf("%+v, %v", got, err)
				}
			}
			instance.Power, instance.Addresses = driver.Running, []string{"192.0.2.201"}
			for range 3 {
				got, err := w.step("web")
				if err != nil {
					t.Fatal(err)
				}
				if got.Status.Phase == Installing {
					w.hosts.apply(m.UID, nil)
				}
			}
			got, _ := w.service.Get(t.Context(), "web")
			if got.Address() != "192.0.2.201" || got.Status.Phase != Running || got.Status.Host.BootID != c.boot {
				t.Errorf("%s in %s, boot %s", got.Address(), got.Status.Phase, got.Status.Host.BootID)
			}
			if !slices.Contains(w.hosts.wishes[m.UID].Desired.Front.SANs, "192.0.2.201") {
				t.Errorf("names %v", w.hosts.wishes[m.UID].Desired.Front.SANs)
			}
		})
	}
}

func TestAHostThatIsResumedBehindOurBackRuns(t *testing.T) {
	w := newWorld(t)
	m := w.create("web", "cloud")
	w.hosts.boot(m.UID, "boot-1", w.now)
	w.running("web")
	w.hosts.lose(m.UID, w.now)
	w.now = w.now.Add(time.Minute)
	w.cloud.instances[m.UID].Power = driver.Paused
	if got, _ := w.step("web"); w.service.View(got).State != "Paused" {
		t.Fatalf("%+v", got.Status)
	}
	w.hosts.boot(m.UID, "boot-1", w.now)
	if got, err := w.step("web"); err != nil || w.service.View(got).State != "Running" {
		t.Errorf("%+v, %v", got.Status, err)
	}
}

func TestToProvisionAHostWhoseAgentIsLostIsToLogInAnew(t *testing.T) {
	w := newWorld(t)
	m := w.create("web", "cloud")
	w.running("web")
	w.hosts.lose(m.UID, w.now)
	w.now = w.now.Add(time.Hour)
	w.edit("web", func(s *Spec) { s.Regenerate++ })
	if got, err := w.step("web"); err != nil || got.Status.Phase != Running {
		t.Fatalf("another wish: %s, %v", got.Status.Phase, err)
	}
	w.edit("web", func(s *Spec) { s.Provision++ })
	w.running("web")
	if len(w.ssh.installed) != 2 {
		t.Errorf("%d logins", len(w.ssh.installed))
	}
}

func TestWhoAsksWhileAStepFailsIsGivenTheWholeTimeAnew(t *testing.T) {
	w := newWorld(t)
	w.create("web", "cloud")
	w.stepUntil("web", Booting)
	w.now = w.now.Add(time.Hour)
	w.ssh.during = func() { w.retry("web") }
	w.ssh.install = fault.New("ssh", fault.Unavailable, "", "no answer")
	if m, err := w.step("web"); err != nil || m.Status.Failure != nil || !m.Status.PhaseTime.Equal(w.now) {
		t.Fatalf("%+v, %v", m.Status, err)
	}
	w.ssh.during = nil
	if m, err := w.step("web"); !fault.Is(err, fault.Unavailable) || m.Status.Failure != nil {
		t.Errorf("the next try: %+v, %v", m.Status.Failure, err)
	}
}

func TestARollbackIsMadeAlsoOverAKill(t *testing.T) {
	w := newWorld(t)
	w.create("web", "cloud", func(s *Spec) { s.Rollback = true })
	w.ssh.install = fault.New("ssh", fault.Precondition, "", "no systemd")
	w.stepUntil("web", Booting)
	m, err := w.service.load(t.Context(), "web", true)
	if err != nil {
		t.Fatal(err)
	}
	w.service.park(m, w.ssh.install) // and the kill comes before the wish to delete it
	if err := w.service.save(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	w.restart()
	w.gone("web")
	if len(w.cloud.instances) != 0 {
		t.Error("the host is left")
	}
}

func TestTheLastWordOfAnAgentThatGaveItsHostBackCountsAfterItsSession(t *testing.T) {
	w := newWorld(t)
	m := w.create("old", "lent")
	w.running("old")
	w.ssh.remove = fault.New("ssh", fault.Denied, "", "there is no key to log in with")
	if _, err := w.service.Delete(t.Context(), "", "old", 0, Deletion{}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.step("old"); err != nil {
		t.Fatal(err)
	}
	if _, err := w.step("old"); !fault.Is(err, fault.Unavailable) || w.hosts.wishes[m.UID].Desired.Release == nil {
		t.Fatalf("it was not asked to give itself back: %v", err)
	}
	o := w.hosts.observed[m.UID]
	o.Applied, o.Connected = host.Applied{Released: true}, false
	w.hosts.observed[m.UID] = o
	tries := w.ssh.removed
	w.gone("old")
	if w.ssh.removed != tries {
		t.Error("it was logged in to once more")
	}
}

func TestAHostWhoseOwnerLendsAKeyIsGivenBackOverSSHAlthoughItsAgentIsConnected(t *testing.T) {
	w := newWorld(t)
	m := w.create("old", "lent")
	w.running("old")
	if _, err := w.service.Delete(t.Context(), "", "old", 0, Deletion{}); err != nil {
		t.Fatal(err)
	}
	w.gone("old")
	if w.ssh.removed != 1 || w.hosts.wishes[m.UID].Desired.Release != nil {
		t.Errorf("removed %d times over SSH, the agent was asked for %+v", w.ssh.removed, w.hosts.wishes[m.UID].Desired.Release)
	}
}

func TestAHostThatLetsNobodyInIsGivenBackByItsAgent(t *testing.T) {
	w := newWorld(t)
	m := w.create("old", "adopt")
	w.running("old")
	w.ssh.remove = fault.New("ssh", fault.Denied, "", "the host key has changed")
	if _, err := w.service.Delete(t.Context(), "", "old", 0, Deletion{}); err != nil {
		t.Fatal(err)
	}
	w.hosts.lose(m.UID, w.now)
	for range 2 {
		if _, err := w.step("old"); err != nil {
			t.Fatal(err)
		}
	}
	if parked, err := w.service.Get(t.Context(), "old"); err != nil || parked.Status.Failure == nil || parked.Status.Failure.Message != "the host key has changed" {
		t.Fatalf("without its agent: %+v, %v", parked, err)
	}
	w.hosts.connect(m.UID, w.now)
	if _, err := w.service.Delete(t.Context(), "", "old", 0, Deletion{}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.step("old"); !fault.Is(err, fault.Unavailable) || w.hosts.wishes[m.UID].Desired.Release == nil {
		t.Fatalf("its agent was not asked: %v", err)
	}
	o := w.hosts.observed[m.UID]
	o.Applied = host.Applied{Released: true}
	w.hosts.observed[m.UID] = o
	w.gone("old")
}

func TestAHostIsGivenBackOnceAlsoWhenWhatFollowsFails(t *testing.T) {
	w := newWorld(t)
	w.create("old", "adopt")
	w.running("old")
	if _, err := w.service.Delete(t.Context(), "", "old", 0, Deletion{}); err != nil {
		t.Fatal(err)
	}
	w.rights.err = fault.New("ca", fault.Unavailable, "", "no room on the disk")
	for range 5 {
		if m, _ := w.step("old"); m == nil {
			t.Fatal("the record went before the right")
		}
	}
	w.restart()
	w.rights.err = nil
	w.gone("old")
	if w.ssh.removed != 1 {
		t.Errorf("given back %d times", w.ssh.removed)
	}
}

func TestHostsAreToldWhereAControllerThatMovedIs(t *testing.T) {
	w := newWorld(t)
	m := w.create("web", "cloud")
	w.running("web")
	if got := w.hosts.wishes[m.UID].Endpoints; !slices.Equal(got, []string{"192.0.2.1:4000"}) {
		t.Errorf("at first %v", got)
	}
	w.advertise = []string{"203.0.113.1:4000"}
	w.restart()
	if _, err := w.step("web"); err != nil {
		t.Fatal(err)
	}
	if got := w.hosts.wishes[m.UID].Endpoints; !slices.Equal(got, w.advertise) {
		t.Errorf("then %v", got)
	}
}
