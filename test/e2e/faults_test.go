package e2e

import (
	"bufio"
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// newRandom prints its seed, which MCTL_E2E_SEED gives again.
func newRandom(t *testing.T) *rand.Rand {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if fixed := os.Getenv("MCTL_E2E_SEED"); fixed != "" {
		if _, err := fmt.Sscan(fixed, &seed); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("MCTL_E2E_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// spread are moments, one in each of n equal parts of a time.
func spread(random *rand.Rand, n int, whole time.Duration) []time.Duration {
	moments := make([]time.Duration, n)
	for i := range moments {
		moments[i] = time.Duration((float64(i) + random.Float64()) / float64(n) * float64(whole))
	}
	return moments
}

func pass(d time.Duration) { <-time.NewTimer(d).C }

func (l *lab) killController() {
	l.t.Helper()
	pid, err := strconv.Atoi(l.controllerPID())
	if err != nil {
		l.t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		l.t.Fatal(err)
	}
}

// TestTheControllerKilledAt20MomentsOfACreate spreads them over two creates, so that each meets ten.
func TestTheControllerKilledAt20MomentsOfACreate(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	random := newRandom(t)
	began := time.Now()
	l.must("create", "--driver", "nspawn", "measure")
	whole := time.Since(began)
	l.must("rm", "-y", "measure")
	moments := spread(random, 20, whole)
	t.Logf("one create takes %s, the moments are %v", whole.Round(time.Millisecond), moments)
	l.must("controller", "start")
	for i := range 2 {
		name := fmt.Sprintf("survivor%d", i+1)
		if r := l.run("create", "--driver", "nspawn", "--no-wait", name); r.code != 0 {
			t.Fatal(r)
		}
		var passed time.Duration // while a controller was there
		for j := i; j < len(moments); j += 2 {
			pass(moments[j] - passed)
			passed = moments[j]
			l.killController()
			l.must("controller", "start")
		}
		l.must("wait", name)
		l.mustDocker(name, nil, "version")
		if folders, _ := filepath.Glob(filepath.Join(l.state, "mctl/nspawn/hosts/*")); nspawnHosts(t, l) != 1 || len(folders) != 1 {
			t.Errorf("%s: %d hosts and %v, want exactly one", name, nspawnHosts(t, l), folders)
		}
		l.must("rm", "-y", name)
		l.nothingLeft("after " + name)
	}
	phases := l.phasesAtKills()
	t.Logf("the phases at the kills: %v", phases)
	if len(phases) < 2 {
		t.Error("the moments were not spread over a create")
	}
}

// phasesAtKills counts in which phases a machine was when a controller began to serve again.
func (l *lab) phasesAtKills() map[string]int {
	log, err := os.ReadFile(filepath.Join(l.state, "mctl", "controller.log"))
	if err != nil {
		l.t.Fatal(err)
	}
	moved, phase, phases := regexp.MustCompile(` machine moved: .* to=(\S+)`), "", map[string]int{}
	for line := range bytes.Lines(log) {
		if match := moved.FindSubmatch(line); match != nil {
			phase = string(match[1])
		} else if logOfStart.Match(line) && phase != "" {
			phases[phase]++
		}
	}
	return phases
}

// nspawnHosts counts the hosts that belong to a lab.
func nspawnHosts(t *testing.T, l *lab) int {
	t.Helper()
	output, err := exec.Command("ps", "-ww", "-eo", "args").Output()
	if err != nil {
		t.Fatal(err)
	}
	count := 0
	for line := range strings.Lines(string(output)) {
		if strings.Contains(line, "systemd-nspawn") && strings.Contains(line, l.state) && !strings.Contains(line, "launch.sh") {
			count++
		}
	}
	return count
}

// onHost lists the processes on the lab's newest host that run a command line. Hosts are containers, so they can be
// signalled from here, at a moment that is known exactly.
func (l *lab) onHost(commandLine string) []int {
	l.t.Helper()
	hosts := l.traces().hosts
	output, err := exec.Command("pgrep", "-f", "^"+commandLine).Output()
	if len(hosts) == 0 || err != nil && len(output) > 0 {
		l.t.Fatalf("pgrep %s: %v", commandLine, err)
	}
	var found []int
	for field := range strings.FieldsSeq(string(output)) {
		groups, _ := os.ReadFile(filepath.Join("/proc", field, "cgroup"))
		if pid, err := strconv.Atoi(field); err == nil && bytes.Contains(groups, []byte("/"+hosts[len(hosts)-1])) {
			found = append(found, pid)
		}
	}
	return found
}

// What runs on a host.
const (
	agentLine   = "/usr/local/bin/mctl-agent run"
	frontLine   = "/usr/local/bin/mctl-agent front"
	dockerdLine = "/usr/sbin/dockerd"
)

// signal sends to all processes that run a command line, and returns how many there were.
func (l *lab) signal(signal syscall.Signal, commandLine string) int {
	l.t.Helper()
	sent := 0
	for _, pid := range l.onHost(commandLine) {
		if syscall.Kill(pid, signal) == nil {
			sent++
		}
	}
	return sent
}

func (l *lab) mustSignal(signal syscall.Signal, commandLine string) {
	l.t.Helper()
	if l.signal(signal, commandLine) != 1 {
		l.t.Fatalf("not one process runs %s", commandLine)
	}
}

// sawEvent waits for an event of a type after a moment.
func (l *lab) sawEvent(name, kind string, since time.Time, within time.Duration) {
	l.t.Helper()
	eventually(l.t, within-time.Since(since), "event "+kind, func() bool { return l.eventsSince(since, name, kind) != "" })
	l.t.Logf("%s %s after", kind, time.Since(since).Round(time.Millisecond))
}

func (l *lab) lsSays(name, text string, within time.Duration) {
	l.t.Helper()
	took := eventually(l.t, within, "ls says "+text, func() bool {
		return strings.Contains(l.must("ls", "--filter", "name=^"+name+"$"), text)
	})
	l.t.Logf("ls says %q after %s", text, took.Round(time.Millisecond))
}

// lsSaysNothing waits until there is nothing wrong.
func (l *lab) lsSaysNothing(name string, within time.Duration) {
	l.t.Helper()
	took := eventually(l.t, within, "ls says nothing", func() bool {
		return strings.TrimSpace(l.must("ls", "--filter", "name=^"+name+"$", "--format", "{{.Error}}")) == ""
	})
	l.t.Logf("ls says nothing more after %s", took.Round(time.Millisecond))
}

func TestWhatDiesOnAHostIsSeenAndComesBack(t *testing.T) {
	l := newLab(t)
	l.create("web")

	t.Run("agent killed", func(t *testing.T) {
		l, since := l.within(t), time.Now()
		l.mustSignal(syscall.SIGKILL, agentLine)
		l.sawEvent("web", "AGENT_LOST", since, 5*time.Second)
		l.sawEvent("web", "AGENT_CONNECTED", since, 5*time.Second)
		l.lsSaysNothing("web", 5*time.Second)
	})
	t.Run("dockerd killed", func(t *testing.T) {
		l, since := l.within(t), time.Now()
		l.mustSignal(syscall.SIGKILL, dockerdLine)
		l.sawEvent("web", "ENGINE_DOWN", since, 5*time.Second)
		l.sawEvent("web", "ENGINE_UP", since, 5*time.Second)
		l.lsSaysNothing("web", 5*time.Second)
	})
	t.Run("front killed", func(t *testing.T) {
		l := l.within(t)
		longest := time.Duration(0)
		for range 10 {
			l.mustSignal(syscall.SIGKILL, frontLine)
			began := time.Now()
			conn := l.dialEngine("web")
			fmt.Fprint(conn, "GET /_ping HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n\r\n")
			if response, err := http.ReadResponse(bufio.NewReader(conn), nil); err != nil || response.StatusCode != http.StatusOK {
				t.Fatalf("answer %+v, %v", response, err)
			}
			longest = max(longest, time.Since(began))
		}
		t.Logf("of ten new connections the longest waited %s", longest.Round(time.Millisecond))
	})
	t.Run("engine stopped by its user stays stopped", func(t *testing.T) {
		l, since := l.within(t), time.Now()
		l.ssh("web", "systemctl", "stop", "docker.service") // docker.socket would start it for whoever connects
		l.sawEvent("web", "ENGINE_DOWN", since, 5*time.Second)
		l.lsSays("web", "docker is not running", 5*time.Second-time.Since(since))
		// Neither the agent that watches it nor one that finds it so wakes it.
		since = time.Now()
		l.mustSignal(syscall.SIGKILL, agentLine)
		l.sawEvent("web", "AGENT_CONNECTED", since, 5*time.Second)
		for time.Since(since) < 8*time.Second {
			if listed := l.must("ls"); !strings.Contains(listed, "docker is not running") {
				t.Fatalf("ls says no more that docker is not running:\n%s", listed)
			}
			if state := l.run("ssh", "--via", "direct", "web", "systemctl", "is-active", "docker.service"); strings.TrimSpace(state.stdout) != "inactive" {
				t.Fatalf("after %s the engine is %q", time.Since(since), state.stdout)
			}
			pass(200 * time.Millisecond)
		}
		since = time.Now()
		l.ssh("web", "systemctl", "start", "docker")
		l.sawEvent("web", "ENGINE_UP", since, 5*time.Second)
		l.lsSaysNothing("web", 5*time.Second)
	})
	t.Run("dockerd frozen", func(t *testing.T) {
		l := l.within(t)
		l.mustSignal(syscall.SIGSTOP, dockerdLine)
		l.lsSays("web", "docker is not running", 5*time.Second)
		l.mustSignal(syscall.SIGCONT, dockerdLine)
		l.lsSaysNothing("web", 5*time.Second)
	})
	t.Run("agent frozen", func(t *testing.T) {
		l := l.within(t)
		l.mustSignal(syscall.SIGSTOP, agentLine)
		l.lsSays("web", "agent not connected since", 15*time.Second)
		l.mustSignal(syscall.SIGCONT, agentLine)
		l.lsSaysNothing("web", 15*time.Second)
	})
	t.Run("agent stopped", func(t *testing.T) {
		l := l.within(t)
		l.ssh("web", "systemctl", "stop", "mctl-agent")
		l.lsSays("web", "agent not connected since", 5*time.Second)
		l.ssh("web", "systemctl", "start", "mctl-agent")
		l.lsSaysNothing("web", 5*time.Second)
	})
	t.Run("kills in 10 s close no port", func(t *testing.T) {
		l := l.within(t)
		over := l.watchPort("web")
		// systemd gives up an engine that dies so often; somebody makes it try again and again.
		tries := make(chan result)
		go func() {
			tries <- l.run("ssh", "--via", "direct", "web", "for i in $(seq 25); do systemctl reset-failed docker.service docker.socket; systemctl start --no-block docker.socket docker.service; sleep 0.35; done")
		}()
		kills, began := map[string]int{}, time.Now()
		for time.Since(began) < 10*time.Second {
			for _, commandLine := range []string{agentLine, frontLine, dockerdLine} {
				kills[commandLine] += l.signal(syscall.SIGKILL, commandLine)
			}
			pass(150 * time.Millisecond)
		}
		t.Logf("kills: %v", kills)
		if r := <-tries; r.code != 0 {
			t.Error(r)
		}
		// How often each is up again to be killed is the machine's matter; that each was, and 20 in all, is the test's.
		if min(kills[frontLine], kills[agentLine], kills[dockerdLine]) < 5 || kills[frontLine]+kills[agentLine]+kills[dockerdLine] < 20 {
			t.Errorf("that were few kills: %v", kills)
		}
		eventually(t, 30*time.Second, "docker answers", func() bool { return l.docker("web", nil, "version").code == 0 })
		l.lsSaysNothing("web", 30*time.Second)
		over()
	})
}

// watchPort connects to the engine's port all the time, until the function that it returns is called, which fails the test
// if the port was closed for a moment.
func (l *lab) watchPort(name string) func() {
	l.t.Helper()
	address := strings.TrimPrefix(strings.TrimSpace(l.must("url", name)), "tcp://")
	stop, done := make(chan struct{}), make(chan struct{})
	open, closed := 0, []string{}
	go func() {
		defer close(done)
		ticker := time.NewTicker(20 * time.Millisecond)
		defer ticker.Stop()
		for {
			conn, err := net.DialTimeout("tcp", address, 5*time.Second)
			if err != nil {
				closed = append(closed, err.Error())
			} else {
				open++
				conn.Close()
			}
			select {
			case <-ticker.C:
			case <-stop:
				return
			}
		}
	}()
	return func() {
		l.t.Helper()
		close(stop)
		<-done
		l.t.Logf("the port was found open %d times", open)
		if len(closed) > 0 || open < 100 {
			l.t.Errorf("the port was found open %d times and closed %d times: %v", open, len(closed), closed)
		}
	}
}
