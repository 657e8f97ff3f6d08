package machine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"mctl/internal/controller/driver"
	"mctl/internal/fault"
	"mctl/internal/host"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestACreateGoesThroughEveryPhase(t *testing.T) {
	w := newWorld(t)
	m := w.create("web", "cloud")
	var phases []Phase
	for range 20 {
		got, err := w.step("web")
		if err != nil {
			t.Fatal(err)
		}
		if len(phases) == 0 || phases[len(phases)-1] != got.Status.Phase {
			phases = append(phases, got.Status.Phase)
		}
		switch got.Status.Phase {
		case Joining:
			w.hosts.connect(m.UID, w.now)
		case Installing:
			w.hosts.apply(m.UID, nil)
		}
	}
	if want := []Phase{Creating, Booting, Joining, Installing, Running}; !slices.Equal(phases, want) {
		t.Errorf("phases %v, want %v", phases, want)
	}
	got, _ := w.service.Get(t.Context(), "web")
	if got.Status.ObservedGeneration != 1 || got.Address() != "192.0.2.1" || got.Status.Engine.Version != "29.0" {
		t.Errorf("status %+v", got.Status)
	}
	if v := w.service.View(got); v.State != "Running" || v.Error != "" {
		t.Errorf("view %+v", v)
	}
	if sans := w.hosts.wishes[m.UID].Desired.Front.SANs; !slices.Contains(sans, "192.0.2.1") || !slices.Contains(sans, "web") {
		t.Errorf("SANs %v", sans)
	}
}

func TestAnEngineThatWasLongInInstallingGetsItsTimeToStartAllTheSame(t *testing.T) {
	w := newWorld(t)
	m := w.create("web", "cloud")
	w.stepUntil("web", Installing)
	if _, err := w.step("web"); err != nil { // leaves the wish
		t.Fatal(err)
	}
	w.now = w.now.Add(time.Minute)
	w.hosts.apply(m.UID, nil)
	o := w.hosts.observed[m.UID]
	for _, c := range []struct {
		wait time.Duration
		up   bool
		want Phase
	}{{0, false, Installing}, {engineGrace / 2, false, Installing}, {0, true, Running}} {
		w.now = w.now.Add(c.wait)
		o.Health = &host.Health{EngineUp: c.up}
		w.hosts.observed[m.UID] = o
		if got, err := w.step("web"); err != nil || got.Status.Phase != c.want {
			t.Fatalf("engine up %t: phase %s, %v", c.up, got.Status.Phase, err)
		}
	}
}

func TestDockersRepositoryIsAskedOnceAndOnlyWhereItMatters(t *testing.T) {
	for name, c := range map[string]struct {
		install   host.Install
		url       string
		asked     int
		reachable bool
	}{
		"auto":               {install: host.InstallAuto, asked: 1, reachable: true},
		"auto with a script": {install: host.InstallAuto, url: "https://get.example.com"},
		"distro":             {install: host.InstallDistro},
		"docker":             {install: host.InstallDocker},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			for _, machine := range []string{"one", "two"} {
				m := w.create(machine, "cloud", func(s *Spec) { s.Engine.Install, s.Engine.InstallURL = c.install, c.url })
				w.running(machine)
				if got := w.hosts.wishes[m.UID].Desired.Engine.RepositoryReachable; got != c.reachable {
					t.Errorf("the host is told %t", got)
				}
			}
			w.mu.Lock()
			defer w.mu.Unlock()
			if w.asked != c.asked {
				t.Errorf("asked %d times, want %d", w.asked, c.asked)
			}
		})
	}
}

func TestARestartAtEveryStepBoundaryEndsInOneHost(t *testing.T) {
	for seed := range uint64(50) {
		random := rand.New(rand.NewPCG(seed, 0))
		w := newWorld(t)
		m := w.create("web", "cloud")
		for range 60 {
			if random.IntN(2) == 0 {
				w.restart()
			}
			if random.IntN(4) == 0 {
				w.cloud.faults = append(w.cloud.faults, fault.New("cloud", fault.Unavailable, "", "try later"))
			}
			if random.IntN(4) == 0 {
				w.cloud.afterMake = fault.New("cloud", fault.Unavailable, "", "the answer was lost")
			}
			got, _ := w.step("web")
			if got.Status.Failure != nil {
				t.Fatalf("seed %d: parked: %+v", seed, got.Status.Failure)
			}
			switch got.Status.Phase {
			case Joining:
				w.hosts.connect(m.UID, w.now)
			case Installing:
				w.hosts.apply(m.UID, nil)
			}
		}
		if got, _ := w.service.Get(t.Context(), "web"); got.Status.Phase != Running || len(w.cloud.instances) != 1 || w.cloud.made != 1 {
			t.Fatalf("seed %d: phase %s, %d hosts, %d made", seed, got.Status.Phase, len(w.cloud.instances), w.cloud.made)
		}
	}
}

