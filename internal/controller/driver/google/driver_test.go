package google

import (
	"context"
	"net/http"
	"path"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"mctl/internal/controller/driver"
	"mctl/internal/controller/driver/drivertest"
	"mctl/internal/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const zone = "zones/us-central1-a/"

// quick are limits for a world that answers in milliseconds.
func quick(t *testing.T) Config {
	transport := &http.Transport{MaxIdleConnsPerHost: 64}
	t.Cleanup(transport.CloseIdleConnections)
	return Config{Transport: transport, OperationLimit: 5 * time.Second, Settle: 50 * time.Millisecond, Pause: 4 * time.Millisecond, Rate: 1000, Burst: 1000}
}

// machineOn is a machine to make on the stub; options are name and value in turn.
func machineOn(t *testing.T, s *stub, name string, options ...string) driver.Machine {
	t.Helper()
	given := driver.Options{"google-project": {Values: []string{stubProject}}, "google-endpoint": {Values: []string{s.URL + "/compute/v1/"}}}
	for i := 0; i < len(options); i += 2 {
		given[options[i]] = driver.Option{Values: append(given[options[i]].Values, options[i+1])}
	}
	resolved, err := driver.Resolve("google", New(Config{}).Flags(), given)
	if err != nil {
		t.Fatal(err)
	}
	return driver.Machine{
		ControllerID: "c1c1c1c1", UID: "uid-" + name, Name: name, Options: resolved, PublicKeys: []string{"ssh-ed25519 AAAA caller\n"},
		Progress: func(line string) { t.Log(line) },
	}
}

// faults lets the stub fail as a harness asks.
type faults struct{ s *stub }

func (f faults) Inject(act drivertest.Act, how drivertest.Fault, times int) {
	match := map[drivertest.Act]func(method, p string) bool{
		drivertest.Create:  func(method, p string) bool { return method == http.MethodPost && path.Base(p) == "instances" },
		drivertest.Inspect: func(method, p string) bool { return method == http.MethodGet && path.Base(path.Dir(p)) == "instances" },
		drivertest.Start:   func(_, p string) bool { return path.Base(p) == "start" },
		drivertest.Stop:    func(_, p string) bool { return path.Base(p) == "stop" },
		drivertest.Delete: func(method, p string) bool {
			return method == http.MethodDelete && path.Base(path.Dir(p)) == "instances"
		},
	}[act]
	fault := stubFault{match: match, times: times}
	switch how {
	case drivertest.Throttled:
		fault.status, fault.reason, fault.header = http.StatusTooManyRequests, "rateLimitExceeded", http.Header{"Retry-After": {"0"}}
	case drivertest.Unavailable:
		fault.status = http.StatusServiceUnavailable
	case drivertest.Timeout:
	case drivertest.LostAnswer:
		fault.after = true
	}
	f.s.mu.Lock()
	defer f.s.mu.Unlock()
	f.s.deny = append(f.s.deny, fault)
}

func (f faults) Fill() {
	f.s.mu.Lock()
	defer f.s.mu.Unlock()
	f.s.fail = func(kind, target string) (string, string) {
		if kind == "insert" && strings.Contains(target, "/instances/") {
			return "ZONE_RESOURCE_POOL_EXHAUSTED", "The zone does not have enough resources."
		}
		return "", ""
	}
}

func (f faults) Heal() {
	f.s.mu.Lock()
	defer f.s.mu.Unlock()
	f.s.fail, f.s.deny = nil, nil
}

func TestContract(t *testing.T) {
	drivertest.Run(t, func(t *testing.T) drivertest.Harness {
		s := newStub(t)
		config := quick(t)
		return drivertest.Harness{
			New:     func() driver.Driver { return New(config) },
			Machine: machineOn(t, s, "web"),
			List:    func(context.Context) ([]string, error) { return s.list(), nil },
			Vanish: func(_ context.Context, m driver.Machine) error {
				s.mu.Lock()
				defer s.mu.Unlock()
				s.vanish(zone + "instances/" + m.Name)
				return nil
			},
			Vanished:   fault.NotFound,
			Faults:     faults{s},
			Instances:  func(line string) bool { return strings.Contains(line, "/instances/") },
			NewAddress: true,
			CreateTime: 40 * time.Millisecond,
		}
	})
}
