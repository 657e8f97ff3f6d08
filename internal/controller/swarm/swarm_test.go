package swarm

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"mctl/internal/fault"
)

func TestASwarmIsMadeOnceAndJoinedOnce(t *testing.T) {
	w := newWorld(t, "m1", "m2", "w1")
	for range 2 {
		s, err := w.client.Start(t.Context(), "m1", "10.0.0.1")
		must(t, err)
		if !s.Manager || s.Swarm != "s-m1" || s.Node != "n0-m1" {
			t.Errorf("m1 is %+v", s)
		}
	}
	for range 2 {
		s, err := w.client.Join(t.Context(), "m2", Joining{Of: "m1", Advertise: "10.0.0.2", Manager: true})
		must(t, err)
		if !s.Manager || s.Swarm != "s-m1" || s.Node != "n1-m2" {
			t.Errorf("m2 is %+v", s)
		}
		if s, err = w.client.Join(t.Context(), "w1", Joining{Of: "m2", Advertise: "10.0.0.3"}); err != nil || s.Manager || s.Swarm != "s-m1" || s.Node != "n2-w1" {
			t.Errorf("w1 is %+v, %v", s, err)
		}
	}
	if want := []string{"m1 POST /swarm/init", "m2 POST /swarm/join", "w1 POST /swarm/join"}; !slices.Equal(w.asked, want) {
		t.Errorf("asked %q", w.asked)
	}
	if w.signed != 1 {
		t.Errorf("%d certificates for one authority", w.signed)
	}
	// A worker that shall be a manager is promoted, not taken in once more.
	s, err := w.client.Join(t.Context(), "w1", Joining{Of: "m1", Advertise: "10.0.0.3", Manager: true})
	if role := w.engines["w1"].swarm.nodes["n2-w1"].Spec["Role"]; err != nil || !s.Manager || role != "manager" {
		t.Errorf("w1 is %+v and a %v, %v", s, role, err)
	}
}

func TestWhatCannotJoinIsRefusedInASentence(t *testing.T) {
	for name, c := range map[string]struct {
		prepare func(w *world)
		of      string
		kind    fault.Kind
		says    string
	}{
		"a worker of another swarm": {func(w *world) {
			_, err := w.client.Start(t.Context(), "other", "10.0.0.9")
			must(t, err)
			_, err = w.client.Join(t.Context(), "w1", Joining{Of: "other", Advertise: "10.0.0.3"})
			must(t, err)
		}, "m1", fault.Precondition, `"w1" is a member of another swarm already`},
		"a manager of another swarm": {func(w *world) {
			_, err := w.client.Start(t.Context(), "w1", "10.0.0.9")
			must(t, err)
		}, "m1", fault.Precondition, `"w1" is a member of another swarm already`},
		"by a worker": {func(w *world) {
			_, err := w.client.Join(t.Context(), "other", Joining{Of: "m1", Advertise: "10.0.0.9"})
			must(t, err)
		}, "other", fault.Precondition, `"other" is no manager of a swarm`},
		"before there is a swarm": {nil, "other", fault.Unavailable, `"other" has no swarm yet`},
		"an engine in error":      {func(w *world) { w.engines["w1"].local = "error" }, "m1", fault.Precondition, `"w1" can't get into its swarm: certificate has expired`},
		"a locked engine":         {func(w *world) { w.engines["w1"].local = "locked" }, "m1", fault.Precondition, `the swarm of "w1" is locked`},
		"an engine that is gone":  {func(w *world) { delete(w.engines, "w1") }, "m1", fault.Unavailable, `the engine of "w1" can't be asked`},
		"with live-restore": {func(w *world) {
			w.engines["w1"].failing["POST /swarm/join"] = failure{500, "--live-restore daemon configuration is incompatible with swarm mode"}
		}, "m1", fault.Precondition, "live-restore"},
		"at an address that is none": {func(w *world) {
			w.engines["w1"].failing["POST /swarm/join"] = failure{400, "rpc error: code = InvalidArgument desc = advertise address\n\x1b must be an IP"}
		}, "m1", fault.Precondition, `the engine of "w1" says: advertise address must be an IP`},
		"while its engine is busy": {func(w *world) { w.engines["w1"].failing["POST /swarm/join"] = failure{503, "busy"} }, "m1", fault.Unavailable, "busy"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, "m1", "w1", "other")
			_, err := w.client.Start(t.Context(), "m1", "10.0.0.1")
			must(t, err)
			if c.prepare != nil {
				c.prepare(w)
			}
			_, err = w.client.Join(t.Context(), "w1", Joining{Of: c.of, Advertise: "10.0.0.3"})
			if !fault.Is(err, c.kind) || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%v (%v), want %s: %s", err, fault.KindOf(err), c.kind, c.says)
			}
			if c.kind == fault.Precondition && fault.HintOf(err) == "" {
				t.Error("there is no hint")
			}
		})
	}
	w := newWorld(t, "m1", "w1")
	_, err := w.client.Start(t.Context(), "m1", "10.0.0.1")
	must(t, err)
	_, err = w.client.Join(t.Context(), "w1", Joining{Of: "m1", Advertise: "10.0.0.2"})
	must(t, err)
	if _, err := w.client.Start(t.Context(), "w1", "10.0.0.2"); !fault.Is(err, fault.Precondition) {
		t.Errorf("a worker made a swarm: %v", err)
	}
}

