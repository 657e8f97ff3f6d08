package follow_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"mctl/internal/fault"
	"mctl/internal/mctl/controllertest"
	"mctl/internal/mctl/follow"
	controllerv1 "mctl/proto/mctl/controller/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// heard keeps what was shown.
type heard struct {
	mu    sync.Mutex
	lines []string
}

func (h *heard) Step(line string) { h.Note(line) }
func (h *heard) Done(error)       {}
func (h *heard) Note(line string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lines = append(h.lines, line)
}

func (h *heard) has(line string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Contains(h.lines, line)
}

// outcome is how following ended.
type outcome struct {
	m   *controllerv1.Machine
	err error
}

// start follows in the background.
func start(ctx context.Context, c *controllertest.Controller, goal follow.Goal) chan outcome {
	done, client := make(chan outcome, 1), c.Client()
	if goal.Progress == nil {
		goal.Progress = new(heard)
	}
	go func() {
		m, err := follow.Machine(ctx, client, goal)
		done <- outcome{m, err}
	}()
	return done
}

func wait(t *testing.T, done chan outcome) outcome {
	t.Helper()
	select {
	case o := <-done:
		return o
	case <-time.After(20 * time.Second):
		t.Fatal("following does not end")
		return outcome{}
	}
}

// making is a machine whose wish has not come true yet.
func making(name string) *controllerv1.Machine {
	m := controllertest.Running(name, "127.0.0.1")
	m.Generation, m.Status.ObservedGeneration, m.Status.State = 2, 1, "Starting"
	return m
}

func TestFollowingEndsWhenTheGenerationIsReached(t *testing.T) {
	c := controllertest.New(t)
	c.Put(making("web"))
	done := start(t.Context(), c, follow.Goal{Name: "web", UID: "uid-web", Generation: 2})
	c.Wait("it watches", func() bool { return slices.Contains(c.Calls(), "WatchMachines") })
	c.Change("web", func(m *controllerv1.Machine) { m.Status.Progress = "half" })
	c.Change("web", controllertest.Reach)
	if o := wait(t, done); o.err != nil || o.m.GetStatus().GetObservedGeneration() != 2 {
		t.Errorf("%v, %v", o.m, o.err)
	}
}

func TestFollowingTellsAFailureOfThisWishWithItsHint(t *testing.T) {
	c := controllertest.New(t)
	m := making("web")
	m.Generation = 1
	controllertest.Park(fault.Denied, "an older failure", "")(m)
	c.Put(m)
	done := start(t.Context(), c, follow.Goal{Name: "web", Generation: 2})
	c.Wait("it watches", func() bool { return slices.Contains(c.Calls(), "WatchMachines") })
	c.Change("web", func(m *controllerv1.Machine) {
		m.Generation = 2
		controllertest.Park(fault.Quota, "no room", "remove one")(m)
	})
	o := wait(t, done)
	if !fault.Is(o.err, fault.Quota) || o.err.Error() != "no room" || fault.HintOf(o.err) != "remove one" || o.m.GetName() != "web" {
		t.Errorf("%v, hint %q", o.err, fault.HintOf(o.err))
	}
}

func TestParkedMachineIsNoBrokenConnection(t *testing.T) {
	c := controllertest.New(t)
	m := making("web")
	controllertest.Park(fault.Unavailable, "the cloud is away", "")(m)
	c.Put(m)
	o := wait(t, start(t.Context(), c, follow.Goal{Name: "web", Generation: 2}))
	if watches := count(c.Calls(), "WatchMachines"); o.err == nil || watches != 1 {
		t.Errorf("%v after %d streams", o.err, watches)
	}
}

func count(all []string, one string) int {
	return len(slices.DeleteFunc(all, func(s string) bool { return s != one }))
}

