package machine

import (
	"fmt"
	"maps"
	"strings"
	"sync/atomic"
	"testing"

	"mctl/internal/fault"
	"mctl/internal/mctl/controllertest"
)

func TestLabelsAreAddedAndMayBeRepeated(t *testing.T) {
	c := controllertest.New(t)
	c.Put(controllertest.Running("web", "10.0.0.1"))
	for range 2 {
		out, err := run(t.Context(), c.Env(), "update-labels", "--label", "a=1", "web", "--label=b=x=y", "--label", "a=2")
		if err != nil || out != "Labels of \"web\" were updated.\n" {
			t.Errorf("%q, %v", out, err)
		}
	}
	if _, err := run(t.Context(), c.Env(), "update-labels", "--label", "c=", "web"); err != nil {
		t.Error(err)
	}
	m, err := c.Env().Get(t.Context(), "web")
	if want := map[string]string{"a": "2", "b": "x=y", "c": ""}; err != nil || !maps.Equal(m.GetLabels(), want) {
		t.Errorf("%v, %v", m.GetLabels(), err)
	}
}

func TestLabelsThatAreNoneAreRefused(t *testing.T) {
	c := controllertest.New(t)
	c.Put(controllertest.Running("web", "10.0.0.1"))
	for _, args := range [][]string{{"web"}, {"--label", "plain", "web"}, {"--label", "=x", "web"}, {"--label", "", "web"}} {
		if _, err := run(t.Context(), c.Env(), append([]string{"update-labels"}, args...)...); fault.ReasonOf(err) != fault.ReasonUsage {
			t.Errorf("%q: %v", args, err)
		}
	}
	if _, err := run(t.Context(), c.Env(), "update-labels", "--label", "a=b"); err == nil || !strings.HasPrefix(err.Error(), "Error: Expected to get one or more machine names") {
		t.Errorf("without a name: %v", err)
	}
	if _, err := run(t.Context(), c.Env(), "update-labels", "--label", "a=b", "nosuch"); !fault.Is(err, fault.NotFound) {
		t.Errorf("an unknown name: %v", err)
	}
}

func TestOneMachinesLabelsThatFailUndoNoOthers(t *testing.T) {
	c := controllertest.New(t)
	c.Put(controllertest.Running("good", "10.0.0.1"))
	c.Put(controllertest.Running("bad", "10.0.0.2"))
	var refused atomic.Bool // both are asked at once
	c.Refuse = func(method string) error {
		if method == "UpdateLabels" && refused.CompareAndSwap(false, true) {
			return fault.New("test", fault.Denied, "bad", "you may not").WithHint("ask")
		}
		return nil
	}
	out, err := run(t.Context(), c.Env(), "update-labels", "--label", "a=b", "good", "bad")
	if err == nil || !strings.HasSuffix(err.Error(), "you may not") || strings.Count(out, "were updated") != 1 {
		t.Errorf("%q, %v", out, fmt.Sprint(err))
	}
}
