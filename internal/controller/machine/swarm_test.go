package machine

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"mctl/internal/controller/driver"
	"mctl/internal/fault"
	"mctl/internal/host"
)

// swarmed asks for a member: of is a manager to join, or nothing for a master.
func swarmed(of string, manager bool) func(*Spec) {
	return func(s *Spec) {
		s.Swarm = &Swarm{Master: of == "", Of: of, Manager: manager || of == "", Port: DefaultSwarmPort}
	}
}

// members makes a swarm: a master and whoever else is named, managers with a plus behind their names.
func members(w *world, names ...string) map[string]*Machine {
	w.t.Helper()
	all := map[string]*Machine{}
	for i, name := range names {
		of := ""
		if i > 0 {
			of = names[0]
		}
		name, manager := strings.CutSuffix(name, "+")
		w.create(name, "cloud", swarmed(of, manager))
		all[name] = w.running(name)
	}
	w.swarms.done()
	return all
}

func TestAMasterMakesASwarmAndOthersJoinIt(t *testing.T) {
	w := newWorld(t)
	w.create("m1", "cloud", swarmed("", false))
	w.running("m1")
	w.create("m2", "cloud", swarmed("m1", true))
	w.running("m2")
	w.create("w1", "cloud", swarmed("m2", false), func(s *Spec) { s.Swarm.Address = "10.9.9.9" })
	m := w.running("w1")
	if got := w.swarms.done(); !slices.Equal(got, []string{"start m1", "join m2", "join w1"}) {
		t.Errorf("done %q", got)
	}
	if want := (SwarmStatus{ID: "s-m1", Node: "w1@10.9.9.9"}); m.Status.Swarm != want {
		t.Errorf("%+v, want %+v", m.Status.Swarm, want)
	}
	for name, port := range map[string]uint16{"m1": 3376, "m2": 3376, "w1": 0} {
		m, _ := w.service.Get(t.Context(), name)
		wish := w.hosts.wishes[m.UID].Desired
		if !wish.Engine.SwarmMember || wish.Front.SwarmPort != port || m.SwarmPort() != port {
			t.Errorf("%s: the host is told %+v and %d", name, wish.Engine.SwarmMember, wish.Front.SwarmPort)
		}
	}
	for name, called := range map[string]string{"m1": "m1", "m2": "m1", "w1": "m1"} {
		if m, _ := w.service.Get(t.Context(), name); m.Spec.Swarm.Called != called {
			t.Errorf("the swarm of %s is called %s", name, m.Spec.Swarm.Called)
		}
	}
	// Nothing happens to who is a member; who is provisioned is looked at.
	for range 3 {
		w.running("w1")
	}
	w.edit("m1", func(s *Spec) { s.Provision++ })
	w.stepUntil("m1", Installing)
	w.running("m1")
	if got := w.swarms.done(); len(got) != 0 {
		t.Errorf("done %q", got)
	}
}

func TestAMemberWaitsForItsMaster(t *testing.T) {
	w := newWorld(t)
	w.create("m1", "cloud", swarmed("", false))
	w.create("w1", "cloud", swarmed("m1", false))
	m := w.stepUntil("w1", Installing)
	w.hosts.apply(m.UID, nil)
	for range 3 {
		if m, err := w.step("w1"); err != nil || m.Status.Phase != Installing || m.Status.Failure != nil {
			t.Fatalf("%s, %+v, %v", m.Status.Phase, m.Status.Failure, err)
		}
		w.hosts.apply(m.UID, nil)
	}
	if p := w.service.View(m).Progress; p != `Waiting for "m1" to make the swarm...` {
		t.Errorf("progress %q", p)
	}
	w.running("m1")
	w.running("w1")
}

func TestAPrivateAddressIsAdvertised(t *testing.T) {
	m := &Machine{Spec: Spec{Swarm: &Swarm{}}, Status: Status{Addresses: []string{"203.0.113.7", "10.128.0.2"}}}
	if got := m.advertised(); got != "10.128.0.2" {
		t.Error(got)
	}
	m.Status.Addresses = m.Status.Addresses[:1]
	if got := m.advertised(); got != "203.0.113.7" {
		t.Error(got)
	}
}