func TestRemovalIsFollowedUntilTheRecordIsGone(t *testing.T) {
	c := controllertest.New(t)
	c.Put(making("web"))
	done := start(t.Context(), c, follow.Goal{Name: "web", UID: "uid-web", Generation: 2, Deleted: true})
	c.Wait("it watches", func() bool { return slices.Contains(c.Calls(), "WatchMachines") })
	c.Change("web", controllertest.Reach) // reached is not gone
	c.Remove("web")
	if o := wait(t, done); o.err != nil || o.m != nil {
		t.Errorf("%v, %v", o.m, o.err)
	}
	if o := wait(t, start(t.Context(), c, follow.Goal{Name: "web", Deleted: true})); o.err != nil {
		t.Errorf("one that is gone already: %v", o.err)
	}
	c.Put(making("web"))
	if o := wait(t, start(t.Context(), c, follow.Goal{Name: "web", UID: "another", Deleted: true})); o.err != nil {
		t.Errorf("one whose name another has now: %v", o.err)
	}
}

func TestMachineThatGoesMeanwhileIsTold(t *testing.T) {
	c := controllertest.New(t)
	c.Put(making("web"))
	done := start(t.Context(), c, follow.Goal{Name: "web", UID: "uid-web", Generation: 2})
	c.Wait("it watches", func() bool { return slices.Contains(c.Calls(), "WatchMachines") })
	c.Remove("web")
	for what, o := range map[string]outcome{
		"removed":     wait(t, done),
		"never there": wait(t, start(t.Context(), c, follow.Goal{Name: "web", Generation: 2})),
	} {
		if !errors.Is(o.err, follow.ErrGone) || !fault.Is(o.err, fault.NotFound) || o.err.Error() != `machine "web" was removed meanwhile` {
			t.Errorf("%s: %v", what, o.err)
		}
	}
	c.Put(making("web"))
	if o := wait(t, start(t.Context(), c, follow.Goal{Name: "web", UID: "another", Generation: 2})); !errors.Is(o.err, follow.ErrGone) {
		t.Errorf("one whose name another has now: %v", o.err)
	}
}

func TestWhoStopsFollowingStopsNoWork(t *testing.T) {
	c := controllertest.New(t)
	c.Put(making("web"))
	ctx, cancel := context.WithCancel(t.Context())
	done := start(ctx, c, follow.Goal{Name: "web", Generation: 2})
	c.Wait("it watches", func() bool { return slices.Contains(c.Calls(), "WatchMachines") })
	cancel()
	if o := wait(t, done); !errors.Is(o.err, context.Canceled) {
		t.Errorf("%v", o.err)
	}
	for _, call := range c.Calls() {
		if !strings.HasPrefix(call, "Watch") {
			t.Errorf("it called %s", call)
		}
	}
}

func TestFollowingOutlivesTheControllersEnd(t *testing.T) {
	c := controllertest.New(t)
	c.Put(making("web"))
	client := c.DialAgain()
	done := make(chan outcome, 1)
	lines := new(heard)
	go func() {
		m, err := follow.Machine(t.Context(), client, follow.Goal{Name: "web", Generation: 2, Progress: lines, Since: time.Now().Add(-time.Minute)})
		done <- outcome{m, err}
	}()
	c.Wait("it watches", func() bool { return slices.Contains(c.Calls(), "WatchMachines") })
	c.Stop()
	c.Start()
	c.Wait("it watches again", func() bool { return count(c.Calls(), "WatchMachines") > 1 && count(c.Calls(), "WatchEvents") > 1 })
	c.Emit(&controllerv1.Event{Machine: "web", Type: "PROGRESS", Message: "Going on..."})
	c.Wait("the event is shown", func() bool { return lines.has("(web) Going on...") })
	c.Change("web", controllertest.Reach)
	if o := wait(t, done); o.err != nil {
		t.Error(o.err)
	}
}

func TestStreamThatFailsForGoodEndsIt(t *testing.T) {
	c := controllertest.New(t)
	c.Refuse = func(method string) error {
		if method == "WatchMachines" {
			return fault.New("test", fault.Denied, "web", "you may not").WithHint("ask")
		}
		return nil
	}
	if o := wait(t, start(t.Context(), c, follow.Goal{Name: "web", Generation: 2})); !fault.Is(o.err, fault.Denied) || fault.HintOf(o.err) != "ask" {
		t.Errorf("%v", o.err)
	}
}

