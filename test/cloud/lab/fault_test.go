package lab_test

import (
	"errors"
	"testing"
	"time"

	"mctl/test/cloud/lab"
)

func TestFaultsMatchByCallScopeAndSubjectAndAreUsedUp(t *testing.T) {
	w := newWorld(t, lab.Config{})
	w.Fail(lab.Fault{Call: "instances.*", Scope: "here/*", Subject: "web-?", Skip: 1, Times: 2, Error: &lab.Error{Kind: lab.Unavailable, Text: "busy", RetryAfter: time.Minute}})
	failed := 0
	for range 5 {
		for _, other := range [][3]string{{"disks.get", "here/zone", "web-1"}, {"instances.get", "there/zone", "web-1"}, {"instances.get", "here/zone", "web"}} {
			if _, err := w.Admit(t.Context(), other[0], other[1], other[2]); err != nil {
				t.Errorf("%q: %v", other, err)
			}
		}
		_, err := w.Admit(t.Context(), "instances.get", "here/zone", "web-1")
		if refusal := (*lab.Error)(nil); errors.As(err, &refusal) {
			if failed++; refusal.Kind != lab.Unavailable || refusal.RetryAfter != time.Minute {
				t.Errorf("got %+v", refusal)
			}
		}
	}
	if failed != 2 {
		t.Errorf("%d calls failed", failed)
	}
	if calls, _ := w.Calls(); calls["instances.get"] != 15 || calls["disks.get"] != 5 {
		t.Errorf("calls %v", calls)
	}
}

func TestALateFailureLeavesNothing(t *testing.T) {
	for _, kind := range []lab.Kind{lab.Quota, lab.StockOut} {
		w := newWorld(t, lab.Config{})
		w.Fail(lab.Fault{Call: "create", Late: &lab.Error{Kind: kind, Text: "no room"}})
		o := w.end(w.admit("create", "web").CreateInstance(spec("web"), lab.Operation{}))
		if lab.KindOf(o.Err) != kind {
			t.Errorf("want %s, got %v", kind, o.Err)
		}
		w.nothingLeft()
		w.create("web")
	}
}

func TestALateFailureOfACreateKeepsTheDiskThatWasThere(t *testing.T) {
	w := newWorld(t, lab.Config{})
	w.must(w.admit("disk", "web-disk").CreateDisk(lab.Disk{Record: lab.Record{Ref: named("web-disk")}}, lab.Operation{}))
	w.Fail(lab.Fault{Call: "create", Late: &lab.Error{Kind: lab.StockOut, Text: "no room"}})
	s := spec("web")
	s.Disks[0].New = false
	if o := w.end(w.admit("create", "web").CreateInstance(s, lab.Operation{})); o.Err == nil {
		t.Fatal("it did not fail")
	}
	if left := w.Leftovers(); len(left) != 1 || left[0].Kind != "disk" {
		t.Errorf("left: %+v", left)
	}
}

func TestALateFailureChangesNothing(t *testing.T) {
	w := newWorld(t, lab.Config{})
	w.create("web")
	rule := lab.Rule{Record: lab.Record{Ref: named("rule"), Doc: "old"}, Network: network}
	w.must(w.admit("rule", "rule").CreateRule(rule, lab.Operation{}))
	failure := lab.Fault{Call: "late", Times: -1, Late: &lab.Error{Kind: lab.Internal, Text: "oh"}}
	w.Fail(failure)
	for name, begin := range map[string]func(*lab.Call) (lab.Operation, error){
		"delete": func(c *lab.Call) (lab.Operation, error) { return c.DeleteInstance(named("web"), lab.Operation{}) },
		"stop":   func(c *lab.Call) (lab.Operation, error) { return c.StopInstance(named("web"), false, lab.Operation{}) },
		"update": func(c *lab.Call) (lab.Operation, error) {
			return c.UpdateInstance(named("web"), lab.Operation{}, func(i *lab.Instance) error { i.Tags = []string{"x"}; return nil })
		},
		"rule": func(c *lab.Call) (lab.Operation, error) {
			return c.UpdateRule(named("rule"), lab.Operation{}, func(r *lab.Rule) error { r.Doc = "new"; return nil })
		},
	} {
		if o := w.end(begin(w.admit("late", name))); o.Err == nil {
			t.Errorf("%s did not fail", name)
		}
	}
	if i := w.get("web"); i.State != lab.Running || len(i.Tags) > 0 {
		t.Errorf("now %+v", i)
	}
	if r, err := w.Rule(named("rule")); err != nil || r.Doc != "old" {
		t.Errorf("now %+v %v", r, err)
	}
}

