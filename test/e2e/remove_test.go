package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestRemoveLeavesNothing(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.create("twice")
	// What is looked for afterwards has to be there before.
	there := strings.Join(l.traces().left(), "\n")
	for _, part := range []string{"ps: ", "vb-" + l.traces().hosts[0], l.traces().bridge + " -j ACCEPT", "find: /sys/fs/cgroup", "/mctl/nspawn/hosts/", "/machines/twice"} {
		if !strings.Contains(there, part) {
			t.Errorf("no %q in what a running host is known by:\n%s", part, there)
		}
	}
	l.must("rm", "-y", "twice")
	if r := l.run("rm", "-y", "twice"); r.code != 1 || !strings.Contains(r.stderr, `Docker machine "twice" does not exist`) {
		t.Errorf("rm of what is gone: %s", r)
	}
	if r := l.run("rm", "-f", "twice"); r.code != 0 {
		t.Errorf("rm -f of what is gone: %s", r)
	}
	l.nothingLeft("after rm twice")

	l.create("vanished")
	l.cutPower()
	l.must("rm", "-y", "vanished")
	l.nothingLeft("after rm of a host that lost its power")

	l.create("vanished")
	l.cutPower()
	folders, _ := filepath.Glob(filepath.Join(l.state, "mctl/nspawn/hosts/*"))
	for _, folder := range folders {
		if err := os.RemoveAll(folder); err != nil {
			t.Fatal(err)
		}
	}
	l.must("rm", "-y", "vanished")
	l.nothingLeft("after rm of a host that vanished")

	// Of a create that takes eight seconds at least: it is booting, or at its packages.
	for _, moment := range spread(newRandom(t), 4, 8*time.Second) {
		created := make(chan result)
		go func() { created <- l.run("create", "--driver", "nspawn", "during") }()
		eventually(t, 10*time.Second, "the record", func() bool { return l.must("ls", "-q") == "during\n" })
		pass(moment)
		l.must("rm", "-y", "during")
		l.nothingLeft("after rm during create at " + moment.String())
		select {
		case r := <-created:
			if r.code != 1 || !strings.Contains(r.stderr, `"during"`) || strings.Contains(r.stderr, "rpc error") {
				t.Errorf("create of what was removed meanwhile: %s", r)
			}
		case <-time.After(10 * time.Second):
			t.Fatal("create of what was removed meanwhile does not end")
		}
	}
}

// cutPower kills the lab's hosts, as somebody who pulls their plugs.
func (l *lab) cutPower() {
	l.t.Helper()
	output, err := exec.Command("pgrep", "-f", "systemd-nspawn.*"+l.state).Output()
	if err != nil {
		l.t.Fatal(err)
	}
	for pid := range strings.FieldsSeq(string(output)) {
		children, _ := os.ReadFile("/proc/" + pid + "/task/" + pid + "/children")
		for child := range strings.FieldsSeq(string(children)) {
			_ = exec.Command("kill", "-KILL", child).Run()
		}
	}
	eventually(l.t, 10*time.Second, "the hosts are off", func() bool { return nspawnHosts(l.t, l) == 0 })
}
