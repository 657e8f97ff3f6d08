package machine

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"mctl/internal/controller/bootstrap"
	"mctl/internal/controller/driver"
	"mctl/internal/controller/event"
	"mctl/internal/fault"
)

// parked says what a machine is parked with.
func (w *world) parked(name, message string) {
	w.t.Helper()
	m := w.stepUntil(name, Running)
	if m == nil || m.Status.Failure == nil || m.Status.Failure.Message != message || m.Status.Failure.Hint == "" {
		w.t.Fatalf("not parked with %q: %+v", message, m.Status.Failure)
	}
}

func TestAHostStaysInTheSwarmThatSomebodyHasItIn(t *testing.T) {
	for _, how := range []Deletion{{}, {Persist: true}} {
		w := newWorld(t)
		members(w, "m1", "m2+")
		// One was there before it was to join ours.
		w.create("a1", "adopt", swarmed("m1", false))
		w.swarms.enter("a1", "s-other", "10.0.0.9", false)
		w.parked("a1", "a member of another swarm already")
		// The other was taken there later.
		w.create("a2", "adopt", swarmed("m1", false))
		m := w.running("a2")
		w.swarms.enter("a2", "s-other", "10.0.0.8", false)
		w.swarms.done()
		for _, name := range []string{"a1", "a2"} {
			w.remove(name, how)
			if m := w.stepUntil(name, ""); m != nil {
				t.Fatalf("%s is parked: %+v", name, m.Status.Failure)
			}
			if w.swarms.engine(name).swarm != "s-other" {
				t.Errorf("%s was taken out of a swarm that is none of ours: %q", name, w.swarms.done())
			}
		}
		if w.swarms.nodes["s-m1"][m.Status.Swarm.Node] != nil || len(w.swarms.nodes["s-m1"]) != 2 {
			t.Error("ours knows it still")
		}
	}
}

func TestAJoinThatWasNotNotedIsUndoneByARemoval(t *testing.T) {
	w := newWorld(t)
	members(w, "m1")
	m := w.create("w1", "cloud", swarmed("m1", false))
	w.stepUntil("w1", Installing)
	w.swarms.faults["join w1"] = fault.New("swarms", fault.Unavailable, "w1", "busy")
	for m.Status.AppliedDigest == "" {
		m, _ = w.step("w1")
		w.hosts.apply(m.UID, nil)
	}
	w.swarms.enter("w1", "s-m1", "10.0.0.2", false)
	w.remove("w1", Deletion{})
	w.stepUntil("w1", "")
	if n := len(w.swarms.nodes["s-m1"]); n != 1 || w.swarms.state("w1").In() {
		t.Errorf("%d nodes are left", n)
	}
}

func TestAStartDoesNotHangOnASwarmWithoutAMajority(t *testing.T) {
	w := newWorld(t)
	members(w, "m1", "w1")
	w.edit("w1", func(s *Spec) { s.Power = PowerOff })
	w.stepUntil("w1", Stopped)
	w.swarms.done()
	w.swarms.faults["update m1"] = fault.New("swarms", fault.Unavailable, "m1", "the swarm has no leader")
	w.now = w.now.Add(time.Hour)
	w.edit("w1", func(s *Spec) { s.Power = PowerOn })
	began := w.now
	var m *Machine
	for range 300 {
		if m, _ = w.step("w1"); m.Status.Phase == Running || m.Status.Failure != nil {
			break
		}
		if m.Status.Phase == Starting {
			w.hosts.connect(m.UID, w.now.Add(time.Second))
		}
		w.hosts.apply(m.UID, nil)
		w.now = w.now.Add(time.Second)
	}
	if took := w.now.Sub(began); m.Status.Phase != Running || took > defaultDrain+10*time.Second || m.Status.ObservedGeneration != m.Generation {
		t.Fatalf("%s after %s, %+v", m.Status.Phase, took, m.Status.Failure)
	}
	if says := w.service.View(m).Error; says != "takes no tasks of its swarm: the swarm has no leader" {
		t.Errorf("ERRORS says %q", says)
	}
	// It is tried again while the machine runs.
	delete(w.swarms.faults, "update m1")
	m = w.running("w1")
	if got := w.swarms.done(); !slices.Equal(got, []string{"active w1 by m1"}) || m.Status.Swarm.Drained || w.service.View(m).Error != "" {
		t.Errorf("done %q, %+v", got, m.Status.Swarm)
	}
}

func TestAMemberThatSomebodyRemovedWhileItWasOffJoinsAnew(t *testing.T) {
	w := newWorld(t)
	all := members(w, "m1", "w1")
	w.edit("w1", func(s *Spec) { s.Power = PowerOff })
	w.stepUntil("w1", Stopped)
	w.swarms.done()
	delete(w.swarms.nodes["s-m1"], all["w1"].Status.Swarm.Node)
	w.now = w.now.Add(time.Hour)
	w.edit("w1", func(s *Spec) { s.Power = PowerOn })
	w.started("w1")
	m := w.running("w1")
	if got := w.swarms.done(); !slices.Equal(got, []string{"leave w1", "join w1"}) || !w.swarms.nodes["s-m1"][m.Status.Swarm.Node].Active || m.Status.Swarm.Drained {
		t.Errorf("done %q, %+v", got, m.Status.Swarm)
	}
}