func TestWhatIsNoSwarmIsRefusedBeforeAnythingIsStored(t *testing.T) {
	w := newWorld(t)
	members(w, "m1", "w1")
	w.create("plain", "cloud")
	w.running("plain")
	w.create("byhand", "cloud")
	w.running("byhand")
	w.swarms.enter("byhand", "s-byhand", "10.0.0.9", true)
	w.create("going", "cloud", swarmed("", false))
	if _, err := w.service.Delete(t.Context(), "", "going", 0, Deletion{Force: true}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		swarm  Swarm
		reason string
		says   string
	}{
		{Swarm{Of: "w1"}, fault.ReasonPrecheck, `"w1" is no manager of a swarm`},
		{Swarm{Of: "plain"}, fault.ReasonPrecheck, `"plain" is no manager of a swarm`},
		{Swarm{Of: "nobody"}, fault.ReasonPrecheck, `there is no machine "nobody" whose swarm could be joined`},
		{Swarm{Of: "new"}, fault.ReasonPrecheck, `there is no machine "new" whose swarm could be joined`},
		{Swarm{Of: "going"}, fault.ReasonPrecheck, `"going", whose swarm shall be joined, is being removed`},
		{Swarm{Master: true, Manager: true, Port: 2376}, fault.ReasonUsage, "port 2376 can't be both the engine's and the swarm's"},
	} {
		_, err := w.service.Create(t.Context(), "", "new", Spec{Driver: "cloud", Options: driver.Options{}, Swarm: &c.swarm}, false)
		if err == nil || err.Error() != c.says || fault.ReasonOf(err) != c.reason {
			t.Errorf("%v (%s), want %s", err, fault.ReasonOf(err), c.says)
		}
		if _, err := w.service.Get(t.Context(), "new"); !fault.Is(err, fault.NotFound) {
			t.Fatal("it was stored")
		}
	}
	w.create("new", "cloud", swarmed("byhand", false))
	if m := w.running("new"); m.Status.Swarm.ID != "s-byhand" {
		t.Errorf("%+v", m.Status.Swarm)
	}
	w.create("own", "cloud", func(s *Spec) { s.Swarm = &Swarm{Master: true, Manager: true, Of: "own", Port: 3376} })
	if m := w.running("own"); m.Status.Swarm.ID != "s-own" {
		t.Errorf("%+v", m.Status.Swarm)
	}
}

func TestAWorkerOfAnotherSwarmIsParkedAndGoesOnWhenItHasLeft(t *testing.T) {
	w := newWorld(t)
	members(w, "m1", "m2+")
	w.create("w1", "cloud", swarmed("m1", false))
	w.swarms.enter("w1", "s-other", "10.0.0.9", false)
	m := w.stepUntil("w1", Running)
	if m.Status.Failure == nil || m.Status.Phase != Installing || !strings.Contains(m.Status.Failure.Message, "another swarm") {
		t.Fatalf("%s, %+v", m.Status.Phase, m.Status.Failure)
	}
	if m.Status.Engine.Version == "" {
		t.Error("what the host told is not known")
	}
	w.swarms.engines["w1"] = nil
	w.edit("w1", func(s *Spec) { s.Retry++ })
	w.running("w1")
}

func TestAStopDrainsAndAStartTakesThatBack(t *testing.T) {
	w := newWorld(t)
	all := members(w, "m1", "m2+", "w1")
	node := all["w1"].Status.Swarm.Node
	w.swarms.tasks[node] = 3
	w.edit("w1", func(s *Spec) { s.Power = PowerOff })
	for w.swarms.tasks[node] > 0 {
		m, err := w.step("w1")
		if err != nil || m.Status.Power == driver.Stopped {
			t.Fatalf("off with %d tasks: %v", w.swarms.tasks[node], err)
		}
	}
	w.stepUntil("w1", Stopped)
	if got := w.swarms.done(); !slices.Equal(got, []string{"drain w1 by m1"}) {
		t.Errorf("done %q", got)
	}
	w.now = w.now.Add(time.Hour)
	w.edit("w1", func(s *Spec) { s.Power = PowerOn })
	w.started("w1")
	m := w.running("w1")
	if got := w.swarms.done(); !slices.Equal(got, []string{"active w1 by m1"}) || !m.Status.Swarm.Draining.IsZero() || m.Status.Swarm.Drained {
		t.Errorf("done %q, %+v", got, m.Status.Swarm)
	}
}

