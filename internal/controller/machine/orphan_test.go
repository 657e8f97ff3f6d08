package machine

import (
	"context"
	"slices"
	"testing"
	"time"

	"mctl/internal/controller/driver"
	"mctl/internal/fault"
)

// estate is a driver that lists, removes and plans, in projects that are places of their own.
type estate struct {
	*cloud
	made    map[string][]driver.Resource // by project
	shown   []string                     // the tokens that it was shown
	listing func()                       // called when a list was taken; may be nil
	asked   []string                     // projects that something was removed in
	time    time.Duration                // that the last removal was given
	err     error
}

func newEstate(w *world) *estate {
	return &estate{cloud: w.cloud, made: map[string][]driver.Resource{}}
}

func (*estate) Flags() []driver.Flag {
	return []driver.Flag{
		{Name: "estate-project", Type: driver.String, Kind: driver.Value, Scope: true},
		{Name: "estate-token", Type: driver.String, Kind: driver.Credential, Scope: true},
		{Name: "estate-size", Type: driver.Int, Kind: driver.Value},
	}
}

func (e *estate) List(_ context.Context, m driver.Machine) ([]driver.Resource, error) {
	e.shown = append(e.shown, string(m.Options.Content("estate-token")))
	found := slices.Clone(e.made[m.Options.String("estate-project")])
	if e.listing != nil {
		e.listing()
	}
	return found, e.err
}

func (e *estate) Remove(ctx context.Context, m driver.Machine, r driver.Resource) error {
	until, _ := ctx.Deadline()
	e.time = time.Until(until)
	project := m.Options.String("estate-project")
	e.asked = append(e.asked, project)
	e.made[project] = slices.DeleteFunc(e.made[project], func(other driver.Resource) bool { return other == r })
	return e.err
}

func (e *estate) Plan(_ context.Context, m driver.Machine) ([]string, error) {
	return []string{"instance " + m.Name + " in " + m.Options.String("estate-project")}, e.err
}

// place is the wish for a machine in a project.
func place(project string) Spec {
	return Spec{Driver: "estate", Options: driver.Options{"estate-project": {Values: []string{project}}}}
}

func withEstate(t *testing.T) (*world, *estate) {
	w := newWorld(t)
	e := newEstate(w)
	w.more = drivers{"estate": e}
	w.restart()
	return w, e
}

func (w *world) createAs(name string, spec Spec) *Machine {
	w.t.Helper()
	m, err := w.service.Create(w.t.Context(), "", name, spec, false)
	if err != nil {
		w.t.Fatal(err)
	}
	return m
}

func (w *world) orphans(scope Scope) []driver.Resource {
	w.t.Helper()
	found, err := w.service.Orphans(w.t.Context(), scope)
	if err != nil {
		w.t.Fatal(err)
	}
	return found
}

func TestWhatNoMachineHasIsAnOrphan(t *testing.T) {
	w, e := withEstate(t)
	mine, other := w.createAs("a", place("p1")), w.createAs("b", place("p2"))
	lost := driver.Resource{Kind: "disk", ID: "d9", Location: "z", Machine: "0123"}
	e.made["p1"] = []driver.Resource{
		{Kind: "instance", ID: "i1", Machine: mine.UID}, lost, {Kind: "firewall", ID: "shared"},
	}
	e.made["p2"] = []driver.Resource{{Kind: "instance", ID: "i2", Machine: other.UID}}
	e.made["p3"] = []driver.Resource{{Kind: "instance", ID: "i3", Machine: "4567"}} // where no machine is nobody looks
	if got := w.orphans(Scope{Driver: "estate"}); !slices.Equal(got, []driver.Resource{lost}) {
		t.Errorf("got %v", got)
	}
	if got := w.orphans(Scope{Driver: "estate", Options: place("p3").Options}); len(got) != 1 || got[0].ID != "i3" {
		t.Errorf("where it was told to look: %v", got)
	}
}