func TestNothingIsStoredWhenACreateIsRefused(t *testing.T) {
	refused := fault.New("cloud", fault.Denied, "", "bad credentials").WithHint("log in")
	for name, c := range map[string]struct {
		machine, driver string
		options         driver.Options
		prepare         func(*world)
		kind            fault.Kind
		reason          string
	}{
		"bad name":         {machine: "_x", driver: "cloud", kind: fault.Invalid},
		"escape in name":   {machine: "a\x1b[31m", driver: "cloud", kind: fault.Invalid},
		"too long":         {machine: strings.Repeat("a", 64), driver: "cloud", kind: fault.Invalid},
		"unknown driver":   {machine: "web", driver: "nowhere", kind: fault.NotFound},
		"unknown flag":     {machine: "web", driver: "cloud", options: driver.Options{"x": {}}, kind: fault.Invalid, reason: fault.ReasonUsage},
		"flag of bad type": {machine: "web", driver: "cloud", options: driver.Options{"cloud-size": {Values: []string{"big"}}}, kind: fault.Invalid, reason: fault.ReasonUsage},
		"pre-check":        {machine: "web", driver: "cloud", prepare: func(w *world) { w.cloud.preflight = refused }, kind: fault.Denied, reason: fault.ReasonPrecheck},
		"host unreachable": {machine: "web", driver: "adopt", prepare: func(w *world) { w.ssh.check = fault.New("ssh", fault.Unavailable, "", "no route") }, kind: fault.Unavailable, reason: fault.ReasonPrecheck},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			if c.prepare != nil {
				c.prepare(w)
			}
			_, err := w.service.Create(t.Context(), "", c.machine, Spec{Driver: c.driver, Options: c.options}, false)
			if fault.KindOf(err) != c.kind || fault.ReasonOf(err) != c.reason {
				t.Errorf("got %v, kind %s, reason %q; want kind %s, reason %q", err, fault.KindOf(err), fault.ReasonOf(err), c.kind, c.reason)
			}
			if len(w.store.items) != 0 {
				t.Error("something was stored")
			}
		})
	}
}

func TestARepeatedRequestMakesNothingNew(t *testing.T) {
	w := newWorld(t)
	spec := Spec{Driver: "cloud"}
	first, err := w.service.Create(t.Context(), "r1", "web", spec, false)
	if err != nil {
		t.Fatal(err)
	}
	again, err := w.service.Create(t.Context(), "r1", "web", spec, false)
	if err != nil || again.UID != first.UID {
		t.Fatalf("the same request: %v, %v", again, err)
	}
	if _, err := w.service.Create(t.Context(), "r2", "web", spec, false); !fault.Is(err, fault.Exists) {
		t.Fatalf("another request: %v", err)
	}
	edit := func(s *Spec) { s.Restart++ }
	for range 3 {
		if _, err := w.service.Edit(t.Context(), "r3", "restart", "web", 0, edit); err != nil {
			t.Fatal(err)
		}
	}
	got, _ := w.service.Get(t.Context(), "web")
	if got.Spec.Restart != 1 || got.Generation != 2 {
		t.Errorf("restart %d, generation %d; want 1 and 2", got.Spec.Restart, got.Generation)
	}
	if _, err := w.service.Edit(t.Context(), "r3", "stop", "web", 0, edit); !fault.Is(err, fault.Invalid) {
		t.Errorf("the id for another act: %v", err)
	}
	if _, err := w.service.Edit(t.Context(), "", "stop", "web", got.Revision-1, edit); !fault.Is(err, fault.Conflict) {
		t.Errorf("an old revision: %v", err)
	}
}