func TestADrainOfSomebodyElseIsLeftToThem(t *testing.T) {
	w := newWorld(t)
	all := members(w, "m1", "w1")
	w.swarms.nodes["s-m1"][all["w1"].Status.Swarm.Node].Active = false
	w.edit("w1", func(s *Spec) { s.Power = PowerOff })
	w.stepUntil("w1", Stopped)
	w.now = w.now.Add(time.Hour)
	w.edit("w1", func(s *Spec) { s.Power = PowerOn })
	w.started("w1")
	w.running("w1")
	if got := w.swarms.done(); len(got) != 0 {
		t.Errorf("done %q", got)
	}
}

func TestADrainHasItsTime(t *testing.T) {
	for name, c := range map[string]struct {
		limit time.Duration
		force bool
		want  time.Duration
		calls int
	}{
		"the usual": {0, false, defaultDrain, 1}, "a given one": {5 * time.Minute, false, 5 * time.Minute, 1},
		"none": {-1, false, 0, 0}, "with kill": {0, true, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			all := members(w, "m1", "w1")
			w.swarms.tasks[all["w1"].Status.Swarm.Node] = 1 << 30
			w.edit("w1", func(s *Spec) { s.Power, s.Drain, s.Force = PowerOff, c.limit, c.force })
			began := w.now
			for range 1000 {
				if m, err := w.step("w1"); err != nil {
					t.Fatal(err)
				} else if m.Status.Phase == Stopped {
					break
				}
				w.now = w.now.Add(time.Second)
			}
			if took := w.now.Sub(began); took < c.want || took > c.want+5*time.Second || len(w.swarms.done()) != c.calls {
				t.Errorf("off after %s, want %s", took, c.want)
			}
		})
	}
}

func TestAStopDoesNotHangOnASwarmWithoutManagers(t *testing.T) {
	w := newWorld(t)
	all := members(w, "m1", "w1")
	w.now = w.now.Add(time.Minute)
	w.hosts.lose(all["m1"].UID, w.now)
	w.edit("w1", func(s *Spec) { s.Power = PowerOff })
	w.stepUntil("w1", Stopped)
}

func TestAMemberThatIsRemovedLeavesInOrder(t *testing.T) {
	w := newWorld(t)
	members(w, "m1", "m2+", "w1")
	for name, want := range map[string][]string{
		"w1": {"drain w1 by m1", "leave w1", "remove w1 by m1"},
		"m2": {"drain m2 by m1", "worker m2 by m1", "leave m2", "remove m2 by m1"},
	} {
		if _, err := w.service.Delete(t.Context(), "", name, 0, Deletion{}); err != nil {
			t.Fatal(err)
		}
		if m := w.stepUntil(name, ""); m != nil {
			t.Fatalf("%s is parked: %+v", name, m.Status.Failure)
		}
		if got := w.swarms.done(); !slices.Equal(got, want) {
			t.Errorf("%s: done %q, want %q", name, got, want)
		}
	}
}

