package health

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"

	"mctl/internal/host"
)

func nullLogger() hclog.Logger { return hclog.NewNullLogger() }

func event(id, action string, attributes ...string) message {
	m := message{Action: action}
	m.Actor.ID = id
	m.Actor.Attributes = map[string]string{"name": "n-" + id, "image": "busybox"}
	for i := 0; i+1 < len(attributes); i += 2 {
		m.Actor.Attributes[attributes[i]] = attributes[i+1]
	}
	return m
}

func TestWhatContainersDoIsReportedUnlessSomebodyAskedForIt(t *testing.T) {
	tests := map[string]struct {
		happens []message
		types   []string
	}{
		"a death of its own":                {[]message{event("a", "die", "exitCode", "3")}, []string{host.EventContainerDied}},
		"docker stop":                       {[]message{event("a", "kill", "signal", "15"), event("a", "die"), event("a", "stop")}, nil},
		"docker kill":                       {[]message{event("a", "kill", "signal", "9"), event("a", "die")}, nil},
		"a signal that is a message":        {[]message{event("a", "kill", "signal", "1"), event("a", "die")}, []string{host.EventContainerDied}},
		"another's kill":                    {[]message{event("b", "kill", "signal", "9"), event("a", "die")}, []string{host.EventContainerDied}},
		"stopped once, died the next time":  {[]message{event("a", "kill", "signal", "15"), event("a", "die"), event("a", "start"), event("a", "die")}, []string{host.EventContainerDied}},
		"a kill that was survived":          {[]message{event("a", "kill", "signal", "15"), event("a", "start"), event("a", "die")}, []string{host.EventContainerDied}},
		"out of memory":                     {[]message{event("a", "oom"), event("a", "die", "exitCode", "137")}, []string{host.EventContainerOOM, host.EventContainerDied}},
		"unhealthy":                         {[]message{event("a", "health_status: healthy"), event("a", "health_status: unhealthy")}, []string{host.EventContainerUnhealthy}},
		"a process of exec is no container": {[]message{event("a", "exec_die", "exitCode", "1")}, nil},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			e := newEngine(t)
			e.start()
			w, events := e.watch()
			until(t, "the engine is up", func() bool { return snapshot(t, w).EngineUp })
			e.happen(append(test.happens, event("last", "oom"))...)
			var types []string
			for {
				got := next(t, events)
				if got.Attributes["container"] == "last" {
					break
				}
				if got.Attributes["name"] != "n-a" || got.Attributes["image"] != "busybox" || got.Message == "" {
					t.Errorf("event %+v", got)
				}
				types = append(types, got.Type)
			}
			if diff := cmp.Diff(test.types, types); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestADeathTellsItsExitCode(t *testing.T) {
	e := newEngine(t)
	e.start()
	_, events := e.watch()
	e.happen(event("a", "die", "exitCode", "42"))
	if got := next(t, events); got.Attributes["exit_code"] != "42" || got.Message != "container n-a ended with exit code 42" {
		t.Errorf("event %+v", got)
	}
}

func TestNoEventIsLostOrToldTwiceWhenTheStreamBreaks(t *testing.T) {
	e := newEngine(t)
	e.start()
	w, events := e.watch()
	until(t, "the engine is up", func() bool { return snapshot(t, w).EngineUp })
	for _, id := range []string{"a", "b", "c"} {
		e.happen(event(id, "oom"))
		if got := next(t, events); got.Attributes["container"] != id {
			t.Fatalf("event %+v, want of %s", got, id)
		}
		e.mu.Lock()
		cut := e.cut
		e.mu.Unlock()
		cut()
		// This one happens while nobody listens, perhaps.
		e.happen(event(id+"2", "oom"))
		if got := next(t, events); got.Attributes["container"] != id+"2" {
			t.Fatalf("event %+v, want of %s2", got, id)
		}
	}
}

func TestContainersAreCountedByListAndEvents(t *testing.T) {
	e := newEngine(t)
	e.containers = []listed{
		{ID: "1", State: "running", Status: "Up 2 hours (unhealthy)"}, {ID: "2", State: "running", Status: "Up 2 hours (healthy)"},
		{ID: "3", State: "exited"}, {ID: "4", State: "paused"}, {ID: "5", State: "restarting"}, {ID: "6", State: "created"},
	}
	e.start()
	w, _ := e.watch()
	counts := func(want ...uint32) func() bool {
		return func() bool {
			h := snapshot(t, w)
			return cmp.Equal(want, []uint32{h.ContainersRunning, h.ContainersStopped, h.ContainersUnhealthy, h.ContainersRestart})
		}
	}
	until(t, "the list is counted", counts(3, 2, 1, 1))
	e.happen(event("1", "die"), event("7", "create"), event("7", "start"), event("2", "health_status: unhealthy"))
	until(t, "events are counted", counts(3, 3, 1, 1))
	e.happen(event("1", "start"), event("7", "die"), event("7", "destroy"), event("3", "destroy"))
	until(t, "further events are counted", counts(3, 1, 1, 1))
	e.mu.Lock()
	e.containers = nil
	e.mu.Unlock()
	until(t, "restarting ones are asked for after a death", counts(3, 2, 1, 0))
	e.mu.Lock()
	defer e.mu.Unlock()
	if all := len(e.lists); all > 4 {
		t.Errorf("%d lists: %q", all, e.lists)
	}
}

func TestWhatHappensDuringAListIsCountedOnTopOfIt(t *testing.T) {
	listing := tally{listing: true}
	listing.apply("a", "start", "")
	listing.apply("a", "die", "")
	var fresh tally
	fresh.apply("a", "start", "")
	for _, m := range listing.recent {
		fresh.apply(m.id, m.action, m.detail)
	}
	if running, stopped, _, _ := fresh.count(); running != 0 || stopped != 1 {
		t.Errorf("%d running, %d stopped", running, stopped)
	}
}

func TestAClockThatIsSetBackHidesNothing(t *testing.T) {
	var c cursor
	at := func(when time.Duration, id string) message {
		m := event(id, "die")
		m.TimeNano = int64(when)
		return m
	}
	for i, step := range []struct {
		m   message
		new bool
	}{
		{at(10*time.Hour, "a"), true}, {at(10*time.Hour, "a"), false}, {at(10*time.Hour, "b"), true},
		{at(10*time.Hour-time.Millisecond, "c"), true}, // overtaken: where to go on stays
		{at(10*time.Hour, "b"), false},
		{at(9*time.Hour, "d"), true}, {at(9*time.Hour, "d"), false}, {at(9*time.Hour+time.Second, "e"), true},
	} {
		if got := c.advance(step.m); got != step.new {
			t.Errorf("%d: new is %t", i, got)
		}
	}
	if c.nano != int64(9*time.Hour+time.Second) {
		t.Errorf("it goes on at %s", time.Duration(c.nano))
	}
}