func TestAJoinThatGoesOnInTheBackgroundIsWaitedFor(t *testing.T) {
	w := newWorld(t, "m1", "w1")
	_, err := w.client.Start(t.Context(), "m1", "10.0.0.1")
	must(t, err)
	e := w.engines["w1"]
	e.lateJoin = true
	s, err := w.client.Join(t.Context(), "w1", Joining{Of: "m1", Advertise: "10.0.0.2"})
	if !fault.Is(err, fault.Unavailable) || !strings.HasPrefix(err.Error(), `"w1" is on its way into the swarm of "m1"`) || s.Swarm != "s-m1" || s.Node != "" {
		t.Fatalf("%+v, %v", s, err)
	}
	node := e.node
	e.node = "" // it has no certificate yet
	_, err = w.client.Join(t.Context(), "w1", Joining{Of: "m1", Advertise: "10.0.0.2", Begun: true})
	if !fault.Is(err, fault.Unavailable) || !strings.HasSuffix(err.Error(), "whose managers are at 10.0.0.1:2377, 10.0.0.2:2377") || !strings.Contains(fault.HintOf(err), "2377/tcp") {
		t.Errorf("%v", err)
	}
	e.node = node
	e.local = "active"
	if s, err := w.client.Join(t.Context(), "w1", Joining{Of: "m1", Advertise: "10.0.0.2"}); err != nil || s.Node != e.node {
		t.Errorf("%+v, %v", s, err)
	}
	if n := len(w.asked); n != 2 {
		t.Errorf("asked %q", w.asked)
	}
}