func TestSecretsAreSealedAndNeverPrinted(t *testing.T) {
	w := newWorld(t)
	w.create("web", "cloud", func(s *Spec) { s.Options["cloud-token"] = driver.Option{Content: []byte("hunter2-hunter2")} })
	m := w.running("web")
	stored := w.store.items["machine/web"].Value
	for _, secret := range []string{"hunter2-hunter2", "PRIVATE KEY"} {
		if bytes.Contains(stored, []byte(secret)) {
			t.Errorf("%q stands in the store in clear", secret)
		}
	}
	if m.SSHKey != nil || len(m.Spec.Options["cloud-token"].Content) != 0 {
		t.Error("a reader was given a secret")
	}
	full, err := w.service.load(t.Context(), "web", true)
	if err != nil || string(full.Spec.Options["cloud-token"].Content) != "hunter2-hunter2" {
		t.Fatalf("the secret is lost: %v", err)
	}
	if printed := fmt.Sprintf("%v %+v %#v", full.SSHKey, full.SSHKey, full.SSHKey); strings.Contains(printed, "PRIVATE") {
		t.Error("the key prints")
	}
}

func TestAFaultThatPassesIsTriedAgainAndThenParks(t *testing.T) {
	w := newWorld(t)
	w.create("web", "cloud")
	if _, err := w.step("web"); err != nil {
		t.Fatal(err)
	}
	w.cloud.faults = slices.Repeat([]error{fault.New("cloud", fault.Quota, "", "no room").WithHint("try another zone")}, 2)
	m, err := w.step("web")
	if !fault.Is(err, fault.Quota) || m.Status.Failure != nil {
		t.Fatalf("first time: %v, parked %v", err, m.Status.Failure)
	}
	w.now = w.now.Add(time.Hour)
	if m, err = w.step("web"); err != nil || m.Status.Failure == nil || m.Status.Failure.Hint != "try another zone" {
		t.Fatalf("after an hour: %v, %+v", err, m.Status.Failure)
	}
	if v := w.service.View(m); v.State != "Error" || !strings.Contains(v.Error, "no room") {
		t.Errorf("view %+v", v)
	}
	if _, err := w.service.Edit(t.Context(), "", "retry", "web", 0, func(s *Spec) { s.Retry++ }); err != nil {
		t.Fatal(err)
	}
	w.running("web")
}

func TestAnotherFaultParksAtOnce(t *testing.T) {
	w := newWorld(t)
	m := w.create("web", "cloud")
	w.stepUntil("web", Installing)
	if _, err := w.step("web"); err != nil { // leaves the wish
		t.Fatal(err)
	}
	w.hosts.apply(m.UID, &host.Failure{Kind: string(fault.Precondition), Message: "disk full", Hint: "make room, then run `mctl retry`"})
	got, _ := w.step("web")
	if f := got.Status.Failure; f == nil || !strings.Contains(f.Message, "disk full") || f.Hint != "make room, then run `mctl retry web`" || got.Status.Phase != Installing {
		t.Fatalf("failure %+v in %s", f, got.Status.Phase)
	}
	writes := w.store.writes
	for range 5 {
		if _, err := w.step("web"); err != nil {
			t.Fatal(err)
		}
	}
	if w.store.writes != writes {
		t.Error("a parked machine writes to the store")
	}
}

func TestRollbackRemovesWhatFailed(t *testing.T) {
	w := newWorld(t)
	w.create("web", "cloud", func(s *Spec) { s.Rollback = true })
	w.ssh.install = fault.New("ssh", fault.Precondition, "", "no systemd")
	for range 10 {
		if m, _ := w.step("web"); m == nil {
			break
		}
	}
	if len(w.store.items) != 0 || len(w.cloud.instances) != 0 {
		t.Errorf("left: %d records, %d hosts", len(w.store.items), len(w.cloud.instances))
	}
}

func TestStopAndStartFollowTheAddress(t *testing.T) {
	w := newWorld(t)
	m := w.create("web", "cloud")
	w.running("web")
	w.edit("web", func(s *Spec) { s.Power = PowerOff })
	w.stepUntil("web", Stopped)
	got, _ := w.step("web")
	if got.Status.ObservedGeneration != 2 || got.Address() != "" || w.service.View(got).State != "Stopped" {
		t.Fatalf("stopped: %+v", got.Status)
	}
	o := w.hosts.observed[m.UID]
	o.Connected = false
	w.hosts.observed[m.UID] = o
	w.edit("web", func(s *Spec) { s.Power = PowerOn })
	got = w.running("web")
	if got.Address() != "192.0.2.200" || !slices.Contains(w.hosts.wishes[m.UID].Desired.Front.SANs, "192.0.2.200") {
		t.Errorf("address %s, SANs %v", got.Address(), w.hosts.wishes[m.UID].Desired.Front.SANs)
	}
}

