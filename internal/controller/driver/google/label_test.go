package google

import (
	"fmt"
	"strings"
	"testing"

	"mctl/internal/fault"
)

func TestLabelsAreAddedToThoseOfTheInstance(t *testing.T) {
	s := newStub(t)
	m := machineOn(t, s, "web")
	d := New(quick(t))
	create(t, d, m)
	for range 2 {
		if err := d.Label(t.Context(), m, map[string]string{"team": "web", "stage": ""}); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.Label(t.Context(), m, map[string]string{"team": "db"}); err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprint(s.get("zones/us-central1-a/instances/web")["labels"])
	for _, want := range []string{"team:db", "stage:", "mctl-machine:" + m.UID, "mctl-controller:" + m.ControllerID} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in %s", want, got)
		}
	}
}

func TestLabelsThatGoogleTakesNotOrThatAreOursAreRefused(t *testing.T) {
	s := newStub(t)
	m := machineOn(t, s, "web")
	d := New(quick(t))
	if err := d.Label(t.Context(), m, map[string]string{"team": "web"}); !fault.Is(err, fault.NotFound) {
		t.Errorf("where there is no instance: %v", err)
	}
	create(t, d, m)
	for key, value := range map[string]string{
		"Team": "web", "team": "Web", "$(id)": "x", "a b": "x", "k": "`id`", "mctl-machine": "other", "x": strings.Repeat("v", 64), "-x": "y", "quo\"te": "",
	} {
		if err := d.Label(t.Context(), m, map[string]string{key: value}); !fault.Is(err, fault.Invalid) || fault.HintOf(err) == "" {
			t.Errorf("%q=%q: %v", key, value, err)
		}
	}
}

func TestAReleasedInstanceIsNoOrphanAndKeepsWhatItNeeds(t *testing.T) {
	s := newStub(t)
	m := machineOn(t, s, "web")
	d := New(quick(t))
	create(t, d, m)
	if err := d.Label(t.Context(), m, map[string]string{"team": "web"}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := d.Release(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	instance := s.get("zones/us-central1-a/instances/web")
	if got := fmt.Sprint(instance["labels"]); strings.Contains(got, "mctl") || !strings.Contains(got, "team:web") || instance["status"] != "RUNNING" {
		t.Errorf("the instance is %s with labels %s", instance["status"], got)
	}
	found, err := d.List(t.Context(), m)
	if err != nil || len(found) == 0 {
		t.Errorf("nothing lets anybody in any more: %v", err)
	}
	for _, r := range found {
		if r.Kind != kindRule {
			t.Errorf("listed as ours: %+v", r)
		}
	}
	other := machineOn(t, s, "never")
	if err := d.Release(t.Context(), other); err != nil {
		t.Errorf("an instance that is gone: %v", err)
	}
}
