package orphans

import (
	"context"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"

	"mctl/internal/fault"
	"mctl/internal/mctl/cli"
	"mctl/internal/mctl/dial"
	"mctl/internal/mctl/driverflags"
	controllerv1 "mctl/proto/mctl/controller/v1"
)

func found(kind, id, location string) orphan {
	return orphan{&controllerv1.Orphan{Kind: kind, Id: id, Location: location}, &controllerv1.Scope{Driver: "d"}}
}

func TestOrphansAreChosenByNameInTheOrderInWhichTheyCanGo(t *testing.T) {
	all := []orphan{found("instance", "web", "z1"), found("disk", "web", "z1"), found("disk", "db", "z1"), found("disk", "db", "z2")}
	for _, c := range []struct {
		names []string
		all   bool
		want  []int // nil for a refusal
		says  string
	}{
		{nil, true, []int{0, 1, 2, 3}, ""},
		{[]string{"disk/web", "instance/web"}, false, []int{0, 1}, ""},
		{[]string{"disk/z2/db"}, false, []int{3}, ""},
		{[]string{"web"}, false, nil, "several orphans web"},
		{[]string{"disk/db"}, false, nil, "several orphans disk/db"},
		{[]string{"disk/z1/db", "nope"}, false, nil, "no orphan nope"},
	} {
		chosen, err := choose(all, c.names, c.all)
		if c.want == nil {
			if err == nil || !strings.Contains(err.Error(), c.says) || fault.HintOf(err) == "" {
				t.Errorf("%v: %v", c.names, err)
			}
			continue
		}
		var got []int
		for _, o := range chosen {
			got = append(got, slices.Index(all, o))
		}
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%v: %v %v, want %v", c.names, got, err, c.want)
		}
	}
}

// cloudy is a driver whose places have a project, which must be named, and an endpoint.
func cloudy() *controllerv1.Driver {
	text := controllerv1.DriverFlag_TYPE_STRING
	return &controllerv1.Driver{Name: "cloudy", Flags: []*controllerv1.DriverFlag{
		{Name: "cloudy-project", Env: "CLOUDY_PROJECT", Type: text, Kind: controllerv1.DriverFlag_KIND_VALUE, Scope: true, Required: true},
		{Name: "cloudy-endpoint", Type: text, Kind: controllerv1.DriverFlag_KIND_VALUE, Scope: true},
		{Name: "cloudy-size", Type: text, Kind: controllerv1.DriverFlag_KIND_VALUE},
	}}
}

func TestItIsLookedWhereFlagsSayElseWhereMachinesAre(t *testing.T) {
	for name, c := range map[string]struct {
		args  []string
		env   string
		named bool
		want  []string // the scopes' projects; empty for every place of machines
	}{
		"nothing said":       {nil, "", true, []string{""}},
		"no driver named":    {nil, "env", false, []string{""}},
		"by the environment": {nil, "env", true, []string{"", "env"}},
		"by a flag":          {[]string{"--cloudy-project", "flag"}, "env", true, []string{"flag"}},
		"by another flag":    {[]string{"--cloudy-endpoint", "https://x"}, "env", true, []string{"env"}},
		"by a credential":    {[]string{"--credential", "team"}, "env", true, []string{"env"}},
	} {
		t.Run(name, func(t *testing.T) {
			env := &cli.Env{Out: io.Discard, Err: io.Discard, Lookup: func(name string) (string, bool) { return c.env, name == "CLOUDY_PROJECT" && c.env != "" }}
			flags := newFlags()
			if c.named {
				driverflags.AddScope(flags, cloudy())
				if flags.Lookup("cloudy-size") != nil {
					t.Error("a flag that says nothing of the place is taken")
				}
			}
			if err := flags.Parse(c.args); err != nil {
				t.Fatal(err)
			}
			scopes, err := scopesOf(env, flags, cloudy(), c.named)
			var got []string
			for _, scope := range scopes {
				project := ""
				for _, o := range scope.GetDriverOptions() {
					if o.GetName() == "cloudy-project" {
						project = o.GetValues()[0]
					}
				}
				got = append(got, project)
			}
			if err != nil || !slices.Equal(got, c.want) {
				t.Errorf("%q %v, want %q", got, err, c.want)
			}
		})
	}
	flags := newFlags()
	if err := flags.Parse([]string{"--credential", "team"}); err != nil {
		t.Fatal(err)
	}
	if _, err := scopesOf(&cli.Env{}, flags, cloudy(), false); fault.ReasonOf(err) != fault.ReasonUsage {
		t.Errorf("a credential of nobody's: %v", err)
	}
}

// provider is a controller whose provider takes its time: it notes how long it is waited for.
type provider struct {
	controllerv1.DriverServiceClient
	orphans         []*controllerv1.Orphan
	listing, taking time.Duration
}

func left(ctx context.Context) time.Duration {
	until, _ := ctx.Deadline()
	return time.Until(until)
}

func (p *provider) ListOrphans(ctx context.Context, _ *controllerv1.ListOrphansRequest, _ ...grpc.CallOption) (*controllerv1.ListOrphansResponse, error) {
	p.listing = left(ctx)
	return &controllerv1.ListOrphansResponse{Orphans: p.orphans}, nil
}

func (p *provider) DeleteOrphan(ctx context.Context, _ *controllerv1.DeleteOrphanRequest, _ ...grpc.CallOption) (*controllerv1.DeleteOrphanResponse, error) {
	p.taking = left(ctx)
	return &controllerv1.DeleteOrphanResponse{}, nil
}

func TestAnInstanceHasTimeToStopBeforeItIsRemoved(t *testing.T) {
	p := &provider{orphans: []*controllerv1.Orphan{{Kind: "instance", Id: "web"}}}
	flags := newRemoveFlags()
	if err := flags.Parse([]string{"-y", "--all"}); err != nil {
		t.Fatal(err)
	}
	env := &cli.Env{Out: io.Discard, Err: io.Discard}
	a := asked{flags: flags, scopes: []*controllerv1.Scope{{Driver: "d"}}, client: &dial.Client{Drivers: p}}
	if err := remove(t.Context(), env, a); err != nil {
		t.Fatal(err)
	}
	if p.listing < 2*time.Minute || p.taking < 8*time.Minute {
		t.Errorf("a listing is waited for for %s and a removal for %s, the controller takes 2 and 8 minutes", p.listing, p.taking)
	}
}
