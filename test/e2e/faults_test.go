package e2e

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// controllerPID is the process that serves a lab.
func (l *lab) controllerPID() string {
	l.t.Helper()
	var status struct {
		PID json.Number `json:"pid"`
	}
	if err := json.Unmarshal([]byte(l.must("controller", "status", "--output", "json")), &status); err != nil {
		l.t.Fatal(err)
	}
	return status.PID.String()
}

func (l *lab) killController() {
	l.t.Helper()
	if output, err := exec.Command("kill", "-KILL", l.controllerPID()).CombinedOutput(); err != nil {
		l.t.Fatalf("kill: %v %s", err, output)
	}
}

func TestTheControllerKilledAt20MomentsOfACreate(t *testing.T) {
	l := newLab(t)
	began := time.Now()
	l.must("create", "--driver", "nspawn", "measure")
	whole := time.Since(began)
	l.must("rm", "-y", "measure")
	seed := uint64(time.Now().UnixNano())
	if fixed := os.Getenv("MCTL_E2E_SEED"); fixed != "" {
		if _, err := fmt.Sscan(fixed, &seed); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("MCTL_E2E_SEED=%d, one create takes %s", seed, whole.Round(time.Millisecond))
	random := rand.New(rand.NewPCG(seed, 0))
	l.must("controller", "start")
	create := exec.Command(filepath.Join(l.bin, "mctl"), "create", "--driver", "nspawn", "--no-wait", "survivor")
	create.Env = l.environment()
	if output, err := create.CombinedOutput(); err != nil {
		t.Fatalf("create: %v\n%s", err, output)
	}
	// Twenty kills spread over the time that one create takes, each followed by a start.
	for range 20 {
		timer := time.NewTimer(time.Duration(random.Int64N(int64(whole) / 10)))
		<-timer.C
		l.killController()
		l.must("controller", "start")
	}
	l.must("wait", "survivor")
	l.mustDocker("survivor", nil, "version")
	if hosts := nspawnHosts(t, l); hosts != 1 {
		t.Errorf("%d hosts, want exactly one", hosts)
	}
}

// nspawnHosts counts the hosts that belong to a lab.
func nspawnHosts(t *testing.T, l *lab) int {
	t.Helper()
	output, err := exec.Command("ps", "-eo", "args").Output()
	if err != nil {
		t.Fatal(err)
	}
	count := 0
	for line := range strings.Lines(string(output)) {
		if strings.Contains(line, "systemd-nspawn") && strings.Contains(line, l.state) {
			count++
		}
	}
	return count
}

// sawEvent waits for an event of a type after a moment.
func (l *lab) sawEvent(name, kind string, since time.Time, within time.Duration) {
	l.t.Helper()
	took := eventually(l.t, within, "event "+kind, func() bool {
		r := l.run("events", "--machine", name, "--type", kind, "--since", since.UTC().Format(time.RFC3339Nano))
		return r.code == 0 && strings.Contains(r.stdout, kind)
	})
	l.t.Logf("%s after %s", kind, took.Round(time.Millisecond))
}

func (l *lab) lsSays(name, text string, within time.Duration) {
	l.t.Helper()
	took := eventually(l.t, within, "ls says "+text, func() bool {
		return strings.Contains(l.must("ls", "--filter", "name=^"+name+"$"), text)
	})
	l.t.Logf("ls says %q after %s", text, took.Round(time.Millisecond))
}

func TestWhatDiesOnAHostIsSeenAndComesBack(t *testing.T) {
	l := newLab(t)
	l.must("create", "--driver", "nspawn", "web")

	t.Run("agent killed", func(t *testing.T) {
		since := time.Now()
		l.ssh("web", "systemctl", "kill", "-s", "KILL", "--kill-who=main", "mctl-agent")
		l.sawEvent("web", "AGENT_LOST", since, 5*time.Second)
		l.sawEvent("web", "AGENT_CONNECTED", since, 5*time.Second)
	})
	t.Run("dockerd killed", func(t *testing.T) {
		since := time.Now()
		l.ssh("web", "pkill", "-KILL", "-x", "dockerd")
		l.sawEvent("web", "ENGINE_DOWN", since, 5*time.Second)
		l.sawEvent("web", "ENGINE_UP", since, 5*time.Second)
	})
	t.Run("front killed", func(t *testing.T) {
		l.ssh("web", "systemctl", "kill", "-s", "KILL", "mctl-front")
		l.mustDocker("web", nil, "version")
	})
	t.Run("engine stopped by its user stays stopped", func(t *testing.T) {
		since := time.Now()
		l.ssh("web", "systemctl", "stop", "docker.service", "docker.socket")
		l.sawEvent("web", "ENGINE_DOWN", since, 5*time.Second)
		l.lsSays("web", "docker is not running", 5*time.Second)
		if state := l.run("ssh", "web", "systemctl", "is-active", "docker.service"); strings.TrimSpace(state.stdout) != "inactive" {
			t.Errorf("the engine is %q", state.stdout)
		}
		l.ssh("web", "systemctl", "start", "docker")
		l.sawEvent("web", "ENGINE_UP", since, 10*time.Second)
	})
	t.Run("dockerd frozen", func(t *testing.T) {
		l.ssh("web", "pkill", "-STOP", "-x", "dockerd")
		l.lsSays("web", "docker is not running", 10*time.Second)
		l.ssh("web", "pkill", "-CONT", "-x", "dockerd")
		eventually(t, 10*time.Second, "ls forgets", func() bool { return !strings.Contains(l.must("ls"), "not running") })
	})
	t.Run("agent frozen", func(t *testing.T) {
		l.ssh("web", "systemctl", "kill", "-s", "STOP", "--kill-who=main", "mctl-agent")
		l.lsSays("web", "agent not connected since", 16*time.Second)
		l.ssh("web", "systemctl", "kill", "-s", "CONT", "--kill-who=main", "mctl-agent")
		eventually(t, 15*time.Second, "the agent is back", func() bool { return !strings.Contains(l.must("ls"), "not connected") })
	})
	t.Run("agent stopped", func(t *testing.T) {
		l.ssh("web", "systemctl", "stop", "mctl-agent")
		l.lsSays("web", "agent not connected since", 5*time.Second)
		l.ssh("web", "systemctl", "start", "mctl-agent")
		eventually(t, 10*time.Second, "the agent is back", func() bool { return !strings.Contains(l.must("ls"), "not connected") })
	})
	t.Run("20 kills of each in 10 s close no port", func(t *testing.T) {
		script := "for i in $(seq 20); do systemctl kill -s KILL mctl-agent; systemctl kill -s KILL mctl-front; pkill -KILL -x dockerd; sleep 0.5; done"
		l.ssh("web", script)
		eventually(t, 30*time.Second, "docker answers", func() bool { return l.docker("web", nil, "version").code == 0 })
		eventually(t, 30*time.Second, "the agent is back", func() bool { return !strings.Contains(l.must("ls"), "not connected") })
	})
}

func TestRemoveLeavesNothing(t *testing.T) {
	l := newLab(t)
	l.must("create", "--driver", "nspawn", "twice")
	l.must("rm", "-y", "twice")
	if r := l.run("rm", "-y", "twice"); r.code != 1 || !strings.Contains(r.stderr, `Docker machine "twice" does not exist`) {
		t.Errorf("rm of what is gone: %s", r)
	}
	if r := l.run("rm", "-f", "twice"); r.code != 0 {
		t.Errorf("rm -f of what is gone: %s", r)
	}
	l.nothingLeft("after rm twice")

	l.must("create", "--driver", "nspawn", "vanished")
	output, err := exec.Command("pgrep", "-f", "systemd-nspawn.*"+l.state).Output()
	if err != nil {
		t.Fatal(err)
	}
	for pid := range strings.FieldsSeq(string(output)) {
		children, _ := os.ReadFile("/proc/" + pid + "/task/" + pid + "/children")
		for child := range strings.FieldsSeq(string(children)) {
			_ = exec.Command("kill", "-KILL", child).Run()
		}
	}
	l.must("rm", "-y", "vanished")
	l.nothingLeft("after rm of a host that vanished")

	l.must("create", "--driver", "nspawn", "--no-wait", "during")
	l.must("rm", "-y", "during")
	l.nothingLeft("after rm during create")
}

func TestLimitsBite(t *testing.T) {
	l := newLab(t)
	l.must("create", "--driver", "nspawn", "--nspawn-memory", "512", "small")
	r := l.run("ssh", "small", "head -c 600000000 /dev/zero | tail -c 600000000 | wc -c")
	if strings.TrimSpace(r.stdout) == "600000000" {
		t.Errorf("600 MB were held in a host of 512 MB: %s", r)
	}
}