func TestARestartHappensOnceForEachThatIsAskedFor(t *testing.T) {
	w := newWorld(t)
	w.create("web", "cloud")
	w.running("web")
	w.edit("web", func(s *Spec) { s.Restart++ })
	w.now = w.now.Add(time.Minute)
	m := w.stepUntil("web", Starting)
	if m.Status.Phase != Starting {
		t.Fatalf("phase %s", m.Status.Phase)
	}
	if m, _ = w.step("web"); m.Status.Phase != Starting {
		t.Fatal("a session from before the restart counts as the host being back")
	}
	w.hosts.connect(m.UID, w.now.Add(time.Second))
	if m = w.running("web"); m.Status.DoneRestart != 1 {
		t.Errorf("done %d restarts", m.Status.DoneRestart)
	}
}

func TestAnAdoptedHostIsRebootedOnceForEachRestartThatIsAskedFor(t *testing.T) {
	w := newWorld(t)
	w.create("old", "adopt")
	w.running("old")
	w.edit("old", func(s *Spec) { s.Restart++ })
	w.now = w.now.Add(time.Minute)
	m := w.stepUntil("old", Starting)
	for range 3 {
		if m, _ = w.step("old"); m.Status.Phase != Starting || m.Status.Failure != nil {
			t.Fatalf("while it boots: %+v", m.Status)
		}
	}
	w.now = w.now.Add(5 * time.Minute) // a real computer takes its time
	w.hosts.connect(m.UID, w.now)
	if m = w.running("old"); m.Status.DoneRestart != 1 || w.ssh.rebooted != 1 {
		t.Errorf("done %d restarts, rebooted %d times", m.Status.DoneRestart, w.ssh.rebooted)
	}
}

func TestAnAdoptedHostThatCannotBeRebootedGoesOnAsItWas(t *testing.T) {
	w := newWorld(t)
	w.create("old", "lent")
	w.running("old")
	w.ssh.reboot = fault.New("bootstrap", fault.Denied, "old", "there is no key").WithHint("add it")
	w.edit("old", func(s *Spec) { s.Restart++ })
	m := w.stepUntil("old", Installing)
	if m.Status.Failure == nil || m.Status.Failure.Message != "there is no key" {
		t.Fatalf("it is %+v", m.Status)
	}
	w.edit("old", func(*Spec) {}) // a retry
	if m = w.running("old"); w.ssh.rebooted != 1 {
		t.Errorf("tried %d times, it is %+v", w.ssh.rebooted, m.Status)
	}
	for force, says := range map[bool]string{false: "lent driver does not support stop", true: "lent driver does not support kill"} {
		_, err := w.service.Edit(t.Context(), "", "stop", "old", 0, func(s *Spec) { s.Power, s.Force = PowerOff, force })
		if !fault.Is(err, fault.Precondition) || err.Error() != says || fault.HintOf(err) == "" {
			t.Errorf("force %v: %v", force, err)
		}
	}
}

func (w *world) edit(name string, change func(*Spec)) {
	w.t.Helper()
	if _, err := w.service.Edit(w.t.Context(), "", "edit", name, 0, change); err != nil {
		w.t.Fatal(err)
	}
}

func TestADeletionDuringACreateLeavesNothing(t *testing.T) {
	w := newWorld(t)
	w.create("web", "cloud")
	if _, err := w.step("web"); err != nil {
		t.Fatal(err)
	}
	w.cloud.block = make(chan struct{})
	done := make(chan error, 1)
	go func() {
		_, err := w.service.Step(context.Background(), "web")
		done <- err
	}()
	// The step is under way once it can be ended.
	for {
		w.service.mu.Lock()
		_, under := w.service.steps["web"]
		w.service.mu.Unlock()
		if under {
			break
		}
	}
	if _, err := w.service.Delete(t.Context(), "", "web", 0, Deletion{}); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
		t.Fatalf("the step that was ended: %v", err)
	}
	for range 5 {
		if m, err := w.step("web"); m == nil && err == nil {
			break
		}
	}
	if len(w.store.items) != 0 || len(w.cloud.instances) != 0 || len(w.rights.revoked) != 1 {
		t.Errorf("left: %d records, %d hosts; revoked %v", len(w.store.items), len(w.cloud.instances), w.rights.revoked)
	}
}