func TestWhatIsSharedIsAnOrphanOnlyWhenTheLastMachineIsGone(t *testing.T) {
	w, e := withEstate(t)
	w.createAs("a", place("p1"))
	e.made["p1"] = []driver.Resource{{Kind: "firewall", ID: "shared"}}
	scope := Scope{Driver: "estate", Options: place("p1").Options}
	if got := w.orphans(scope); len(got) != 0 {
		t.Errorf("with a machine: %v", got)
	}
	if _, err := w.service.Delete(t.Context(), "", "a", 0, Deletion{}); err != nil {
		t.Fatal(err)
	}
	w.gone("a")
	if got := w.orphans(scope); len(got) != 1 {
		t.Errorf("without: %v", got)
	}
}

func TestWhatIsMadeWhileItIsListedIsNoOrphan(t *testing.T) {
	w, e := withEstate(t)
	e.made["p1"] = []driver.Resource{{Kind: "firewall", ID: "shared"}}
	e.listing = func() {
		e.listing = nil
		m := w.createAs("late", place("p1"))
		e.made["p1"] = append(e.made["p1"], driver.Resource{Kind: "instance", ID: "i", Machine: m.UID})
	}
	if got := w.orphans(Scope{Driver: "estate", Options: place("p1").Options}); len(got) != 0 {
		t.Errorf("got %v", got)
	}
}

func TestAnOrphanIsRemovedWhereItIsAndNothingElseIs(t *testing.T) {
	w, e := withEstate(t)
	mine := w.createAs("a", place("p1"))
	w.createAs("b", place("p2"))
	lost := driver.Resource{Kind: "disk", ID: "d9", Machine: "0123"}
	owned := driver.Resource{Kind: "instance", ID: "i1", Machine: mine.UID}
	e.made["p1"], e.made["p2"] = []driver.Resource{owned, {Kind: "disk", ID: "d1", Machine: "4567"}}, []driver.Resource{lost}
	scope := Scope{Driver: "estate"}
	remove := func(id string, r driver.Resource) error { return w.service.RemoveOrphan(t.Context(), id, scope, r) }
	if err := remove("", owned); !fault.Is(err, fault.NotFound) || len(e.asked) != 0 {
		t.Errorf("a machine's own: %v, asked %v", err, e.asked)
	}
	for range 2 { // the same request, too
		if err := remove("r1", lost); err != nil {
			t.Fatal(err)
		}
	}
	if !slices.Equal(e.asked, []string{"p2"}) || len(e.made["p2"]) != 0 || len(e.made["p1"]) != 2 {
		t.Errorf("asked in %v, left are %v", e.asked, e.made)
	}
	if e.time < 7*time.Minute {
		t.Errorf("the provider has %s, an instance is stopped first", e.time)
	}
	if err := remove("r2", lost); !fault.Is(err, fault.NotFound) {
		t.Errorf("another request: %v", err)
	}
}

func TestDriversThatCannotListOrPlanSaySo(t *testing.T) {
	w := newWorld(t)
	if _, err := w.service.Orphans(t.Context(), Scope{Driver: "cloud"}); !fault.Is(err, fault.Precondition) {
		t.Errorf("list: %v", err)
	}
	if err := w.service.RemoveOrphan(t.Context(), "", Scope{Driver: "cloud"}, driver.Resource{}); !fault.Is(err, fault.Precondition) {
		t.Errorf("remove: %v", err)
	}
	if _, err := w.service.Orphans(t.Context(), Scope{Driver: "nowhere"}); !fault.Is(err, fault.NotFound) {
		t.Errorf("an unknown driver: %v", err)
	}
	m, err := w.service.Create(t.Context(), "", "web", Spec{Driver: "cloud"}, true)
	if err != nil {
		t.Fatal(err)
	}
	if plan, err := w.service.Plan(t.Context(), m); err != nil || plan != nil {
		t.Errorf("plan: %v, %v", plan, err)
	}
}

