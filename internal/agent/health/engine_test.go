package health

import (
	"slices"
	"strconv"
	"testing"

	"mctl/internal/host"
)

func TestAnEngineThatDiesAndComesBackIsSeen(t *testing.T) {
	e := newEngine(t)
	e.start()
	w, events := e.watch()
	until(t, "the engine is up", func() bool { return snapshot(t, w).EngineUp })
	for range 3 {
		e.stop()
		if got := next(t, events); got.Type != host.EventEngineDown {
			t.Fatalf("event %+v", got)
		}
		if h := snapshot(t, w); h.EngineUp || h.EnginePing != 0 {
			t.Errorf("health of a dead engine: %+v", h)
		}
		e.start()
		if got := next(t, events); got.Type != host.EventEngineUp {
			t.Fatalf("event %+v", got)
		}
	}
	if h := snapshot(t, w); h.EnginePing <= 0 {
		t.Error("no ping time")
	}
}

func TestTheFirstSnapshotTellsWhatIsFoundFirst(t *testing.T) {
	e := newEngine(t)
	e.start()
	w, _ := e.watch()
	if h := snapshot(t, w); !h.EngineUp {
		t.Error("an engine that runs was told as down")
	}
}

func TestAnEngineThatWasToldAsDownComesUpWithAnEvent(t *testing.T) {
	e := newEngine(t)
	e.start()
	e.freeze()
	w, events := e.watch()
	if h := snapshot(t, w); h.EngineUp {
		t.Fatal("an engine that has not answered was told as up")
	}
	e.thaw()
	if got := next(t, events); got.Type != host.EventEngineUp {
		t.Fatalf("event %+v", got)
	}
}

func TestAFrozenEngineIsDownUntilItAnswersAndGetsNoMoreConnections(t *testing.T) {
	e := newEngine(t)
	e.start()
	w, events := e.watch()
	until(t, "the engine is up", func() bool { return snapshot(t, w).EngineUp })
	e.mu.Lock()
	before := e.connected
	e.mu.Unlock()
	e.freeze()
	if got := next(t, events); got.Type != host.EventEngineDown {
		t.Fatalf("event %+v", got)
	}
	e.thaw()
	if got := next(t, events); got.Type != host.EventEngineUp {
		t.Fatalf("event %+v", got)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	// The list of restarting containers may come in between.
	if e.connected > before+2 {
		t.Errorf("%d new connections while it hung", e.connected-before)
	}
}

func TestAStoppedOrStoppingEngineIsNeverConnectedTo(t *testing.T) {
	e := newEngine(t)
	e.start()
	w, events := e.watch()
	until(t, "the engine is up", func() bool { return snapshot(t, w).EngineUp })
	until(t, "its events are followed and its containers listed", func() bool { e.mu.Lock(); defer e.mu.Unlock(); return e.cut != nil && len(e.lists) > 0 })
	// A dockerd that is told to stop ends its connections first, and its process a while later.
	e.mu.Lock()
	e.stopping = true
	cut := e.cut
	e.mu.Unlock()
	cut()
	checks := 0
	until(t, "it was looked at some times", func() bool { checks++; return checks > 50 })
	e.stop()
	if got := next(t, events); got.Type != host.EventEngineDown {
		t.Fatalf("event %+v", got)
	}
	checks = 0
	until(t, "it was looked at some times", func() bool { checks++; return checks > 50 })
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.awoken != 0 {
		t.Errorf("woken %d times", e.awoken)
	}
}

func TestAPidFileWithAnotherProcessIsNoEngine(t *testing.T) {
	e := newEngine(t)
	e.start()
	pid := strconv.Itoa(e.process.Process.Pid)
	e.put("/proc/"+pid+"/comm", "postgres\n")
	w := New(Config{Logger: nullLogger(), Root: e.root})
	if p := w.find(); p != nil {
		t.Error("taken for dockerd")
		p.close()
	}
}

func TestAPidFileElsewhereIsMadeGoodByTheControlGroup(t *testing.T) {
	e := newEngine(t)
	e.start()
	pid := strconv.Itoa(e.process.Process.Pid)
	e.put("/var/run/docker.pid", "0")
	e.put("/sys/fs/cgroup/system.slice/docker.service/cgroup.procs", "1\n"+pid+"\n")
	p := New(Config{Logger: nullLogger(), Root: e.root}).find()
	if p == nil || strconv.Itoa(p.pid) != pid {
		t.Fatalf("found %+v", p)
	}
	p.close()
}

func TestProcessesWithoutADescriptorAreFollowedToo(t *testing.T) {
	e := newEngine(t)
	e.start()
	p := New(Config{Logger: nullLogger(), Root: e.root}).find()
	p.close()
	p.file = nil // an old kernel
	if !p.alive() {
		t.Fatal("dead while it lives")
	}
	ended := make(chan struct{})
	go func() { defer close(ended); p.wait(t.Context(), 1e6) }()
	e.stop()
	<-ended
	if p.alive() {
		t.Error("alive after its death")
	}
}

func TestAnotherVersionOfTheEngineIsToldOnce(t *testing.T) {
	e := newEngine(t)
	learned := func(n int) func() bool {
		return func() bool { e.mu.Lock(); defer e.mu.Unlock(); return len(e.learned) >= n }
	}
	e.start()
	w, events := e.watch()
	until(t, "the engine is up", func() bool { return snapshot(t, w).EngineUp })
	for i, version := range []string{"20.10.24+dfsg1", "29.0.1"} {
		e.stop()
		next(t, events)
		e.mu.Lock()
		e.version = version
		e.mu.Unlock()
		e.start()
		next(t, events)
		until(t, "told", learned(i+1))
	}
	e.stop()
	next(t, events)
	e.start()
	next(t, events)
	e.mu.Lock()
	defer e.mu.Unlock()
	if want := []string{"20.10.24+dfsg1", "29.0.1"}; !slices.Equal(e.learned, want) {
		t.Errorf("told %q", e.learned)
	}
}

func TestOnlyWhatChangesTheCountsIsAChange(t *testing.T) {
	e := newEngine(t)
	e.start()
	w, events := e.watch()
	until(t, "the engine is up", func() bool { return snapshot(t, w).EngineUp })
	e.happen(event("a", "create"), event("a", "start"), event("a", "exec_create: sh"), event("a", "exec_die"), event("a", "top"), event("a", "oom"))
	next(t, events) // the last of them
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.changed != 2 {
		t.Errorf("%d changes, want 2", e.changed)
	}
}