func TestARemovalThatTheProviderRefusesKeepsTheRecordUnlessForced(t *testing.T) {
	w := newWorld(t)
	w.create("web", "cloud")
	w.running("web")
	w.cloud.faults = []error{fault.New("cloud", fault.Denied, "", "not yours")}
	if _, err := w.service.Delete(t.Context(), "", "web", 0, Deletion{}); err != nil {
		t.Fatal(err)
	}
	m := w.stepUntil("web", Running) // until parked
	if m == nil || m.Status.Phase != Deleting || m.Status.Failure == nil {
		t.Fatalf("machine %+v", m)
	}
	w.cloud.faults = []error{fault.New("cloud", fault.Denied, "", "not yours")}
	again, err := w.service.Delete(t.Context(), "", "web", 0, Deletion{Force: true})
	if err != nil {
		t.Fatal(err)
	}
	if view := w.service.View(again); view.Error != "not yours" {
		t.Errorf("asked for again, and not tried yet, it says %q", view.Error)
	}
	if m := w.stepUntil("web", Running); m != nil {
		t.Fatalf("after force: %+v", m)
	}
}

func TestAnAdoptedHostIsGivenBack(t *testing.T) {
	w := newWorld(t)
	w.create("old", "adopt")
	w.running("old")
	if _, err := w.service.Edit(t.Context(), "", "stop", "old", 0, func(s *Spec) { s.Power = PowerOff }); !fault.Is(err, fault.Precondition) {
		t.Errorf("stop: %v", err)
	}
	if w.ssh.installed[0].Hostname != "" {
		t.Error("an adopted host would be renamed")
	}
	if _, err := w.service.Delete(t.Context(), "", "old", 0, Deletion{}); err != nil {
		t.Fatal(err)
	}
	w.stepUntil("old", Pending)
	if w.ssh.removed != 1 {
		t.Errorf("removed %d times", w.ssh.removed)
	}
}

func TestAHostBehindOurBack(t *testing.T) {
	w := newWorld(t)
	m := w.create("web", "cloud")
	w.running("web")
	o := w.hosts.observed[m.UID]
	o.Connected, o.Since = false, w.now
	w.hosts.observed[m.UID] = o
	w.now = w.now.Add(time.Minute)
	got, _ := w.step("web")
	if v := w.service.View(got); !strings.HasPrefix(v.Error, "agent not connected since") || v.State != "Running" {
		t.Errorf("silent: %+v", v)
	}
	w.cloud.instances[m.UID].Power = driver.Stopped
	got, _ = w.step("web")
	if v := w.service.View(got); v.State != "Stopped" || v.Error != "" {
		t.Errorf("powered off: %+v", v)
	}
	w.edit("web", func(s *Spec) { s.Power = PowerOn })
	if got = w.running("web"); got.Status.Power != driver.Running {
		t.Errorf("power %s", got.Status.Power)
	}
	o = w.hosts.observed[m.UID]
	o.Connected = false
	w.hosts.observed[m.UID] = o
	delete(w.cloud.instances, m.UID)
	if got, _ = w.step("web"); got.Status.Failure == nil || got.Status.Failure.Kind != string(fault.NotFound) {
		t.Errorf("gone: %+v", got.Status.Failure)
	}
}

func TestAnIdleMachineWritesNothing(t *testing.T) {
	w := newWorld(t)
	w.create("web", "cloud")
	w.running("web")
	writes := w.store.writes
	for range 10 {
		if _, err := w.step("web"); err != nil {
			t.Fatal(err)
		}
	}
	if w.store.writes != writes {
		t.Errorf("%d writes", w.store.writes-writes)
	}
}

func TestNaturalOrder(t *testing.T) {
	names := []string{"n10", "N2", "n1", "a", "n02", "n2b", "n2"}
	slices.SortFunc(names, NaturalCompare)
	if want := []string{"a", "n1", "N2", "n02", "n2", "n2b", "n10"}; !slices.Equal(names, want) {
		t.Errorf("got %v, want %v", names, want)
	}
}

func TestNoMoveLeavesDeleting(t *testing.T) {
	for from := range moves {
		if from != Deleting && !CanMove(from, Deleting) {
			t.Errorf("%s can't be deleted", from)
		}
		if CanMove(Deleting, from) {
			t.Errorf("deleting may become %s", from)
		}
	}
}

