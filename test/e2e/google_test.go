package e2e

import (
	"context"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	front "mctl/test/cloud/google"
	"mctl/test/cloud/host"
	cloud "mctl/test/cloud/lab"
)

// googleCloud is a Compute Engine of the test's own.
type googleCloud struct {
	t      *testing.T
	cloud  *cloud.Lab
	front  *front.Server
	server *httptest.Server
}

// newGoogle makes one; real has its instances boot. It must be made before the lab that uses it, to be taken down after it.
func newGoogle(t *testing.T, real bool, config front.Config) *googleCloud {
	t.Helper()
	var hosts cloud.Hosts
	if real {
		made, err := host.New(t.Context(), hclog.NewNullLogger())
		if err != nil {
			t.Fatal(err)
		}
		hosts = made
	}
	c, err := cloud.New(t.Context(), cloud.Config{Hosts: hosts})
	if err != nil {
		t.Fatal(err)
	}
	f, err := front.New(t.Context(), c, config)
	if err != nil {
		t.Fatal(err)
	}
	c.Seal()
	g := &googleCloud{t: t, cloud: c, front: f, server: httptest.NewServer(f)}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
		defer cancel()
		if t.Failed() {
			for _, i := range c.Instances(ctx) {
				t.Logf("console of %s:\n%s", i.Name, c.Console(i.ID))
			}
		}
		g.nothingLeft("at the end")
		g.server.CloseClientConnections()
		g.server.Close()
		if err := c.Close(ctx); err != nil {
			t.Errorf("close: %v", err)
		}
		if wrong := f.Undocumented(); len(wrong) > 0 {
			t.Errorf("undocumented requests: %q", wrong)
		}
	})
	return g
}

func (g *googleCloud) nothingLeft(when string) {
	g.t.Helper()
	for _, thing := range g.cloud.Leftovers() {
		g.t.Errorf("%s, the cloud still has %s %s", when, thing.Kind, thing.Name)
	}
}

// flags are those that every create needs.
func (g *googleCloud) flags(more ...string) []string {
	return append([]string{"--driver", "google", "--google-project", "lab-project", "--google-endpoint", g.server.URL + front.BasePath}, more...)
}

func (g *googleCloud) create(name string, more ...string) []string {
	return append(append([]string{"create"}, g.flags(more...)...), name)
}

func TestGoogleMachinesLiveOnRealHosts(t *testing.T) {
	t.Parallel()
	g := newGoogle(t, true, front.Config{})
	l := newLab(t)
	// Not by t.Parallel, which would run as many at once as there are processors.
	var all sync.WaitGroup
	for _, name := range []string{"web-1", "web-2", "web-3", "web-4"} {
		all.Go(func() { t.Run(name, func(t *testing.T) { g.liveOnce(l.within(t), name) }) })
	}
	all.Wait()
	g.nothingLeft("after rm")
	if listed := l.must("ls", "-q"); listed != "" {
		t.Errorf("ls -q: %q", listed)
	}
}

func (g *googleCloud) liveOnce(l *lab, name string) {
	t := l.t
	out := l.must(g.create(name, "--google-tags", "http-server")...)
	for _, want := range []string{"Docker is up and running!", "no ingress rule of network default matches the tag http-server"} {
		if !strings.Contains(out, want) {
			t.Errorf("create does not say %q: %s", want, out)
		}
	}
	l.importBusybox(name)
	hello := func() {
		t.Helper()
		if got := l.mustDocker(name, nil, "run", "--rm", "busybox", "echo", "hello"); got != "hello\n" {
			t.Errorf("docker run: %q", got)
		}
	}
	hello()
	first := l.must("ip", name)
	l.must("stop", name)
	if state := l.must("status", name); state != "Stopped\n" {
		t.Errorf("after stop: %q", state)
	}
	l.must("start", name)
	second := l.must("ip", name)
	if first == second {
		t.Errorf("the address is %s after the start, as before", second)
	}
	hello()
	l.must("restart", name)
	if third := l.must("ip", name); third == second {
		t.Errorf("the address is %s after the restart, as before", third)
	}
	hello()
	l.must("kill", name)
	if state := l.must("status", name); state != "Stopped\n" {
		t.Errorf("after kill: %q", state)
	}
	l.must("start", name)
	hello()
	l.must("rm", "-y", name)
}
