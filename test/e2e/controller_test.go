package e2e

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"mctl/internal/pki"
)

// longPath makes the lab's state directory one whose path is 200 characters long.
func (l *lab) longPath() {
	l.t.Helper()
	for len(l.state) < 150 {
		l.state = filepath.Join(l.state, "long")
	}
	l.state = filepath.Join(l.state, strings.Repeat("x", 200-len(l.state)-1))
	if len(l.state) != 200 {
		l.t.Fatalf("the path has %d characters", len(l.state))
	}
}

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

// starts counts how often a controller of the lab has begun to serve.
func (l *lab) starts() int {
	log, _ := os.ReadFile(filepath.Join(l.state, "mctl", "controller.log"))
	return len(logOfStart.FindAll(log, -1))
}

func TestTwentyFirstCommandsMakeOneControllerAndOneAuthority(t *testing.T) {
	l := newLab(t)
	l.longPath()
	results := make([]result, 20)
	var all sync.WaitGroup
	for i := range results {
		args := []string{"ls", "-q"}
		if i%2 == 0 { // an invitation names the authority
			args = []string{"context", "invite", "--output", "json", "user" + strconv.Itoa(i)}
		}
		all.Go(func() { results[i] = l.run(args...) })
	}
	all.Wait()
	authorities := map[string]int{}
	for i, r := range results {
		if r.code != 0 || r.stderr != "" {
			t.Fatal(r)
		}
		if i%2 == 0 {
			authorities[l.authorityOf(r.stdout)]++
		}
	}
	again := l.authorityOf(l.must("context", "invite", "--output", "json", "again"))
	if len(authorities) != 1 || authorities[again] != 10 {
		t.Errorf("ten invitations name the authorities %v, one more names %s", authorities, again)
	}
	output, err := exec.Command("pgrep", "-f", "controller --state-dir "+l.state).Output()
	if err != nil {
		t.Fatal(err)
	}
	if pids := strings.Fields(string(output)); len(pids) != 1 || pids[0] != l.controllerPID() {
		t.Errorf("controllers: %v, the one that answers is %s", pids, l.controllerPID())
	}
	if n := l.starts(); n != 1 {
		t.Errorf("%d controllers have served", n)
	}
}

func (l *lab) authorityOf(invitation string) string {
	l.t.Helper()
	var told struct{ Ticket string }
	if err := json.Unmarshal([]byte(invitation), &told); err != nil {
		l.t.Fatalf("%v: %s", err, invitation)
	}
	ticket, err := pki.ParseTicket(told.Ticket)
	if err != nil {
		l.t.Fatal(err)
	}
	return strconv.Quote(string(ticket.Authority[:]))
}

func TestAControllerOutlivesTheShellThatStartedIt(t *testing.T) {
	l := newLab(t)
	lock := filepath.Join(t.TempDir(), "lock")
	shell := exec.Command("bash", "-c", `exec 9>"$1" && flock 9 && "$0" ls -q && exec 9>&- && echo started && sleep 1000`, filepath.Join(l.bin, "mctl"), lock)
	shell.Env = l.environment()
	shell.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	output, err := shell.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := shell.Start(); err != nil {
		t.Fatal(err)
	}
	line := make([]byte, 8)
	if _, err := output.Read(line); err != nil || string(line) != "started\n" {
		t.Fatalf("the shell says %q, %v", line, err)
	}
	pid := l.controllerPID()
	if r := l.exec(nil, "flock", "--nonblock", lock, "true"); r.code != 0 {
		t.Errorf("the controller holds a lock of the script that started it: %s", r)
	}
	// As a terminal that is closed does, and as whoever cleans up after it does.
	for _, signal := range []string{"-HUP", "-KILL"} {
		_ = exec.Command("pkill", signal, "--session", strconv.Itoa(shell.Process.Pid)).Run()
	}
	_ = shell.Wait()
	if now := l.controllerPID(); now != pid {
		t.Errorf("the controller was %s, is %s", pid, now)
	}
	if n := l.starts(); n != 1 {
		t.Errorf("%d controllers have served", n)
	}
}

// cgroup is one of this test's own, as a service or a login session has it.
type cgroup string

func newCgroup(t *testing.T) cgroup {
	t.Helper()
	mounts, err := os.ReadFile("/proc/mounts")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		if fields := strings.Fields(line); fields[2] == "cgroup2" {
			dir, err := os.MkdirTemp(fields[1], "session-")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				cgroup(dir).kill(t)
				if err := os.Remove(dir); err != nil {
					t.Error(err)
				}
			})
			return cgroup(dir)
		}
	}
	t.Fatal("no cgroups of version 2 are mounted")
	return ""
}

