package e2e

import (
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// advertise starts the lab's controller with an address that hosts are told.
func (l *lab) advertise(address string) {
	l.t.Helper()
	l.must("controller", "stop")
	if r := l.execEnv([]string{"MCTL_ADVERTISE=" + address}, nil, filepath.Join(l.bin, "mctl"), "controller", "start"); r.code != 0 {
		l.t.Fatal(r)
	}
}

// TestAHostJoinsByItsUserData makes a host that nobody logs in to, at first where it can't find the controller.
func TestAHostJoinsByItsUserData(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.must("ls")
	byUserData := append(withDocker(t), "--nspawn-bootstrap", "userdata")
	create := func(code int, args ...string) result {
		r := l.run(append(append([]string{"create"}, byUserData...), args...)...)
		if r.code != code {
			t.Fatalf("want exit code %d: %s", code, r)
		}
		return r
	}
	if r := create(3, "web"); !strings.Contains(r.stderr, "--advertise") {
		t.Errorf("without --advertise: %s", r)
	}
	// The first host's own network decides where this computer is for it.
	l.create("--link", "direct", "--nspawn-subnet", "10.213.47.0/24", "neighbour")
	const here = "10.213.47.1"
	l.advertise("10.213.47.99") // where nobody is
	if r := create(3, "--link", "ssh", "web"); !strings.Contains(r.stderr, "can't be ssh") {
		t.Errorf("with --link ssh: %s", r)
	}
	if r := create(1, "--wait-boot", "25s", "web"); !strings.Contains(r.stderr, "did not join") {
		t.Errorf("where nobody is: %s", r)
	}
	l.advertise(here)
	began := time.Now()
	l.must("retry", "web")
	l.must("wait", "web")
	l.cameBy("web", "DIRECT", time.Minute)
	t.Logf("the host joined %s after the retry", time.Since(began).Round(time.Second))
	l.mustDocker("web", nil, "version")
	// Nobody logged in, and another boot changes nothing.
	if told := l.ssh("web", "journalctl -u ssh --no-pager | grep -c 'Accepted publickey' || true"); told != "1" {
		t.Errorf("sshd let somebody in %s times, want this once", told)
	}
	since := time.Now()
	l.must("restart", "web")
	l.lsSaysNothing("web", 30*time.Second)
	if told := l.ssh("web", "systemctl show -p Result -p ActiveState mctl-boot"); !strings.Contains(told, "Result=success") {
		t.Errorf("at the next boot: %s", told)
	}
	if told := l.eventsSince(since, "web", "FAILED"); told != "" {
		t.Errorf("at the next boot: %s", told)
	}
}
