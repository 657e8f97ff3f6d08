package googledriver_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"mctl/internal/controller/driver"
	"mctl/internal/controller/driver/google"
	"mctl/internal/fault"
	front "mctl/test/cloud/google"
	"mctl/test/cloud/lab"
)

// calls are those that the driver makes in the life of a machine with an address of its own. That it makes no others is checked.
var calls = []string{
	"addresses.delete", "addresses.get", "addresses.insert", "addresses.setLabels", "disks.get", "firewalls.delete", "firewalls.get", "firewalls.insert", "firewalls.list",
	"globalOperations.list", "globalOperations.wait", "instances.aggregatedList", "instances.delete", "instances.get", "instances.insert", "instances.start",
	"instances.stop", "regionOperations.wait", "zoneOperations.wait",
}

// life is the whole life of a machine, each act repeated while its failure may pass, as the controller does.
func (w *world) life(m driver.Machine) error {
	repeat := func(act string, do func(context.Context, *google.Driver) error) error {
		var err error
		for range 20 {
			if err = do(w.Context(), google.New(w.quick())); err == nil {
				return nil
			}
			if !fault.Retryable(err) {
				return fmt.Errorf("%s: %s: %w", act, fault.KindOf(err), err)
			}
		}
		return fmt.Errorf("%s does not pass: %w", act, err)
	}
	made := func(act func(context.Context, *google.Driver) (driver.Instance, error)) func(context.Context, *google.Driver) error {
		return func(ctx context.Context, d *google.Driver) error {
			i, err := act(ctx, d)
			if i.State != nil {
				m.State = i.State
			}
			return err
		}
	}
	for _, step := range []struct {
		name string
		do   func(context.Context, *google.Driver) error
	}{
		{"create", made(func(ctx context.Context, d *google.Driver) (driver.Instance, error) { return d.Create(ctx, m) })},
		{"inspect", made(func(ctx context.Context, d *google.Driver) (driver.Instance, error) { return d.Inspect(ctx, m) })},
		{"stop", made(func(ctx context.Context, d *google.Driver) (driver.Instance, error) { return d.Stop(ctx, m, false) })},
		{"start", made(func(ctx context.Context, d *google.Driver) (driver.Instance, error) { return d.Start(ctx, m) })},
		{"one host", func(context.Context, *google.Driver) error {
			if n := w.hosts(); n != 1 {
				return fmt.Errorf("there are %d", n)
			}
			return nil
		}},
		{"remove", func(ctx context.Context, d *google.Driver) error { return d.Delete(ctx, m) }},
	} {
		if err := repeat(step.name, step.do); err != nil {
			return err
		}
	}
	return nil
}

// TestEveryCallMeetsEveryFault has each call of a machine's life fail in every way that the lab knows. What may pass is ridden out, and
// nothing is left.
func TestEveryCallMeetsEveryFault(t *testing.T) {
	faults := map[string]lab.Fault{
		"429":           {Error: &lab.Error{Kind: lab.RateLimited, Text: "told to"}},
		"500":           {Error: &lab.Error{Kind: lab.Internal, Text: "told to"}},
		"503":           {Error: &lab.Error{Kind: lab.Unavailable, Text: "told to"}},
		"lost answer":   {LoseAnswer: true},
		"late failure":  {Late: &lab.Error{Kind: lab.Unavailable, Text: "told to"}},
		"slow":          {Slow: 100 * time.Millisecond},
		"stuck":         {Stuck: true},
		"behind":        {Behind: 3, BehindFor: 50 * time.Millisecond},
		"gateway error": {Raw: &lab.Raw{Status: http.StatusBadGateway, ContentType: "text/html", Body: "<html>bad gateway</html>"}},
	}
	config := front.Config{PageSize: 2, WaitLimit: 10 * time.Millisecond}
	own := []string{"google-reserve-address", "true"}
	t.Run("the calls are all", func(t *testing.T) {
		w := newWorld(t, lab.Config{}, config)
		if err := w.life(w.machine("plain", own...)); err != nil {
			t.Fatal(err)
		}
		made, _ := w.lab.Calls()
		for call := range made {
			if !slices.Contains(calls, call) && !strings.HasSuffix(call, "Operations.list") {
				t.Errorf("the list of calls lacks %s", call)
			}
		}
	})
	for name, failure := range faults {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, lab.Config{}, config)
			if failure.Stuck {
				go w.unstick()
			}
			for i, call := range calls {
				failure.Call, failure.Times = call, 2
				w.lab.Fail(failure)
				m := w.machine(fmt.Sprintf("m%d", i), own...)
				if err := w.life(m); err != nil {
					t.Errorf("at %s: %v", call, err)
					w.lab.Heal()
					w.delete(m)
				}
				w.lab.Heal()
				w.nothingLeft("after a fault at " + call)
			}
		})
	}
}

