package plugin

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"

	"mctl/internal/controller/driver"
	"mctl/internal/controller/driver/drivertest"
)

func TestMain(m *testing.M) {
	if os.Getenv("MACHINE_PLUGIN_TOKEN") == "42" {
		serveStub()
		os.Exit(0)
	}
	code := m.Run()
	if err := goleak.Find(); err != nil {
		fmt.Fprintln(os.Stderr, "FAIL:", err)
		code = 1
	}
	for _, line := range children() {
		fmt.Fprintln(os.Stderr, "FAIL: a plugin is left:", line)
		code = 1
	}
	os.Exit(code)
}

// children are the processes that we started and that are still there, also those that nobody has reaped.
func children() []string {
	var found []string
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, stat := range stats {
		text, err := os.ReadFile(stat)
		if err != nil {
			continue
		}
		_, rest, _ := strings.Cut(string(text), ") ")
		if fields := strings.Fields(rest); len(fields) > 1 && fields[1] == strconv.Itoa(os.Getpid()) {
			found = append(found, string(text))
		}
	}
	return found
}

// world is a directory of hosts, and a controller's directory with plugins.
type world struct {
	t         *testing.T
	dir       string // hosts
	state     string // <state>/mctl
	mu        sync.Mutex
	kept      map[string][]byte
	told      []string
	forgetful bool // what is kept is not stored
	life      context.Context
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), state: t.TempDir(), kept: map[string][]byte{}, life: t.Context()}
	w.install("stub")
	return w
}

// install puts the stub there under a name, which says how it behaves.
func (w *world) install(name string) string {
	w.t.Helper()
	self, err := os.Executable()
	if err != nil {
		w.t.Fatal(err)
	}
	path := filepath.Join(w.state, "drivers", filePrefix+name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		w.t.Fatal(err)
	}
	if err := os.Symlink(self, path); err != nil {
		w.t.Fatal(err)
	}
	return path
}

func (w *world) plugins() *Plugins {
	return New(w.life, Config{
		Dir: w.state, Path: "/nowhere:relative:/usr/bin", Logger: hclog.NewNullLogger(), Heartbeat: 100 * time.Millisecond, Grace: 2 * time.Second,
		Settle: 2 * time.Second, Look: 5 * time.Millisecond, Locate: 200 * time.Millisecond,
	})
}

func (w *world) driver(name string) *Driver {
	w.t.Helper()
	d, err := w.plugins().Find(name)
	if err != nil {
		w.t.Fatal(err)
	}
	return d
}

// controller is the driver as the controller has it: what it keeps and returns is given back with the next call.
type controller struct {
	*Driver
	w *world
}

func (c controller) with(m driver.Machine) driver.Machine {
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	m.State = c.w.kept[m.UID]
	m.Keep = func(state []byte) error { c.w.keep(m.UID, state); return nil }
	return m
}

func (w *world) keep(uid string, state []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if state != nil && !w.forgetful {
		w.kept[uid] = state
	}
}

func (c controller) done(m driver.Machine, i driver.Instance, err error) (driver.Instance, error) {
	c.w.keep(m.UID, i.State)
	return i, err
}

func (c controller) Create(ctx context.Context, m driver.Machine) (driver.Instance, error) {
	i, err := c.Driver.Create(ctx, c.with(m))
	return c.done(m, i, err)
}

func (c controller) Inspect(ctx context.Context, m driver.Machine) (driver.Instance, error) {
	i, err := c.Driver.Inspect(ctx, c.with(m))
	return c.done(m, i, err)
}

func (c controller) Start(ctx context.Context, m driver.Machine) (driver.Instance, error) {
	i, err := c.Driver.Start(ctx, c.with(m))
	return c.done(m, i, err)
}

func (c controller) Stop(ctx context.Context, m driver.Machine, force bool) (driver.Instance, error) {
	i, err := c.Driver.Stop(ctx, c.with(m), force)
	return c.done(m, i, err)
}

func (c controller) Restart(ctx context.Context, m driver.Machine) (driver.Instance, error) {
	i, err := c.Driver.Restart(ctx, c.with(m))
	return c.done(m, i, err)
}

func (c controller) Delete(ctx context.Context, m driver.Machine) error {
	err := c.Driver.Delete(ctx, c.with(m))
	if err == nil {
		c.w.mu.Lock()
		delete(c.w.kept, m.UID)
		c.w.mu.Unlock()
	}
	return err
}

// machine is one to make.
func (w *world) machine(name string, options ...string) driver.Machine {
	m := driver.Machine{ControllerID: "c1", UID: "uid-" + name, Name: name, Progress: func(line string) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.told = append(w.told, line)
	}}
	m.Options = driver.Options{
		"stub-world": {Values: []string{w.dir}}, flagPoll: {Values: []string{"5ms"}}, flagLimit: {Values: []string{"1m"}},
		"stub-delay": {Values: []string{"40"}}, "stub-token": {Content: []byte("hunter2hunter2")},
	}
	for pair := range slices.Chunk(options, 2) {
		m.Options[pair[0]] = driver.Option{Values: []string{pair[1]}}
	}
	return m
}

func (w *world) controller() controller { return controller{w.driver("stub"), w} }

func (w *world) order(method, how string, times int) {
	w.t.Helper()
	if err := os.WriteFile(filepath.Join(w.dir, "order-"+method), fmt.Appendf(nil, "%s %d", how, times), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) hosts() []string {
	found, _ := filepath.Glob(filepath.Join(w.dir, "host-*"))
	return found
}

// calls are the methods that plugins were asked for.
func (w *world) calls() []string {
	text, _ := os.ReadFile(filepath.Join(w.dir, "calls"))
	return strings.Fields(string(text))
}

func (w *world) said() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Join(w.told, "\n")
}

// Inject, Fill and Heal are the faults of drivertest.
func (w *world) Inject(act drivertest.Act, f drivertest.Fault, times int) {
	method := map[drivertest.Act]string{
		drivertest.Create: "Create", drivertest.Inspect: "GetState", drivertest.Start: "Start", drivertest.Stop: "Kill", drivertest.Delete: "Remove",
	}[act]
	how := map[drivertest.Fault]string{
		drivertest.Throttled: "throttled", drivertest.Unavailable: "unavailable", drivertest.Timeout: "timeout", drivertest.LostAnswer: "lost",
	}[f]
	w.order(method, how, times)
}

func (w *world) Fill() { w.order("Create", "full", 1000) }

func (w *world) Heal() {
	orders, _ := filepath.Glob(filepath.Join(w.dir, "order-*"))
	for _, path := range orders {
		_ = os.Remove(path)
	}
}