func TestWatchThatFellBehindBeginsAnew(t *testing.T) {
	c := controllertest.New(t)
	c.Put(making("web"))
	var mu sync.Mutex
	left := 2
	c.Refuse = func(method string) error {
		mu.Lock()
		defer mu.Unlock()
		if method == "WatchMachines" && left > 0 {
			left--
			return fault.New("test", fault.Resync, "web", "the past is gone")
		}
		return nil
	}
	done := start(t.Context(), c, follow.Goal{Name: "web", Generation: 2})
	c.Wait("it watches again", func() bool { return count(c.Calls(), "WatchMachines") == 3 })
	c.Change("web", controllertest.Reach)
	if o := wait(t, done); o.err != nil {
		t.Error(o.err)
	}
	mu.Lock()
	left = 1000
	mu.Unlock()
	if o := wait(t, start(t.Context(), c, follow.Goal{Name: "web", Generation: 2})); !fault.Is(o.err, fault.Resync) {
		t.Errorf("one that never works: %v", o.err)
	}
}

func TestOnlyEventsOfThisWishAreShown(t *testing.T) {
	c := controllertest.New(t)
	c.Put(making("web"))
	lines := new(heard)
	event := func(uid, kind, message, generation string) {
		c.Emit(&controllerv1.Event{Machine: "web", MachineUid: uid, Type: kind, Message: message, Attributes: map[string]string{"generation": generation}})
	}
	event("uid-web", "PROGRESS", "an older wish", "1")
	event("uid-former", "PROGRESS", "another machine of that name", "2")
	done := start(t.Context(), c, follow.Goal{
		Name: "web", UID: "uid-web", Generation: 2, Since: time.Now(), Progress: lines,
		Words: map[string][]string{"booting": {"Booting one...", "Booting two..."}},
	})
	event("uid-web", "PHASE_CHANGED", "BOOTING", "2")
	event("uid-web", "PHASE_CHANGED", "joining", "2")
	event("uid-web", "AGENT_LOST", "no progress", "2")
	event("uid-web", "PROGRESS", "Copying...", "2")
	c.Wait("all are shown", func() bool { return lines.has("(web) Copying...") })
	c.Change("web", controllertest.Reach)
	wait(t, done)
	want := []string{"Booting one...", "Booting two...", "(web) Copying..."}
	if !slices.Equal(lines.lines, want) {
		t.Errorf("shown %q, want %q", lines.lines, want)
	}
}

func TestPhasesOfAMachineAloneNeedNoNameInFront(t *testing.T) {
	c := controllertest.New(t)
	c.Put(making("web"))
	lines := new(heard)
	for _, text := range []string{"Waiting for the agent to connect...", "installing docker.io", "Odd", "étrange..."} {
		c.Emit(&controllerv1.Event{Machine: "web", MachineUid: "uid-web", Type: "PROGRESS", Message: text, Attributes: map[string]string{"generation": "2"}})
	}
	done := start(t.Context(), c, follow.Goal{Name: "web", UID: "uid-web", Generation: 2, Alone: true, Progress: lines})
	c.Wait("it watches", func() bool { return slices.Contains(c.Calls(), "WatchMachines") })
	c.Change("web", controllertest.Reach)
	wait(t, done)
	if want := []string{"Waiting for the agent to connect...", "(web) installing docker.io", "(web) Odd", "(web) étrange..."}; !slices.Equal(lines.lines, want) {
		t.Errorf("shown %q, want %q", lines.lines, want)
	}
}

func TestControllerHasNoSayInNamesOfFiles(t *testing.T) {
	c := controllertest.New(t)
	evil := controllertest.Running("../../evil", "127.0.0.1")
	evil.Generation, evil.Status.ObservedGeneration = 2, 2
	c.PutAs("web", evil)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if o := wait(t, start(ctx, c, follow.Goal{Name: "web", Generation: 2})); o.err == nil {
		t.Errorf("it took %q for an answer", o.m.GetName())
	}
}
