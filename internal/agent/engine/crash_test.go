package engine

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mctl/internal/agent/engine/program"
	"mctl/internal/host"
)

var errCrash = errors.New("crash")

// crashing ends the agent, as kill -9 does, at the n-th thing that it does outside itself: before it, or right after.
type crashing struct {
	*fakeHost
	left  *int
	after bool
}

func (c crashing) do(act func() error) error {
	*c.left--
	if *c.left == 0 && !c.after {
		panic(errCrash)
	}
	err := act()
	if *c.left == 0 {
		panic(errCrash)
	}
	return err
}

func (c crashing) Run(ctx context.Context, command program.Command) error {
	if slices.Contains(command.Args, "--download-only") {
		return c.fakeHost.Run(ctx, command) // beside others, and leaves nothing that matters
	}
	return c.do(func() error { return c.fakeHost.Run(ctx, command) })
}

func (c crashing) File(path string) error {
	return c.do(func() error { return c.fakeHost.File(path) })
}

func (c crashing) Written(path string) error {
	return c.do(func() error { return c.fakeHost.Written(path) })
}

func (c crashing) Returned(path string) error {
	return c.do(func() error { return c.fakeHost.Returned(path) })
}

func (c crashing) PutBack(path string) error {
	return c.do(func() error { return c.fakeHost.PutBack(path) })
}

func (c crashing) Package(names ...string) error {
	return c.do(func() error { return c.fakeHost.Package(names...) })
}

// crash converges until the n-th act; false when there are fewer.
func crash(t *testing.T, h *fakeHost, n int, after bool, want host.Engine) (crashed bool) {
	t.Helper()
	defer func() {
		if r := recover(); r != nil {
			if r != any(errCrash) {
				panic(r)
			}
			crashed = true
		}
	}()
	e, left := h.engine(), n
	c := crashing{fakeHost: h, left: &left, after: after}
	e.config.Runner, e.config.Footprint = c, c
	e = New(e.config)
	if _, err := e.Converge(t.Context(), want); err != nil {
		t.Fatal(err)
	}
	return false
}

func TestACrashAnywhereIsMadeGoodByTheNextCall(t *testing.T) {
	const users = `{"mtu":1400,"labels":["mine=1"]}`
	first, second := wish("a=b"), wish("c=d")
	first.InsecureRegistries, first.Options = []string{"r:5000"}, []string{"debug"}
	third := second
	third.Env, third.StorageDriver = []string{"X=y"}, "overlay2"
	tests := map[string]struct {
		before []host.Engine // nil for a host without Docker
		want   host.Engine
		loaded map[string]any
	}{
		"installation":    {nil, second, map[string]any{"mtu": 1400.0, "labels": []any{"mine=1", "c=d", "provider=nspawn"}}},
		"keys taken back": {[]host.Engine{first}, second, map[string]any{"mtu": 1400.0, "labels": []any{"mine=1", "c=d", "provider=nspawn"}}},
		"a restart":       {[]host.Engine{second}, third, map[string]any{"mtu": 1400.0, "labels": []any{"mine=1", "c=d", "provider=nspawn"}, "storage-driver": "overlay2"}},
		"drop-in removed": {[]host.Engine{third}, second, map[string]any{"mtu": 1400.0, "labels": []any{"mine=1", "c=d", "provider=nspawn"}}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			for _, after := range []bool{false, true} {
				for n, crashed := 1, true; crashed; n++ {
					h := newHost(t)
					h.put(daemonJSON, users)
					if test.before != nil {
						h.withDocker()
					}
					for _, want := range test.before {
						converge(t, h, want)
					}
					crashed = crash(t, h, n, after, test.want)
					converge(t, h, test.want)
					if diff := cmp.Diff(test.loaded, h.loaded); diff != "" {
						t.Fatalf("crashed at %d: dockerd has (-want +got):\n%s", n, diff)
					}
					if wantEnv := len(test.want.Env) > 0; wantEnv != (h.get(dropIn) != "-") {
						t.Fatalf("crashed at %d: drop-in %q", n, h.get(dropIn))
					}
					if err := h.engine().Release(t.Context()); err != nil || h.get(daemonJSON) != users {
						t.Fatalf("crashed at %d: %v, daemon.json came back as %q", n, err, h.get(daemonJSON))
					}
				}
			}
		})
	}
}
