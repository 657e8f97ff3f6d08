package health

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"mctl/internal/host"
)

// fakeEngine is a dockerd: a process that can die, a socket and its events. As with systemd, the socket stays when the
// process goes, and whoever connects then would wake it.
type fakeEngine struct {
	t    *testing.T
	root string

	mu         sync.Mutex
	process    *exec.Cmd
	stopping   bool
	frozen     chan struct{} // closed when it answers
	connected  int
	awoken     int
	containers []listed
	events     []message
	more       chan struct{} // closed when there are more events
	cut        func()        // ends the event stream
	lists      []string
	sinces     []string
	version    string   // that it tells; empty for none
	learned    []string // what the Watcher told of it
	changed    int      // how often it told that health is another
}

func newEngine(t *testing.T) *fakeEngine {
	t.Helper()
	root, err := os.MkdirTemp("", "health")
	if err != nil {
		t.Fatal(err)
	}
	e := &fakeEngine{t: t, root: root, frozen: make(chan struct{}), more: make(chan struct{})}
	close(e.frozen)
	t.Cleanup(func() { os.RemoveAll(root) })
	e.put("/var/run/x", "")
	for path, content := range map[string]string{
		"/proc/stat": "cpu  100 0 100 800 0 0 0 0 0 0\nbtime 1700000000\n", "/proc/loadavg": "0.42 0.1 0.1 1/100 200\n",
		"/proc/meminfo": "MemTotal: 1000 kB\nMemAvailable: 400 kB\n", "/proc/self/mountinfo": "",
	} {
		e.put(path, content)
	}
	listener, err := net.Listen("unix", filepath.Join(root, socketPath))
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/_ping", e.ping)
	mux.HandleFunc("/events", e.stream)
	mux.HandleFunc("/containers/json", e.list)
	server := &http.Server{Handler: mux, ReadHeaderTimeout: time.Second, ConnState: func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			e.mu.Lock()
			defer e.mu.Unlock()
			e.connected++
			if e.process == nil || e.stopping {
				e.awoken++
			}
		}
	}}
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(listener) }()
	t.Cleanup(func() { e.stop(); _ = server.Close(); <-done })
	return e
}

func (e *fakeEngine) put(path, content string) {
	full := filepath.Join(e.root, path)
	if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
		e.t.Fatal(err)
	}
	if err := os.WriteFile(full, []byte(content), 0o644); err != nil {
		e.t.Fatal(err)
	}
}

// start makes a process that is called dockerd here.
func (e *fakeEngine) start() {
	e.mu.Lock()
	defer e.mu.Unlock()
	command := exec.Command("sleep", "600")
	if err := command.Start(); err != nil {
		e.t.Fatal(err)
	}
	e.process, e.stopping = command, false
	pid := strconv.Itoa(command.Process.Pid)
	e.put("/proc/"+pid+"/comm", "dockerd\n")
	e.put("/proc/"+pid+"/stat", pid+" (dockerd) S 1")
	e.put("/var/run/docker.pid", pid)
}

// stop kills the process.
func (e *fakeEngine) stop() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.process == nil {
		return
	}
	_ = e.process.Process.Kill()
	_ = e.process.Wait()
	os.RemoveAll(filepath.Join(e.root, "/proc", strconv.Itoa(e.process.Process.Pid)))
	e.process = nil
	if e.cut != nil {
		e.cut()
	}
}

func (e *fakeEngine) freeze() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.frozen = make(chan struct{})
}

func (e *fakeEngine) thaw() {
	e.mu.Lock()
	defer e.mu.Unlock()
	close(e.frozen)
}

func (e *fakeEngine) ping(w http.ResponseWriter, r *http.Request) {
	e.mu.Lock()
	frozen := e.frozen
	e.mu.Unlock()
	select {
	case <-frozen:
		e.mu.Lock()
		w.Header().Set("Server", "Docker/"+e.version+" (linux)")
		e.mu.Unlock()
		fmt.Fprint(w, "OK")
	case <-r.Context().Done():
	}
}

func (e *fakeEngine) list(w http.ResponseWriter, r *http.Request) {
	e.mu.Lock()
	defer e.mu.Unlock()
	filters := r.URL.Query().Get("filters")
	e.lists = append(e.lists, filters)
	found := []listed{}
	for _, c := range e.containers {
		if filters == "" || c.State == "restarting" {
			found = append(found, c)
		}
	}
	_ = json.NewEncoder(w).Encode(found)
}

// happen adds events, a microsecond apart.
func (e *fakeEngine) happen(messages ...message) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, m := range messages {
		m.Type = "container"
		if m.TimeNano == 0 {
			m.TimeNano = time.Date(2100, 1, 1, 0, 0, 0, 1000*(len(e.events)+1), time.UTC).UnixNano()
		}
		e.events = append(e.events, m)
	}
	close(e.more)
	e.more = make(chan struct{})
}

// stream tells all events since the moment asked for, as dockerd does from its memory, and then what happens.
func (e *fakeEngine) stream(w http.ResponseWriter, r *http.Request) {
	var seconds, nanos int64
	_, _ = fmt.Sscanf(r.URL.Query().Get("since"), "%d.%09d", &seconds, &nanos)
	since := seconds*int64(time.Second) + nanos
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	e.mu.Lock()
	e.cut = cancel
	e.sinces = append(e.sinces, r.URL.Query().Get("since"))
	e.mu.Unlock()
	w.WriteHeader(http.StatusOK)
	for told := 0; ; {
		e.mu.Lock()
		events, more := slices.Clone(e.events), e.more
		e.mu.Unlock()
		for ; told < len(events); told++ {
			if events[told].TimeNano >= since {
				_ = json.NewEncoder(w).Encode(events[told])
			}
		}
		_ = http.NewResponseController(w).Flush()
		select {
		case <-ctx.Done():
			return
		case <-more:
		}
	}
}

// watch runs a Watcher until the test ends and returns what it reports.
func (e *fakeEngine) watch() (*Watcher, <-chan host.Event) {
	w := New(Config{
		Logger: hclog.NewNullLogger(), Root: e.root, Recheck: 5 * time.Millisecond, Ping: 10 * time.Millisecond, Frozen: 200 * time.Millisecond,
		Active: func(context.Context) bool {
			e.mu.Lock()
			defer e.mu.Unlock()
			return e.process != nil && !e.stopping
		},
		Version: func(version string) {
			e.mu.Lock()
			defer e.mu.Unlock()
			e.learned = append(e.learned, version)
		},
		Changed: func() {
			e.mu.Lock()
			defer e.mu.Unlock()
			e.changed++
		},
	})
	events := make(chan host.Event, 100)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = w.Events(ctx, func(event host.Event) { events <- event })
	}()
	e.t.Cleanup(func() { cancel(); <-done })
	return w, events
}

// until waits for a condition.
func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	ticker := time.NewTicker(2 * time.Millisecond)
	defer ticker.Stop()
	for deadline := time.After(10 * time.Second); !holds(); {
		select {
		case <-deadline:
			t.Fatalf("never: %s", what)
		case <-ticker.C:
		}
	}
}

func next(t *testing.T, events <-chan host.Event) host.Event {
	t.Helper()
	select {
	case event := <-events:
		return event
	case <-time.After(10 * time.Second):
		t.Fatal("no event came")
		return host.Event{}
	}
}

func snapshot(t *testing.T, w *Watcher) host.Health {
	t.Helper()
	h, err := w.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return h
}
