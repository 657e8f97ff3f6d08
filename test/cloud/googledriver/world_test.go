// Package googledriver_test holds the google driver against the lab's Compute Engine, which refuses whatever Google does not
// document. Hosts are records here; test/e2e boots them.
package googledriver_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"mctl/internal/controller/driver"
	"mctl/internal/controller/driver/drivertest"
	"mctl/internal/controller/driver/google"
	"mctl/internal/fault"
	front "mctl/test/cloud/google"
	"mctl/test/cloud/lab"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	project    = "lab-project"
	zone       = "us-central1-a"
	controller = "c0ffee00"
)

// world is a cloud, and the way to it.
type world struct {
	*testing.T
	lab       *lab.Lab
	front     *front.Server
	server    *httptest.Server
	transport *http.Transport
}

func newWorld(t *testing.T, cloud lab.Config, config front.Config) *world {
	t.Helper()
	l, err := lab.New(t.Context(), cloud)
	if err != nil {
		t.Fatal(err)
	}
	f, err := front.New(t.Context(), l, config)
	if err != nil {
		t.Fatal(err)
	}
	l.Seal()
	w := &world{T: t, lab: l, front: f, server: httptest.NewServer(f), transport: &http.Transport{MaxIdleConnsPerHost: 100}}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
		defer cancel()
		l.Heal()
		w.transport.CloseIdleConnections()
		w.server.Close()
		if err := l.Close(ctx); err != nil {
			t.Errorf("close: %v", err)
		}
		if wrong := f.Undocumented(); len(wrong) > 0 {
			t.Errorf("undocumented requests: %q", wrong)
		}
	})
	return w
}

// quick are limits for a cloud that answers at once.
func (w *world) quick() google.Config {
	return google.Config{Transport: w.transport, OperationLimit: 5 * time.Second, Settle: 100 * time.Millisecond, Pause: 5 * time.Millisecond, Rate: 1000, Burst: 1000}
}

// machine is one to make; options are name and value in turn.
func (w *world) machine(name string, options ...string) driver.Machine {
	w.Helper()
	given := driver.Options{"google-project": {Values: []string{project}}, "google-endpoint": {Values: []string{w.server.URL + front.BasePath}}}
	for i := 0; i < len(options); i += 2 {
		given[options[i]] = driver.Option{Values: append(given[options[i]].Values, options[i+1])}
	}
	resolved, err := driver.Resolve("google", google.New(google.Config{}).Flags(), given)
	if err != nil {
		w.Fatal(err)
	}
	return driver.Machine{
		ControllerID: controller, UID: "uid-" + name, Name: name, Options: resolved,
		PublicKeys: []string{"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIEwHsdLBB2rBGbNGbPBfR9W3aCNQHdxvpnQGdG0Hkxq caller\n"},
		Progress:   func(line string) { w.Log(line) },
	}
}

func (w *world) left() (lines []string) {
	for _, thing := range w.lab.Leftovers() {
		lines = append(lines, thing.Kind+" "+thing.Scope+" "+thing.Name)
	}
	return lines
}

func (w *world) nothingLeft(when string) {
	w.Helper()
	if left := w.left(); len(left) > 0 {
		w.Errorf("%s, left:\n%s", when, strings.Join(left, "\n"))
	}
}

func (w *world) hosts() int {
	n := 0
	for _, line := range w.left() {
		if isHost(line) {
			n++
		}
	}
	return n
}

func isHost(line string) bool { return strings.HasPrefix(line, "instance ") }

func (w *world) create(d *google.Driver, m driver.Machine) driver.Instance {
	w.Helper()
	made, err := d.Create(w.Context(), m)
	if err != nil {
		w.Fatalf("Create: %v, hint %q", err, fault.HintOf(err))
	}
	return made
}

func (w *world) delete(m driver.Machine) {
	w.Helper()
	if err := google.New(w.quick()).Delete(w.Context(), m); err != nil {
		w.Errorf("Delete: %v", err)
	}
}

// faults lets the lab fail as a harness asks.
type faults struct{ w *world }

func (f faults) Inject(act drivertest.Act, how drivertest.Fault, times int) {
	failure := lab.Fault{Call: map[drivertest.Act]string{
		drivertest.Create: "instances.insert", drivertest.Inspect: "instances.get", drivertest.Start: "instances.start",
		drivertest.Stop: "instances.stop", drivertest.Delete: "instances.delete",
	}[act], Times: times}
	switch how {
	case drivertest.Throttled:
		failure.Error = &lab.Error{Kind: lab.RateLimited, Text: "told to"}
	case drivertest.Unavailable:
		failure.Error = &lab.Error{Kind: lab.Unavailable, Text: "told to"}
	case drivertest.Timeout:
		failure.Raw = &lab.Raw{Status: http.StatusGatewayTimeout, ContentType: "text/html", Body: "<html>upstream timed out</html>"}
	case drivertest.LostAnswer:
		failure.LoseAnswer = true
	}
	f.w.lab.Fail(failure)
}

func (f faults) Fill() {
	f.w.lab.Fail(lab.Fault{Call: "instances.insert", Times: -1, Late: &lab.Error{Kind: lab.StockOut, Text: "no room"}})
}

func (f faults) Heal() { f.w.lab.Heal() }

func TestContract(t *testing.T) {
	for name, options := range map[string][]string{
		"plain":                  nil,
		"everything made beside": {"google-reserve-address", "true", "google-open-port", "80", "google-tags", "web"},
	} {
		t.Run(name, func(t *testing.T) {
			drivertest.Run(t, func(t *testing.T) drivertest.Harness {
				w := newWorld(t, lab.Config{}, front.Config{PageSize: 1, WaitLimit: 10 * time.Millisecond})
				return drivertest.Harness{
					New:     func() driver.Driver { return google.New(w.quick()) },
					Machine: w.machine("web", options...),
					List:    func(context.Context) ([]string, error) { return w.left(), nil },
					Vanish: func(ctx context.Context, m driver.Machine) error {
						return w.lab.Vanish(ctx, lab.Ref{Scope: project + "/zones/" + zone, Name: m.Name})
					},
					Vanished: fault.NotFound, Faults: faults{w}, Instances: isHost, NewAddress: options == nil, CreateTime: 40 * time.Millisecond,
				}
			})
		})
	}
}