func TestAMemberGoesInOrder(t *testing.T) {
	w := newWorld(t, "m1", "m2")
	_, err := w.client.Start(t.Context(), "m1", "10.0.0.1")
	must(t, err)
	s, err := w.client.Join(t.Context(), "m2", Joining{Of: "m1", Advertise: "10.0.0.2", Manager: true})
	must(t, err)
	swarm := w.engines["m1"].swarm
	swarm.tasks[s.Node] = []string{"running", "shutdown", "complete", "preparing", "failed"}
	if n, err := w.client.Tasks(t.Context(), "m1", s.Node); n != 2 || err != nil {
		t.Errorf("%d tasks, %v", n, err)
	}
	for range 2 {
		must(t, w.client.Update(t.Context(), "m1", s.Node, Change{Availability: Drain, Manager: Demote}))
	}
	nodes, err := w.client.Nodes(t.Context(), "m1")
	must(t, err)
	i := slices.IndexFunc(nodes, func(n Node) bool { return n.ID == s.Node })
	if want := (Node{ID: s.Node, Name: "m2"}); nodes[i] != want {
		t.Errorf("%+v, want %+v", nodes[i], want)
	}
	if labels := fmt.Sprint(swarm.nodes[s.Node].Spec["Labels"]); labels != "map[kept:yes]" {
		t.Errorf("what others wrote about a node is %s", labels)
	}
	for range 2 {
		must(t, w.client.Leave(t.Context(), "m2", s.Node, false))
		must(t, w.client.Remove(t.Context(), "m1", s.Node))
	}
	if err := w.client.Update(t.Context(), "m1", s.Node, Change{Manager: Demote}); !fault.Is(err, fault.NotFound) {
		t.Errorf("an unknown node: %v", err)
	}
	if err := w.client.Update(t.Context(), "m1", "n0-m1", Change{Manager: Demote}); !fault.Is(err, fault.Precondition) || !strings.HasSuffix(err.Error(), "says: attempting to demote the last manager of the swarm") {
		t.Errorf("the last manager: %v", err)
	}
	if err := w.client.Leave(t.Context(), "m1", "n0-m1", false); !fault.Is(err, fault.Unavailable) {
		t.Errorf("a manager left: %v", err)
	}
	must(t, w.client.Leave(t.Context(), "m1", "its node in another swarm", true))
	if w.engines["m1"].swarm == nil {
		t.Error("it left a swarm that is none of ours")
	}
	must(t, w.client.Leave(t.Context(), "m1", "n0-m1", true))
	want := []string{
		"m1 POST /swarm/init", "m2 POST /swarm/join", "m1 POST /nodes/n1-m2/update", "m2 POST /swarm/leave", "m1 DELETE /nodes/n1-m2", "m1 DELETE /nodes/n1-m2",
		"m1 POST /nodes/n0-m1/update", "m1 POST /swarm/leave", "m1 POST /swarm/leave",
	}
	if !slices.Equal(w.asked, want) {
		t.Errorf("asked %q", w.asked)
	}
}

func TestACertificateIsRenewedBeforeItEnds(t *testing.T) {
	w := newWorld(t, "m1")
	for _, later := range []time.Duration{0, 29 * time.Minute, time.Minute} {
		w.now = w.now.Add(later)
		if _, err := w.client.State(t.Context(), "m1"); err != nil {
			t.Fatal(err)
		}
	}
	if w.signed != 2 {
		t.Errorf("%d certificates", w.signed)
	}
}

func TestWhatIsLeftOfAJoinOrMembershipOfOursIsLeftFirst(t *testing.T) {
	member := func(w *world) string {
		s, err := w.client.Join(w.t.Context(), "w1", Joining{Of: "m1", Advertise: "10.0.0.3"})
		must(w.t, err)
		return s.Node
	}
	failed := func(w *world) string {
		w.engines["w1"].local = "error"
		return ""
	}
	for name, c := range map[string]struct {
		prepare func(w *world) (former string)
		begun   bool
		says    string // nothing where it joins
	}{
		"a join of ours that failed":   {failed, true, ""},
		"one of somebody else":         {failed, false, `"w1" can't get into its swarm: certificate has expired`},
		"a node that somebody removed": {func(w *world) string { n := member(w); delete(w.engines["m1"].swarm.nodes, n); return n }, false, ""},
		"one that its engine knows of": {func(w *world) string { n := member(w); delete(w.engines["m1"].swarm.nodes, n); failed(w); return n }, false, ""},
		"a member in trouble":          {func(w *world) string { n := member(w); failed(w); return n }, false, `"w1" can't get into its swarm`},
		"a member of a swarm of its own": {func(w *world) string {
			_, err := w.client.Start(w.t.Context(), "w1", "10.0.0.3")
			must(w.t, err)
			return "gone"
		}, true, `"w1" is a member of another swarm already`},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, "m1", "w1")
			_, err := w.client.Start(t.Context(), "m1", "10.0.0.1")
			must(t, err)
			former := c.prepare(w)
			s, err := w.client.Join(t.Context(), "w1", Joining{Of: "m1", Advertise: "10.0.0.4", Former: former, Begun: c.begun})
			if c.says == "" {
				if err != nil || s.Swarm != "s-m1" || w.engines["m1"].swarm.nodes[s.Node] == nil {
					t.Errorf("%+v, %v", s, err)
				}
			} else if err == nil || !strings.HasPrefix(err.Error(), c.says) || s.Swarm != "" {
				t.Errorf("%v, %+v", err, s)
			}
		})
	}
}