// unstick lets stuck operations end after a while, as somebody at the cloud would.
func (w *world) unstick() {
	ticker := time.NewTicker(200 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-w.Context().Done():
			return
		case <-ticker.C:
			w.lab.Unstick()
		}
	}
}

func TestQuotaAndStockOutAreSaidAsWhatTheyAre(t *testing.T) {
	for name, c := range map[string]struct {
		fault     lab.Fault
		says, can string
	}{
		"quota, at once":     {lab.Fault{Error: &lab.Error{Kind: lab.Quota, Text: "Quota 'CPUS' exceeded. Limit: 8.0"}}, "quota is used up: Quota 'CPUS' exceeded", "ask Google for more"},
		"quota, later":       {lab.Fault{Late: &lab.Error{Kind: lab.Quota, Text: "Quota 'CPUS' exceeded. Limit: 8.0"}}, "quota is used up: Quota 'CPUS' exceeded", "ask Google for more"},
		"stock-out, at once": {lab.Fault{Error: &lab.Error{Kind: lab.StockOut, Text: "x"}}, "zone us-central1-a has no room for a machine of type e2-medium", "zones that could be tried with --google-zone: us-central1-b"},
		"stock-out, later":   {lab.Fault{Late: &lab.Error{Kind: lab.StockOut, Text: "x"}}, "zone us-central1-a has no room for a machine of type e2-medium", "zones that could be tried with --google-zone: us-central1-b"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, lab.Config{}, front.Config{})
			c.fault.Call = "instances.insert"
			w.lab.Fail(c.fault)
			m := w.machine("web")
			made, err := google.New(w.quick()).Create(t.Context(), m)
			if !fault.Is(err, fault.Quota) || !strings.Contains(err.Error(), c.says) || !strings.HasPrefix(fault.HintOf(err), c.can) {
				t.Errorf("%v, hint %q", err, fault.HintOf(err))
			}
			m.State = made.State
			w.create(google.New(w.quick()), m) // there is room now
			w.delete(m)
			w.nothingLeft("removed")
		})
	}
}

func TestAFullZoneAtStartIsTold(t *testing.T) {
	w := newWorld(t, lab.Config{}, front.Config{})
	d, m := google.New(w.quick()), w.machine("web")
	w.create(d, m)
	if _, err := d.Stop(t.Context(), m, false); err != nil {
		t.Fatal(err)
	}
	w.lab.Fail(lab.Fault{Call: "instances.start", Late: &lab.Error{Kind: lab.StockOut, Text: "x"}})
	if _, err := d.Start(t.Context(), m); !fault.Is(err, fault.Quota) || !strings.Contains(err.Error(), "has no room") {
		t.Errorf("%v", err)
	}
	if on, err := d.Start(t.Context(), m); err != nil || on.Power != driver.Running {
		t.Errorf("%+v %v", on, err)
	}
	w.delete(m)
	w.nothingLeft("removed")
}

func TestARetryAfterIsKept(t *testing.T) {
	w := newWorld(t, lab.Config{}, front.Config{})
	w.lab.Fail(lab.Fault{Call: "instances.insert", Error: &lab.Error{Kind: lab.RateLimited, Text: "told to", RetryAfter: time.Second}})
	d, start := google.New(w.quick()), time.Now()
	w.create(d, w.machine("web"))
	if took := time.Since(start); took < time.Second {
		t.Errorf("it took %s, the answer asked for a second", took)
	}
	w.delete(w.machine("web"))
}

func TestAnInstanceThatVanishesIsGone(t *testing.T) {
	w := newWorld(t, lab.Config{}, front.Config{})
	d, m := google.New(w.quick()), w.machine("web", "google-reserve-address", "true")
	m.State = w.create(d, m).State
	if err := w.lab.Vanish(t.Context(), lab.Ref{Scope: project + "/zones/" + zone, Name: "web"}); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(5 * time.Second)
	_, err := d.Inspect(t.Context(), m)
	for fault.Is(err, fault.Unavailable) && time.Now().Before(deadline) { // it was only just made
		_, err = d.Inspect(t.Context(), m)
	}
	if !fault.Is(err, fault.NotFound) {
		t.Errorf("%v", err)
	}
	w.delete(m)
	w.nothingLeft("removed")
}
