package e2e

import (
	"encoding/json"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	front "mctl/test/cloud/google"
	cloud "mctl/test/cloud/lab"
)

// TestGoogleAControllerKilledMidwayGoesOn kills the real controller at calls of a create. mctl starts another one, which goes on: there is one
// instance, it becomes a Docker host, and nothing is left of it in the end.
func TestGoogleAControllerKilledMidwayGoesOn(t *testing.T) {
	t.Parallel()
	g := newGoogle(t, true, front.Config{})
	l := newLab(t)
	for name, when := range map[string]cloud.Fault{
		"rule":   {Call: "firewalls.insert"},
		"sent":   {Call: "instances.insert"},
		"made":   {Call: "instances.insert", LoseAnswer: true},
		"waited": {Call: "zoneOperations.wait"},
	} {
		t.Run(name, func(t *testing.T) {
			l := l.within(t)
			l.must("controller", "start")
			var status struct {
				Pid int `json:",string"` // int64 is a text in JSON of protos
			}
			if err := json.Unmarshal([]byte(l.must("--output", "json", "controller", "status")), &status); err != nil || status.Pid < 2 {
				t.Fatalf("%+v %v", status, err)
			}
			var killed atomic.Bool
			when.Do = func() { killed.Store(syscall.Kill(status.Pid, syscall.SIGKILL) == nil) }
			g.cloud.Fail(when)
			if r := l.run(g.create(name)...); r.code != 0 || !killed.Load() {
				t.Errorf("killed %t: %s", killed.Load(), r)
			}
			if n := len(g.cloud.Instances(t.Context())); n != 1 {
				t.Errorf("there are %d instances", n)
			}
			if got := l.mustDocker(name, nil, "version", "--format", "{{.Server.Os}}"); got != "linux\n" {
				t.Errorf("docker version: %q", got)
			}
			l.must("rm", "-y", name)
			g.nothingLeft("after rm")
		})
	}
}

// TestGoogleOrphansAndDryRuns leaves an address and rules behind, by force, and cleans up after itself. No host is ever made.
func TestGoogleOrphansAndDryRuns(t *testing.T) {
	t.Parallel()
	g := newGoogle(t, false, front.Config{})
	l, other := newLab(t), newLab(t)
	plan := l.must(g.create("web", "--google-reserve-address", "--google-open-port", "80", "--dry-run")...)
	for _, want := range []string{"instance web (e2-medium) in zone us-central1-a of project lab-project", "disk web-disk", "address web-address", "[2376/tcp 80/tcp] from [0.0.0.0/0]"} {
		if !strings.Contains(plan, want) {
			t.Errorf("the dry run does not say %q: %s", want, plan)
		}
	}
	g.nothingLeft("after a dry run")

	denied := &cloud.Error{Kind: cloud.Denied, Text: "told to"}
	g.cloud.Fail(cloud.Fault{Call: "instances.insert", Times: -1, Error: denied})
	for _, on := range []*lab{l, other} {
		name := "web"
		if on == other {
			name = "theirs"
		}
		if r := on.run(g.create(name, "--google-reserve-address")...); r.code != 1 || !strings.Contains(r.stderr, "docs/drivers/google.md") {
			t.Errorf("want exit 1 and where it says what must be allowed: %s", r)
		}
	}
	if listed := l.must("orphans"); strings.Contains(listed, "address") || strings.Contains(listed, "firewall") {
		t.Errorf("what a machine has is listed: %s", listed)
	}
	g.cloud.Fail(cloud.Fault{Call: "*.delete", Times: -1, Error: denied})
	if r := l.run("rm", "-y", "--forget", "web"); r.code != 0 {
		t.Errorf("rm --forget: %s", r)
	}
	g.cloud.Heal()

	scope := g.flags()
	listed := l.must(append([]string{"orphans"}, scope...)...)
	if strings.Count(listed, "\n") != 4 || !strings.Contains(listed, "web-address") || strings.Contains(listed, "theirs") {
		t.Errorf("want an address and two rules: %s", listed)
	}
	if r := l.run(append([]string{"orphans", "rm", "-y", "theirs-address"}, scope...)...); r.code != 1 || !strings.Contains(r.stderr, "there is no orphan theirs-address") {
		t.Errorf("another controller's: %s", r)
	}
	if r := l.run(append([]string{"orphans", "rm"}, scope...)...); r.code != 2 {
		t.Errorf("none named: %s", r)
	}
	l.must(append([]string{"orphans", "rm", "-y", "address/web-address"}, scope...)...)
	l.must(append([]string{"orphans", "rm", "-y", "--all"}, scope...)...)
	if listed := l.must(append([]string{"orphans"}, scope...)...); strings.Count(listed, "\n") != 1 {
		t.Errorf("left: %s", listed)
	}
	var kept []string
	for _, thing := range g.cloud.Leftovers() {
		kept = append(kept, thing.Name)
	}
	if len(kept) != 3 || !strings.Contains(strings.Join(kept, " "), "theirs-address") {
		t.Errorf("the other controller has %q, want its address and two rules", kept)
	}
	other.must("rm", "-y", "theirs")
}