func TestAJoinThatHasBegunIsKnownToBeOurs(t *testing.T) {
	w := newWorld(t)
	members(w, "m1")
	w.swarms.faults["join w1"] = fault.New("swarms", fault.Unavailable, "w1", "on its way")
	m := w.create("w1", "cloud", swarmed("m1", false))
	for range 10 {
		m, _ = w.step("w1")
		w.hosts.connect(m.UID, w.now.Add(time.Second))
		w.hosts.apply(m.UID, nil)
		w.now = w.now.Add(2 * time.Second)
	}
	if m.Status.Phase != Installing || !w.swarms.begun["w1"] || m.Status.Swarm.ID != "s-m1" {
		t.Errorf("%s, %+v", m.Status.Phase, m.Status.Swarm)
	}
	// Then any manager of that swarm will do, also when the one that was named is gone.
	w.create("m2", "cloud", swarmed("m1", true))
	w.running("m2")
	w.remove("m1", Deletion{})
	w.stepUntil("m1", "")
	delete(w.swarms.faults, "join w1")
	w.running("w1")
}

func TestWhoCannotLetOthersInIsRefusedBeforeAnythingIsStored(t *testing.T) {
	join := func(w *world) error {
		_, err := w.service.Create(t.Context(), "", "new", Spec{Driver: "cloud", Options: driver.Options{}, Swarm: &Swarm{Of: "m1"}}, false)
		return err
	}
	for name, c := range map[string]struct {
		happens func(w *world, all map[string]*Machine)
		says    string // nothing where it is let in
	}{
		"stopped": {func(w *world, _ map[string]*Machine) {
			w.edit("m1", func(s *Spec) { s.Power = PowerOff })
			w.hosts.lose(w.stepUntil("m1", Stopped).UID, w.now)
		}, `"m1", whose swarm shall be joined, is stopped`},
		"demoted by hand": {func(w *world, all map[string]*Machine) {
			w.swarms.nodes["s-m1"][all["m1"].Status.Swarm.Node].Manager = false
		}, `"m1" is no manager of a swarm`},
		"out of it by hand": {func(w *world, _ map[string]*Machine) { w.swarms.engines["m1"] = nil }, `"m1" is no manager of a swarm`},
		"not to be asked":   {func(w *world, all map[string]*Machine) { w.hosts.lose(all["m1"].UID, w.now) }, ""},
		"slow": {func(w *world, _ map[string]*Machine) {
			w.swarms.faults["state m1"] = fault.New("swarms", fault.Unavailable, "m1", "busy")
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			c.happens(w, members(w, "m1"))
			err := join(w)
			if c.says == "" && err != nil || c.says != "" && (err == nil || err.Error() != c.says || fault.ReasonOf(err) != fault.ReasonPrecheck || fault.HintOf(err) == "") {
				t.Errorf("%v, want %q", err, c.says)
			}
		})
	}
	w := newWorld(t)
	members(w, "m1", "m2+")
	w.edit("m1", func(s *Spec) { s.Power = PowerOff })
	w.hosts.lose(w.stepUntil("m1", Stopped).UID, w.now)
	if err := join(w); err != nil {
		t.Errorf("another manager can let it in: %v", err)
	}
	w.running("new")
}

func TestAnotherManagerLetsInWhereTheNamedOneIsNoneAnyMore(t *testing.T) {
	w := newWorld(t)
	all := members(w, "m1", "m2+")
	w.create("w1", "cloud", swarmed("m1", false))
	w.swarms.nodes["s-m1"][all["m1"].Status.Swarm.Node].Manager = false
	if m := w.running("w1"); m.Status.Swarm.ID != "s-m1" {
		t.Errorf("%+v", m.Status.Swarm)
	}
}

func TestWhoJoinsWhileTheMasterGoesIsToldAtOnce(t *testing.T) {
	w := newWorld(t)
	members(w, "m1")
	w.create("w1", "cloud", swarmed("m1", false))
	w.stepUntil("w1", Installing)
	w.remove("m1", Deletion{Persist: true})
	w.now = w.now.Add(time.Minute)
	w.stepUntil("m1", "")
	w.parked("w1", `"m1", whose swarm shall be joined, is gone`)
}