func TestReadsMayBeBehind(t *testing.T) {
	w := newWorld(t, lab.Config{})
	w.Fail(lab.Fault{Call: "create", Behind: 2})
	w.must(w.admit("create", "web").CreateInstance(spec("web"), lab.Operation{}))
	if _, err := w.admit("create", "web").CreateInstance(spec("web"), lab.Operation{}); lab.KindOf(err) != lab.Exists {
		t.Errorf("what is not told yet was made twice: %v", err)
	}
	if _, err := w.Instance(t.Context(), named("web")); lab.KindOf(err) != lab.NotFound {
		t.Errorf("the first read: %v", err)
	}
	if list := w.Instances(t.Context()); len(list) != 0 {
		t.Errorf("the second read: %+v", list)
	}
	w.get("web")
	w.Fail(lab.Fault{Call: "delete", Behind: 2})
	w.must(w.admit("delete", "web").DeleteInstance(named("web"), lab.Operation{}))
	w.nothingLeft()
	if list := w.Instances(t.Context()); len(list) != 1 {
		t.Errorf("the first read after: %+v", list)
	}
	w.get("web")
	if _, err := w.Instance(t.Context(), named("web")); lab.KindOf(err) != lab.NotFound {
		t.Errorf("the third read after: %v", err)
	}
}

func TestBeingBehindMayEndWithTime(t *testing.T) {
	w := newWorld(t, lab.Config{})
	const limit = 200 * time.Millisecond
	began := time.Now()
	w.Fail(lab.Fault{Call: "create", Behind: 1 << 20, BehindFor: limit})
	w.must(w.admit("create", "web").CreateInstance(spec("web"), lab.Operation{}))
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for {
		if _, err := w.Instance(t.Context(), named("web")); err == nil {
			break
		}
		<-ticker.C
	}
	if took := time.Since(began); took < limit {
		t.Errorf("it was told after %s", took)
	}
}

func TestOperationsMayBeSlowAndStuck(t *testing.T) {
	w := newWorld(t, lab.Config{})
	const slow = 300 * time.Millisecond
	w.Fail(lab.Fault{Call: "create", Subject: "slow", Slow: slow})
	w.Fail(lab.Fault{Call: "create", Subject: "stuck", Stuck: true})
	began := time.Now()
	w.create("slow")
	if took := time.Since(began); took < slow {
		t.Errorf("it took %s", took)
	}
	o, err := w.admit("create", "stuck").CreateInstance(spec("stuck"), lab.Operation{})
	if err != nil {
		t.Fatal(err)
	}
	early, err := w.WaitOperation(t.Context(), o.Ref, 100*time.Millisecond)
	if err != nil || !early.Ended.IsZero() {
		t.Errorf("the stuck one: %+v %v", early, err)
	}
	if i := w.get("stuck"); i.State != lab.Running {
		t.Errorf("it has not acted: %+v", i)
	}
	w.Unstick()
	w.must(w.WaitOperation(t.Context(), o.Ref, 10*time.Second))
}

func TestWhatNobodyAskedForHappensAllTheSame(t *testing.T) {
	w := newWorld(t, lab.Config{})
	before := w.create("web")
	if err := w.CutPower(t.Context(), before.Ref); err != nil {
		t.Fatal(err)
	}
	if i := w.get("web"); i.State != lab.Stopped || i.Public.IsValid() {
		t.Errorf("without power: %+v", i)
	}
	for range 2 {
		if err := w.Vanish(t.Context(), before.Ref); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Instance(t.Context(), before.Ref); lab.KindOf(err) != lab.NotFound {
		t.Errorf("it is told still: %v", err)
	}
	w.nothingLeft()
}

func TestCallsBeyondTheRateAreRefused(t *testing.T) {
	w := newWorld(t, lab.Config{Rate: 1, RateBurst: 3})
	refused := 0
	for range 10 {
		if _, err := w.Admit(t.Context(), "get", "", ""); lab.KindOf(err) == lab.RateLimited {
			refused++
		}
	}
	if _, beyond := w.Calls(); refused != 7 || beyond != refused {
		t.Errorf("%d of ten were refused, %d counted", refused, beyond)
	}
}

func TestAFaultMayDoWhateverATestLikes(t *testing.T) {
	w := newWorld(t, lab.Config{})
	done := 0
	w.Fail(lab.Fault{Call: "get", Times: -1, Do: func() { done++ }, LoseAnswer: true, Raw: &lab.Raw{Status: 200, Body: "<html>"}, Boot: lab.NoSSH})
	for range 3 {
		if c := w.admit("get", "web"); !c.LoseAnswer || c.Raw.Body != "<html>" || c.Boot != lab.NoSSH {
			t.Errorf("got %+v", c)
		}
	}
	w.Heal()
	if c := w.admit("get", "web"); c.LoseAnswer || c.Raw != nil || done != 3 {
		t.Errorf("after healing %+v, done %d", c, done)
	}
}
