package googledriver_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"mctl/internal/controller/driver"
	"mctl/internal/controller/driver/google"
	"mctl/internal/fault"
	front "mctl/test/cloud/google"
	"mctl/test/cloud/lab"
)

// TestFiftyCreatesAtOnceDoNotWaitForEachOther makes fifty machines at once where every call takes two seconds, and the cloud takes no more calls
// than Google does.
func TestFiftyCreatesAtOnceDoNotWaitForEachOther(t *testing.T) {
	const machines = 50
	w := newWorld(t, lab.Config{Latency: 2 * time.Second, Rate: 25, RateBurst: 75}, front.Config{})
	made := func(d *google.Driver, name string) time.Duration {
		m, start := w.machine(name), time.Now()
		if err := d.Preflight(t.Context(), m); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := d.Create(t.Context(), m); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		return time.Since(start)
	}
	fresh := func() *google.Driver { return google.New(google.Config{Transport: w.transport}) } // the limits are those of use
	alone := made(fresh(), "alone")
	d, start := fresh(), time.Now()
	var mu sync.Mutex
	var slowest time.Duration
	var all sync.WaitGroup
	for i := range machines {
		all.Go(func() {
			took := made(d, fmt.Sprintf("web-%d", i))
			mu.Lock()
			defer mu.Unlock()
			slowest = max(slowest, took)
		})
	}
	all.Wait()
	together := time.Since(start)
	made50, refused := w.lab.Calls()
	total := 0
	for _, n := range made50 {
		total += n
	}
	t.Logf("one alone %s; %d together %s, the slowest of them %s; %d calls, %d beyond the rate", alone, machines, together, slowest, total, refused)
	if w.hosts() != machines+1 {
		t.Errorf("%d hosts", w.hosts())
	}
	if together > alone*10 { // one after the other it would be 50 times as long; a busy machine is no failure
		t.Errorf("together they took %s, one alone %s, the slowest %s", together, alone, slowest)
	}
	if refused > 0 {
		t.Errorf("%d calls were beyond the rate", refused)
	}
}

// TestAnExpiredCredentialHalfwayIsGoneOnWith has the cloud refuse the first token in the middle of a create, and every token in the middle of
// another: a new one is taken, or the machine is left for a better credential, with nothing made twice.
func TestAnExpiredCredentialHalfwayIsGoneOnWith(t *testing.T) {
	tokens := newIssuer(t)
	var mu sync.Mutex
	good := map[string]bool{}
	w := newWorld(t, lab.Config{}, front.Config{WaitLimit: 10 * time.Millisecond, Authorize: func(header string) *lab.Error {
		mu.Lock()
		defer mu.Unlock()
		if !good[strings.TrimPrefix(header, "Bearer ")] {
			return &lab.Error{Kind: lab.Unauthenticated, Text: "expired"}
		}
		return nil
	}})
	secured := httptest.NewTLSServer(w.front)
	defer secured.Close()
	config := w.quick()
	config.Transport = secured.Client().Transport
	machine := func(name string) driver.Machine {
		m := w.machine(name, "google-reserve-address", "true")
		m.Options["google-endpoint"] = driver.Option{Values: []string{secured.URL + front.BasePath}}
		m.Options["google-application-credentials"] = driver.Option{Content: tokens.user}
		return m
	}
	allow := func(token string) {
		mu.Lock()
		defer mu.Unlock()
		clear(good)
		good[token] = true
	}
	for n := 1; ; n++ {
		first := tokens.next()
		allow(first)
		d, m := google.New(config), machine(fmt.Sprintf("web-%d", n))
		// The token is taken back at the nth call; the next one that is issued is good.
		w.lab.Fail(lab.Fault{Skip: n - 1, Do: func() { allow(tokens.next()) }})
		made, err := d.Create(t.Context(), m)
		if err != nil {
			t.Fatalf("taken back after call %d: %v", n, err)
		}
		m.State = made.State
		mu.Lock()
		ended := good[first] // it got through before
		mu.Unlock()
		w.lab.Heal()
		allow(tokens.next())
		if err := google.New(config).Delete(t.Context(), m); err != nil {
			t.Error(err)
		}
		w.nothingLeft(fmt.Sprintf("taken back after call %d", n))
		if ended {
			t.Logf("taken back after each of %d calls", n-1)
			break
		}
	}
	// And one that nothing replaces.
	allow(tokens.next())
	m := machine("stranded")
	w.lab.Fail(lab.Fault{Call: "instances.insert", Do: func() { allow("none") }})
	made, err := google.New(config).Create(t.Context(), m)
	if !fault.Is(err, fault.Denied) || !strings.Contains(fault.HintOf(err), "mctl credential add --replace") {
		t.Errorf("%v, hint %q", err, fault.HintOf(err))
	}
	m.State = made.State
	allow(tokens.next())
	if again, err := google.New(config).Create(t.Context(), m); err != nil || again.Power != driver.Running || w.hosts() != 1 {
		t.Errorf("with a good credential: %+v %v, %d hosts", again, err, w.hosts())
	}
	allow(tokens.next())
	if err := google.New(config).Delete(t.Context(), m); err != nil {
		t.Error(err)
	}
	w.nothingLeft("removed")
}

// issuer gives tokens out to a user whose credentials it makes.
type issuer struct {
	user []byte
	mu   sync.Mutex
	n    int
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	i := &issuer{}
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		i.mu.Lock()
		defer i.mu.Unlock()
		rw.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(rw, `{"access_token":"token-%d","token_type":"Bearer","expires_in":3600}`, i.n)
	}))
	t.Cleanup(server.Close)
	i.user = []byte(`{"type":"authorized_user","client_id":"id","client_secret":"s","refresh_token":"r","token_uri":"` + server.URL + `"}`)
	return i
}

// next is the token that is given out from now on.
func (i *issuer) next() string {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.n++
	return fmt.Sprintf("token-%d", i.n)
}
