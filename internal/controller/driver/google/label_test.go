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