func TestARemovalRightAfterTheControllersStartWaitsForManagers(t *testing.T) {
	w := newWorld(t)
	all := members(w, "m1", "w1")
	w.restart()
	w.hosts.lose(all["m1"].UID, w.now)
	w.remove("w1", Deletion{Drain: -1})
	for range 5 {
		if m, err := w.step("w1"); m == nil || err != nil {
			t.Fatalf("it did not wait: %v", err)
		}
	}
	w.hosts.connect(all["m1"].UID, w.now.Add(time.Second))
	w.stepUntil("w1", "")
	if n := len(w.swarms.nodes["s-m1"]); n != 1 {
		t.Errorf("%d nodes are left", n)
	}
}

func TestAManagerMadeByHandThatOthersWereJoinedToIsTheirsToKeep(t *testing.T) {
	w := newWorld(t)
	byHand := func(name, driverName string) {
		w.create(name, driverName)
		w.running(name)
		w.swarms.enter(name, "s-"+name, "10.0.0.9", true)
		w.swarms.done()
	}
	byHand("h1", "cloud")
	remove := func(name string, how Deletion) error {
		_, err := w.service.Delete(t.Context(), "", name, 0, how)
		return err
	}
	w.create("w1", "cloud", swarmed("h1", false))
	w.running("w1")
	if err := remove("h1", Deletion{}); !fault.Is(err, fault.Precondition) || !strings.Contains(err.Error(), "the last manager of its swarm") {
		t.Fatalf("%v", err)
	}
	w.create("m2", "cloud", swarmed("h1", true))
	w.running("m2")
	w.swarms.done()
	if err := remove("h1", Deletion{}); err != nil {
		t.Fatal(err)
	}
	w.stepUntil("h1", "")
	if got := w.swarms.done(); !slices.Equal(got, []string{"drain h1 by m2", "worker h1 by m2", "leave h1", "remove h1 by m2"}) {
		t.Errorf("done %q", got)
	}
	// A host that goes on without us goes on as what it is, and one that nobody was joined to is its owner's alone.
	byHand("h2", "adopt")
	byHand("h3", "cloud")
	w.create("w2", "cloud", swarmed("h2", false))
	w.running("w2")
	w.swarms.done()
	for _, name := range []string{"h2", "h3"} {
		if err := remove(name, Deletion{}); err != nil {
			t.Fatal(err)
		}
		w.stepUntil(name, "")
		if got := w.swarms.done(); len(got) != 0 || !w.swarms.state(name).In() {
			t.Errorf("done %q", got)
		}
	}
}

func TestAHostThatWasThereBeforeIsCheckedForItsSwarm(t *testing.T) {
	w := newWorld(t)
	members(w, "m1")
	w.create("h1", "cloud")
	w.running("h1")
	w.swarms.enter("h1", "s-h1", "10.0.0.9", true)
	w.create("m2", "cloud", swarmed("", false)) // it is made later
	for name, c := range map[string]struct {
		wish func(*Spec)
		want *bootstrap.Swarm
	}{
		"a1": {swarmed("m1", false), &bootstrap.Swarm{ID: "s-m1"}},
		"a2": {swarmed("h1", false), &bootstrap.Swarm{ID: "s-h1"}},
		"a3": {swarmed("m2", false), &bootstrap.Swarm{}},
		"a4": {swarmed("", false), &bootstrap.Swarm{Make: true}},
		"a5": {func(*Spec) {}, nil},
	} {
		w.create(name, "adopt", c.wish)
		if got := w.ssh.checked.Swarm; !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}

func TestWhoLeftByHandAndJoinsAnewLeavesNoNodeBehind(t *testing.T) {
	for _, name := range []string{"w1", "m2"} {
		w := newWorld(t)
		all := members(w, "m1", "w1", "m2+", "m3+")
		former := all[name].Status.Swarm.Node
		w.swarms.engines[name] = nil
		w.edit(name, func(s *Spec) { s.Provision++; s.Swarm.Address = "10.7.7.7" })
		w.stepUntil(name, Installing)
		m := w.running(name)
		if nodes := w.swarms.nodes["s-m1"]; nodes[former] != nil || len(nodes) != 4 || nodes[m.Status.Swarm.Node] == nil {
			t.Errorf("%s: the swarm has %v", name, nodes)
		}
	}
}

func TestAMemberThatCameBackElsewhereIsSpokenOf(t *testing.T) {
	w := newWorld(t)
	members(w, "m1", "w1")
	address := w.swarms.state("w1").Address
	w.edit("w1", func(s *Spec) { s.Power = PowerOff })
	w.stepUntil("w1", Stopped)
	w.now = w.now.Add(time.Hour)
	w.edit("w1", func(s *Spec) { s.Power = PowerOn })
	w.started("w1")
	now := w.running("w1").Address()
	want := `The others look for "w1" at ` + address + ", and it is at " + now + " now: `docker swarm leave` on it, then `mctl provision w1`, has it join anew"
	if now == address || !slices.ContainsFunc(w.events, func(e event.Event) bool { return e.Message == want }) {
		t.Errorf("nobody says so: %v", w.events[len(w.events)-5:])
	}
}