func TestTheLastManagerGoesByForceAlone(t *testing.T) {
	w := newWorld(t)
	all := members(w, "m1", "w1", "m2+", "m3+")
	remove := func(name string, how Deletion) error {
		_, err := w.service.Delete(t.Context(), "", name, 0, how)
		return err
	}
	w.swarms.nodes["s-m1"][all["m3"].Status.Swarm.Node].Reachable = false
	if err := remove("m1", Deletion{}); !fault.Is(err, fault.Precondition) || !strings.Contains(err.Error(), "have no majority: 1 of the other 2") || fault.HintOf(err) == "" {
		t.Errorf("with a manager that is off: %v", err)
	}
	w.swarms.nodes["s-m1"][all["m3"].Status.Swarm.Node].Reachable = true
	for _, name := range []string{"m3", "m2"} {
		if err := remove(name, Deletion{}); err != nil {
			t.Fatal(err)
		}
		// One that goes counts no more, although the swarm knows it yet.
		if name == "m2" {
			if err := remove("m1", Deletion{}); !fault.Is(err, fault.Precondition) {
				t.Errorf("the last one: %v", err)
			}
		}
		w.stepUntil(name, "")
	}
	w.swarms.done()
	w.now = w.now.Add(time.Minute) // agents had time to come back
	err := remove("m1", Deletion{})
	if !fault.Is(err, fault.Precondition) || err.Error() != `"m1" is the last manager of its swarm, which ends with it` || !strings.Contains(fault.HintOf(err), "rm -f m1") {
		t.Errorf("%v", err)
	}
	if m, _ := w.service.Get(t.Context(), "m1"); m.Spec.Deleted {
		t.Fatal("it is being removed")
	}
	if err := remove("m1", Deletion{Persist: true}); err != nil {
		t.Fatal(err)
	}
	w.stepUntil("m1", "")
	if got := w.swarms.done(); !slices.Equal(got, []string{"drain m1 by m1", "leave m1"}) {
		t.Errorf("done %q", got)
	}
	// A worker none of whose managers is left goes all the same.
	if err := remove("w1", Deletion{}); err != nil {
		t.Fatal(err)
	}
	if m := w.stepUntil("w1", ""); m != nil {
		t.Errorf("parked: %+v", m.Status.Failure)
	}
}

func TestAHostThatDiedIsTakenOutOfItsSwarm(t *testing.T) {
	w := newWorld(t)
	all := members(w, "m1", "m2+")
	w.now = w.now.Add(time.Minute)
	w.hosts.lose(all["m2"].UID, w.now)
	n := w.swarms.nodes["s-m1"][all["m2"].Status.Swarm.Node]
	n.Down, n.Reachable = true, false
	if _, err := w.service.Delete(t.Context(), "", "m2", 0, Deletion{}); err != nil {
		t.Fatal(err)
	}
	w.stepUntil("m2", "")
	if got := w.swarms.done(); !slices.Equal(got, []string{"worker m2 by m1", "remove m2 by m1"}) {
		t.Errorf("done %q", got)
	}
}

func TestARestartAtEveryStepEndsInOneMemberAndNone(t *testing.T) {
	for seed := range uint64(40) {
		random := rand.New(rand.NewPCG(seed, 1))
		w := newWorld(t)
		members(w, "m1", "m2+")
		m := w.create("w1", "cloud", swarmed("m1", random.IntN(2) == 0))
		// An update that is lost is what a controller leaves that is killed behind the act.
		live := func(until func(*Machine) bool) {
			for range 400 {
				if random.IntN(3) == 0 {
					w.restart()
				}
				if random.IntN(3) == 0 {
					w.store.err = fault.New("memory", fault.Unavailable, "", "killed")
				}
				got, _ := w.step("w1")
				w.store.err = nil
				if got == nil || until(got) {
					if got != nil && got.Status.Failure != nil {
						t.Fatalf("seed %d: parked: %+v", seed, got.Status.Failure)
					}
					return
				}
				w.now = w.now.Add(time.Second)
				switch got.Status.Phase {
				case Joining, Starting:
					w.hosts.connect(m.UID, w.now.Add(time.Second))
				case Installing:
					w.hosts.apply(m.UID, nil)
				}
			}
			t.Fatalf("seed %d: it does not come to an end", seed)
		}
		at := func(phase Phase) func(*Machine) bool {
			return func(m *Machine) bool {
				return m.Status.Phase == phase && m.Status.ObservedGeneration == m.Generation || m.Status.Failure != nil
			}
		}
		live(at(Running))
		w.edit("w1", func(s *Spec) { s.Power = PowerOff })
		live(at(Stopped))
		w.edit("w1", func(s *Spec) { s.Power = PowerOn })
		live(at(Running))
		if got := fmt.Sprint(w.swarms.done()); strings.Count(got, "join w1") != 1 || strings.Count(got, "drain w1") != 1 || strings.Count(got, "active w1") != 1 {
			t.Fatalf("seed %d: done %s", seed, got)
		}
		if _, err := w.service.Delete(t.Context(), "", "w1", 0, Deletion{}); err != nil {
			t.Fatal(err)
		}
		live(func(m *Machine) bool { return m.Status.Failure != nil })
		if n := len(w.swarms.nodes["s-m1"]); n != 2 || w.swarms.state("w1").In() {
			t.Fatalf("seed %d: %d nodes are left", seed, n)
		}
	}
}