// kill ends every process in the cgroup and waits until it is empty.
func (c cgroup) kill(t *testing.T) {
	t.Helper()
	eventually(t, 10*time.Second, "the cgroup is empty", func() bool {
		pids, err := os.ReadFile(filepath.Join(string(c), "cgroup.procs"))
		if err != nil {
			t.Fatal(err)
		}
		for pid := range strings.FieldsSeq(string(pids)) {
			_ = exec.Command("kill", "-KILL", pid).Run()
		}
		return len(pids) == 0
	})
}

// bootOf tells one life of a host from the next.
func (l *lab) bootOf(name string) string {
	return l.ssh(name, "cut -d' ' -f22 /proc/1/stat; cat /etc/machine-id")
}

func TestTwoControllersSideBySideAndTheEndOfOnesCgroup(t *testing.T) {
	t.Parallel()
	a, b := newLab(t), newLab(t)
	a.longPath()
	session := newCgroup(t)
	start := a.execEnv(nil, nil, "sh", "-c", `echo $$ >"$0/cgroup.procs" && exec "$1" controller start`, string(session), filepath.Join(a.bin, "mctl"))
	if start.code != 0 {
		t.Fatal(start)
	}
	if pids, err := os.ReadFile(filepath.Join(string(session), "cgroup.procs")); err != nil || strings.TrimSpace(string(pids)) != a.controllerPID() {
		t.Fatalf("in the cgroup is %q, the controller is %s", pids, a.controllerPID())
	}
	var both sync.WaitGroup
	for _, l := range []*lab{a, b} {
		both.Go(func() {
			if r := l.run(append([]string{"create", "web"}, withDocker(t)...)...); r.code != 0 {
				t.Error(r)
			}
		})
	}
	both.Wait()
	if x, y := a.must("ip", "web"), b.must("ip", "web"); x == y {
		t.Errorf("both have the address %s", x)
	}
	a.mustDocker("web", nil, "version")
	b.mustDocker("web", nil, "version")

	environment, pid, boot := a.dockerEnv("web"), a.controllerPID(), a.bootOf("web")
	session.kill(t)
	if r := a.execEnv(environment, nil, "docker", "version"); r.code != 0 {
		t.Errorf("with the controller's cgroup its host ended: %s", r)
	}
	if now := a.must("status", "web"); now != "Running\n" {
		t.Errorf("the next controller says %q", now)
	}
	if a.controllerPID() == pid {
		t.Error("the controller lives on")
	}
	a.lsSays("web", "Running", 5*time.Second)
	eventually(t, 15*time.Second, "its agent is back", func() bool { return !strings.Contains(a.must("ls"), "not connected") })
	if now := a.bootOf("web"); now != boot {
		t.Errorf("the host was another: %s, now %s", boot, now)
	}

	theirs := b.traces().left()
	a.must("rm", "-y", "web")
	a.nothingLeft("bridge and rules go with the last host")
	if now := b.traces().left(); strings.Join(now, "\n") != strings.Join(theirs, "\n") {
		t.Errorf("the other controller had %v, has %v", theirs, now)
	}
	b.mustDocker("web", nil, "version")
}

// TestAControllerOutlivesTheServiceThatStartedIt runs mctl on a host where systemd is process 1.
func TestAControllerOutlivesTheServiceThatStartedIt(t *testing.T) {
	t.Parallel()
	bin, err := filepath.Abs("../../bin")
	if err != nil {
		t.Fatal(err)
	}
	h := newBareHost(t, "scope", "")
	archive := exec.Command("sh", "-c", `tar -C "$0" -c mctl controller | ssh "$@"`, bin)
	archive.Args = append(archive.Args, h.sshArgs("tar -C /usr/local/bin -x")...)
	if output, err := archive.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	pid := h.run("systemd-run --quiet --wait --pipe --collect --unit=starter -E MCTL_HOME=/root/state sh -c 'mctl ls -q && exec mctl controller status --output json' | tr -dc '[:alnum:]:,\n' | grep -o 'pid:[0-9]*'")
	if state := h.run("systemctl show -p LoadState --value starter.service"); state != "not-found" {
		t.Fatalf("the service is %s still", state)
	}
	if now := h.run("MCTL_HOME=/root/state mctl controller status --output json | tr -dc '[:alnum:]:,\n' | grep -o 'pid:[0-9]*'"); now != pid {
		t.Errorf("the controller was %s, is %s", pid, now)
	}
	if group := h.run("cat /proc/" + strings.TrimPrefix(pid, "pid:") + "/cgroup"); !strings.Contains(group, ".scope") {
		t.Errorf("the controller is in the cgroups %s", group)
	}
}