func TestAProvidersFaultIsNoEmptyList(t *testing.T) {
	w, e := withEstate(t)
	w.createAs("a", place("p1"))
	e.err = fault.New("estate", fault.Denied, "", "bad credentials")
	if _, err := w.service.Orphans(t.Context(), Scope{Driver: "estate"}); !fault.Is(err, fault.Denied) {
		t.Errorf("got %v", err)
	}
	if _, err := w.service.Orphans(t.Context(), Scope{Driver: "estate", Options: driver.Options{"x": {}}}); !fault.Is(err, fault.Invalid) {
		t.Errorf("an unknown flag: %v", err)
	}
}

func TestAPlanIsMadeOfWhatWasCheckedAndStoresNothing(t *testing.T) {
	w, _ := withEstate(t)
	m, err := w.service.Create(t.Context(), "", "web", place("p1"), true)
	if err != nil {
		t.Fatal(err)
	}
	plan, err := w.service.Plan(t.Context(), m)
	if err != nil || !slices.Equal(plan, []string{"instance web in p1"}) || len(w.store.items) != 0 {
		t.Errorf("%v, %v, stored %d", plan, err, len(w.store.items))
	}
}

// purse is stored credentials.
type purse map[string]string

func (p purse) Content(_ context.Context, name, driverName string) ([]byte, error) {
	content, ok := p[name+" of "+driverName]
	if !ok {
		return nil, fault.New("purse", fault.Precondition, name, "there is none")
	}
	return []byte(content), nil
}

func TestACredentialIsTakenByNameAsItIsNow(t *testing.T) {
	w, e := withEstate(t)
	w.purse = purse{"team of estate": "first"}
	w.restart()
	spec := place("p1")
	spec.Credential = "team"
	m := w.createAs("web", spec)
	w.purse["team of estate"] = "second"
	w.orphans(Scope{Driver: "estate"})
	w.orphans(Scope{Driver: "estate", Credential: "team"})
	if !slices.Equal(e.shown, []string{"second", "second"}) {
		t.Errorf("shown were %q", e.shown)
	}
	full, err := w.service.load(t.Context(), "web", true)
	if err != nil || full.Spec.Options.Content("estate-token") != nil || full.UID != m.UID {
		t.Errorf("its content stands in the machine's record: %v, %v", full, err)
	}
}

func TestAMachineWhoseCredentialIsRemovedWhileItIsStoredIsRefused(t *testing.T) {
	w, e := withEstate(t)
	w.purse = purse{"team of estate": "token"}
	w.restart()
	spec := place("p1")
	spec.Credential = "team"
	e.cloud.checked = func() { delete(w.purse, "team of estate") } // after it was read, and before the machine is stored
	_, err := w.service.Create(t.Context(), "", "web", spec, false)
	if !fault.Is(err, fault.Precondition) || fault.ReasonOf(err) != fault.ReasonPrecheck {
		t.Errorf("got %v", err)
	}
	w.gone("web")
}

func TestACredentialThatIsNotThereOrNotWantedIsRefused(t *testing.T) {
	w, _ := withEstate(t)
	w.purse = purse{"team of estate": "token"}
	w.restart()
	both := place("p1")
	both.Credential, both.Options["estate-token"] = "team", driver.Option{Content: []byte("token")}
	missing := place("p1")
	missing.Credential = "other"
	for name, c := range map[string]struct {
		spec   Spec
		kind   fault.Kind
		reason string
	}{
		"driver takes none": {Spec{Driver: "cloud", Credential: "team"}, fault.Invalid, fault.ReasonUsage},
		"given twice":       {both, fault.Invalid, fault.ReasonUsage},
		"not there":         {missing, fault.Precondition, fault.ReasonPrecheck},
	} {
		_, err := w.service.Create(t.Context(), "", "web", c.spec, false)
		if !fault.Is(err, c.kind) || fault.ReasonOf(err) != c.reason || len(w.store.items) != 0 {
			t.Errorf("%s: %v, reason %q, stored %d", name, err, fault.ReasonOf(err), len(w.store.items))
		}
	}
}