func TestAStopThatFailedCanBeTakenBack(t *testing.T) {
	for name, c := range map[string]struct {
		connected bool
		next      Phase
	}{"the host never went down": {true, Running}, "nobody knows": {false, Starting}} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.create("web", "cloud")
			uid := w.running("web").UID
			w.cloud.faults = []error{fault.New("cloud", fault.Precondition, "", "it does not support stop")}
			w.edit("web", func(s *Spec) { s.Power = PowerOff })
			if m := w.stepUntil("web", Stopped); m.Status.Failure == nil || m.Status.Phase != Stopping {
				t.Fatalf("a stop that failed: %+v", m.Status)
			}
			if !c.connected {
				w.hosts.lose(uid, w.now)
			}
			w.edit("web", func(s *Spec) { s.Power = PowerOn })
			if m, err := w.step("web"); err != nil || m.Status.Phase != c.next || m.Status.Failure != nil {
				t.Fatalf("%v: %+v", err, m.Status)
			}
			if c.connected {
				if m := w.running("web"); m.Status.Power != driver.Running {
					t.Errorf("%+v", m.Status)
				}
			}
		})
	}
}

func TestARemovalThatPersistsIsNeverParkedAndTellsWhy(t *testing.T) {
	w := newWorld(t)
	w.create("web", "cloud")
	w.running("web")
	refused := fault.New("cloud", fault.Denied, "", "not yours")
	w.cloud.faults = []error{refused, refused, refused}
	if _, err := w.service.Delete(t.Context(), "", "web", 0, Deletion{Persist: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.step("web"); err != nil { // to deleting
		t.Fatal(err)
	}
	for range 2 {
		w.now = w.now.Add(time.Hour) // longer than anybody has patience
		m, err := w.step("web")
		if !fault.Is(err, fault.Denied) || m == nil || m.Status.Failure != nil {
			t.Fatalf("%v, machine %+v", err, m)
		}
		if view := w.service.View(m); view.Error != "not yours" || view.State != stateStopping {
			t.Errorf("it is shown as %q, %q", view.State, view.Error)
		}
	}
	w.restart() // who starts anew goes on
	if m, err := w.step("web"); err == nil || m == nil || m.Status.Failure != nil || !m.Spec.DeletePersist {
		t.Fatalf("after a restart: %v, %+v", err, m)
	}
	// Who asks without force afterwards does not take the promise back.
	if _, err := w.service.Delete(t.Context(), "", "web", 0, Deletion{}); err != nil {
		t.Fatal(err)
	}
	if m := w.stepUntil("web", Running); m != nil || len(w.cloud.instances) != 0 {
		t.Fatalf("it is still there: %+v, %d hosts", m, len(w.cloud.instances))
	}
}

func TestAnAdoptedHostIsGivenUpByAPersistentRemoval(t *testing.T) {
	w := newWorld(t)
	w.create("old", "adopt")
	w.running("old")
	w.ssh.remove = fault.New("ssh", fault.Unavailable, "", "no route to host")
	w.hosts.observed = map[string]host.Observed{}
	if _, err := w.service.Delete(t.Context(), "", "old", 0, Deletion{Persist: true}); err != nil {
		t.Fatal(err)
	}
	if m := w.stepUntil("old", Running); m != nil {
		t.Errorf("it is kept for a host that costs nobody anything: %+v", m)
	}
}

func TestPowerOffEndsTheStepThatWaitsForTheHost(t *testing.T) {
	w := newWorld(t)
	w.create("web", "cloud")
	w.stepUntil("web", Booting)
	ended := make(chan struct{})
	w.ssh.wait = func(ctx context.Context) error {
		if _, err := w.service.Edit(t.Context(), "", "stop", "web", 0, func(s *Spec) { s.Power = PowerOff }); err != nil {
			t.Error(err)
		}
		<-ctx.Done()
		close(ended)
		return ctx.Err()
	}
	if m, err := w.step("web"); err != nil || m.Status.Failure != nil {
		t.Fatalf("%v, %+v", err, m)
	}
	<-ended
	if m := w.stepUntil("web", Stopped); m.Status.Phase != Stopped {
		t.Errorf("%+v", m.Status)
	}
}

func TestOneMachineIsListedWithoutThoseWhoseNamesBeginWithItsOwn(t *testing.T) {
	w := newWorld(t)
	for _, name := range []string{"web", "web-2", "other"} {
		w.create(name, "cloud")
	}
	_, revision, err := w.service.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]int{"web": 1, "we": 0, "nosuch": 0} {
		found, at, err := w.service.ListOne(t.Context(), name)
		if err != nil || len(found) != want || at != revision || want == 1 && found[0].Name != name {
			t.Errorf("%s: %d machines at %d, want %d at %d, %v", name, len(found), at, want, revision, err)
		}
	}
}
