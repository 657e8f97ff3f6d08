package machine

import (
	"context"
	"fmt"
	"maps"
	"testing"

	"mctl/internal/controller/driver"
	"mctl/internal/fault"
)

// labelled is a cloud whose instances have labels.
type labelled struct {
	*cloud
	labels map[string]string
	calls  int
	during func() // called once by Label, when the host has the labels; may be nil
}

func (l *labelled) Label(_ context.Context, _ driver.Machine, labels map[string]string) error {
	if err := l.fault(); err != nil {
		return err
	}
	l.calls++
	maps.Copy(l.labels, labels)
	if during := l.during; during != nil {
		l.during = nil
		during()
	}
	return nil
}

func newLabelled(t *testing.T) (*world, *labelled) {
	w := newWorld(t)
	l := &labelled{cloud: w.cloud, labels: map[string]string{}}
	w.more = drivers{"labelled": l}
	w.restart()
	return w, l
}

func TestLabelsAreTheMachinesAndItsHosts(t *testing.T) {
	w, l := newLabelled(t)
	w.create("web", "labelled")
	generation := w.running("web").Generation
	for i, labels := range []map[string]string{{"a": "1", "b": "2"}, {"a": "3"}, {"a": "3"}} {
		m, err := w.service.Label(t.Context(), fmt.Sprint("r", i), "web", 0, labels)
		if err != nil || m.Generation != generation {
			t.Fatalf("%v, generation %d", err, m.Generation)
		}
	}
	want := map[string]string{"a": "3", "b": "2"}
	w.restart()
	m, err := w.service.Get(t.Context(), "web")
	if err != nil || !maps.Equal(m.Labels, want) || !maps.Equal(l.labels, want) {
		t.Errorf("the machine has %v, its host %v, %v", m.Labels, l.labels, err)
	}
	before := l.calls
	if _, err := w.service.Label(t.Context(), "r1", "web", 0, map[string]string{"a": "1"}); err != nil || l.calls != before || l.labels["a"] != "3" {
		t.Errorf("a request that comes once more: %v, %d calls more, %v", err, l.calls-before, l.labels)
	}
	if _, err := w.service.Label(t.Context(), "", "web", 1, map[string]string{"a": "1"}); !fault.Is(err, fault.Conflict) {
		t.Errorf("at an older revision: %v", err)
	}
	w.create("plain", "cloud")
	w.running("plain")
	if m, err := w.service.Label(t.Context(), "", "plain", 0, want); err != nil || !maps.Equal(m.Labels, want) {
		t.Errorf("where the driver has none: %v, %v", m, err)
	}
}

func TestLabelsThatTheProviderRefusesAreNotNoted(t *testing.T) {
	w, l := newLabelled(t)
	w.create("web", "labelled")
	if _, err := w.service.Label(t.Context(), "", "web", 0, map[string]string{"a": "1"}); !fault.Is(err, fault.Precondition) {
		t.Errorf("before there is a host: %v", err)
	}
	w.running("web")
	l.faults = []error{fault.New("cloud", fault.Invalid, "a", "no such label")}
	if _, err := w.service.Label(t.Context(), "", "web", 0, map[string]string{"a": "1"}); !fault.Is(err, fault.Invalid) {
		t.Errorf("refused: %v", err)
	}
	many := map[string]string{}
	for i := range MaxLabels + 1 {
		many[fmt.Sprint("k", i)] = ""
	}
	l.labels = map[string]string{}
	if _, err := w.service.Label(t.Context(), "", "web", 0, many); !fault.Is(err, fault.Invalid) || l.calls > 0 {
		t.Errorf("too many: %v, %d calls", err, l.calls)
	}
	if m, err := w.service.Get(t.Context(), "web"); err != nil || len(m.Labels) > 0 {
		t.Errorf("noted: %v, %v", m.Labels, err)
	}
	if _, err := w.service.Delete(t.Context(), "", "web", 0, Deletion{}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.service.Label(t.Context(), "", "web", 0, map[string]string{"a": "1"}); !fault.Is(err, fault.Precondition) {
		t.Errorf("while it is removed: %v", err)
	}
	if _, err := w.service.Label(t.Context(), "", "nosuch", 0, map[string]string{"a": "1"}); !fault.Is(err, fault.NotFound) {
		t.Errorf("unknown: %v", err)
	}
}

func TestOfTwoWhoLabelAtOnceTheMachineAndItsHostHaveTheSame(t *testing.T) {
	w, l := newLabelled(t)
	w.create("web", "labelled")
	w.running("web")
	l.during = func() {
		if _, err := w.service.Label(t.Context(), "", "web", 0, map[string]string{"a": "other", "b": "2"}); err != nil {
			t.Error(err)
		}
	}
	m, err := w.service.Label(t.Context(), "", "web", 0, map[string]string{"a": "1"})
	if want := map[string]string{"a": "1", "b": "2"}; err != nil || !maps.Equal(m.Labels, want) || !maps.Equal(l.labels, want) {
		t.Errorf("the machine has %v, its host %v, %v", m.Labels, l.labels, err)
	}
}

func TestALabellingThatComesOnceMoreChangesNothingThoughItChangedNothing(t *testing.T) {
	w, l := newLabelled(t)
	w.create("web", "labelled")
	w.running("web")
	for _, request := range []struct{ id, value, want string }{{"r1", "1", "1"}, {"r2", "1", "1"}, {"r3", "2", "2"}, {"r2", "1", "2"}} {
		m, err := w.service.Label(t.Context(), request.id, "web", 0, map[string]string{"a": request.value})
		if err != nil || m.Labels["a"] != request.want || l.labels["a"] != request.want {
			t.Errorf("%v: the machine has %v, its host %v, %v", request, m.Labels, l.labels, err)
		}
	}
}
