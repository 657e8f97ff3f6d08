package e2e

import (
	"strings"
	"testing"

	front "mctl/test/cloud/google"
	cloud "mctl/test/cloud/lab"
)

// TestGoogleAnInstanceThatDoesNotComeUpIsKeptAndRemovedWhole has Google say that an instance runs which nobody can log in to.
func TestGoogleAnInstanceThatDoesNotComeUpIsKeptAndRemovedWhole(t *testing.T) {
	t.Parallel()
	g := newGoogle(t, true, front.Config{})
	l := newLab(t)
	for name, how := range map[string]cloud.BootFault{"dead": cloud.NeverBoots, "mute": cloud.NoSSH} {
		t.Run(name, func(t *testing.T) {
			l := l.within(t)
			g.cloud.Fail(cloud.Fault{Call: "instances.insert", Boot: how})
			r := l.run(g.create(name, "--wait-ssh", "5s")...)
			if r.code != 1 || !strings.Contains(r.stderr, "Hint: ") {
				t.Errorf("want exit 1 with a hint: %s", r)
			}
			if listed := l.must("ls"); !strings.Contains(listed, "Error") || !strings.Contains(listed, ":22: ") {
				t.Errorf("ls does not say which port nobody answers at:\n%s", listed)
			}
			if n := len(g.cloud.Instances(t.Context())); n != 1 {
				t.Errorf("there are %d instances", n)
			}
			l.must("rm", "-y", name)
			g.nothingLeft("after rm")
		})
	}
}