func TestASwarmSurvivesTheRecord(t *testing.T) {
	c := codec{plainSealer{}}
	m := &Machine{Name: "m", Spec: Spec{Drain: -1, Swarm: &Swarm{
		Master: true, Of: "x", Manager: true, Port: 4000, Address: "10.0.0.1", Host: "tcp://0.0.0.0:4000", Strategy: "spread", Image: "i",
		Options: []string{"manager"}, JoinOptions: []string{"j"}, Experimental: true, Called: "c",
	}}, Status: Status{Swarm: SwarmStatus{ID: "i", Node: "n", Manager: true, Draining: time.Unix(7, 0).UTC(), Drained: true}}}
	got := c.again(t, m)
	if fmt.Sprintf("%+v", *got.Spec.Swarm) != fmt.Sprintf("%+v", *m.Spec.Swarm) || got.Status.Swarm != m.Status.Swarm || got.Spec.Drain != -1 {
		t.Errorf("%+v %+v", got.Spec.Swarm, got.Status.Swarm)
	}
}

func TestWhoIsInNoSwarmIsAskedForNothing(t *testing.T) {
	w := newWorld(t)
	w.create("web", "cloud", func(s *Spec) { s.Engine = host.Engine{Install: host.InstallDistro} })
	m := w.running("web")
	w.swarms.before = func(call string) { t.Errorf("asked: %s", call) }
	w.edit("web", func(s *Spec) { s.Power = PowerOff })
	w.stepUntil("web", Stopped)
	if _, err := w.service.Delete(t.Context(), "", "web", 0, Deletion{}); err != nil {
		t.Fatal(err)
	}
	w.stepUntil("web", "")
	if wish := w.hosts.wishes[m.UID].Desired; wish.Engine.SwarmMember || wish.Front.SwarmPort != 0 {
		t.Errorf("the host was told %+v", wish)
	}
}

func TestAManagerThatFailsHoldsNobodyBackForLong(t *testing.T) {
	busy := fault.New("swarms", fault.Unavailable, "m1", "the swarm has no leader")
	for name, c := range map[string]struct {
		ask    func(w *world)
		within time.Duration
		gone   bool
		says   string // what it is parked with; empty where it is not
	}{
		"a stop":              {func(w *world) { w.edit("w1", func(s *Spec) { s.Power = PowerOff }) }, defaultDrain + 5*time.Second, false, ""},
		"a removal by force":  {func(w *world) { w.remove("w1", Deletion{Persist: true}) }, defaultDrain + forcedLeave + 5*time.Second, true, ""},
		"a removal":           {func(w *world) { w.remove("w1", Deletion{}) }, defaultPatience + 5*time.Second, false, "the swarm has no leader"},
		"a removal in a rush": {func(w *world) { w.remove("w1", Deletion{Force: true, Drain: -1}) }, forcedLeave + 5*time.Second, true, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			members(w, "m1", "w1")
			for _, call := range []string{"nodes", "update", "tasks", "remove"} {
				w.swarms.faults[call+" m1"] = busy
			}
			w.now = w.now.Add(time.Minute)
			began := w.now
			c.ask(w)
			var m *Machine
			for range 1000 {
				if m, _ = w.step("w1"); m == nil || m.Status.Phase == Stopped || m.Status.Failure != nil {
					break
				}
				w.now = w.now.Add(time.Second)
			}
			if took := w.now.Sub(began); took > c.within || (m == nil) != c.gone {
				t.Errorf("it took %s, want %s; gone: %t", took, c.within, m == nil)
			}
			switch {
			case c.says == "" && m != nil && m.Status.Failure != nil:
				t.Errorf("parked: %+v", m.Status.Failure)
			case c.says != "" && (m == nil || m.Status.Failure == nil || m.Status.Failure.Message != c.says || !strings.Contains(m.Status.Failure.Hint, "rm -f w1")):
				t.Errorf("not parked as it should be: %+v", m)
			}
		})
	}
}
