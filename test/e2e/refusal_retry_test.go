package e2e

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// parked checks that a machine stays, in the state Error, with the sentence in ERRORS and a hint for scripts.
func (l *lab) parked(name, says string) {
	l.t.Helper()
	if state := l.must("status", name); state != "Error\n" {
		l.t.Errorf("%s is %q", name, state)
	}
	if row := l.must("ls", "--filter", "name=^"+name+"$"); !strings.Contains(row, says) {
		l.t.Errorf("ERRORS does not say %q:\n%s", says, row)
	}
	var m struct {
		Status struct {
			Failure struct{ Kind, Message, Hint string }
		}
	}
	if err := json.Unmarshal([]byte(l.must("--output", "json", "inspect", name)), &m); err != nil {
		l.t.Fatal(err)
	}
	if f := m.Status.Failure; f.Kind == "" || f.Hint == "" || !strings.Contains(f.Message, says) {
		l.t.Errorf("inspect tells %+v", f)
	}
}

// givenBack waits until nothing of ours is left on a host, nor of a Docker that came by us.
func (h *bareHost) givenBack(when string, within time.Duration) {
	h.t.Helper()
	found := ""
	took := eventually(h.t, within, "the host is given back "+when, func() bool {
		found = h.run(`ls -d /var/lib/mctl /usr/local/bin/mctl-agent /etc/systemd/system/mctl-agent* /etc/systemd/system/mctl-front* /etc/docker/*.pem /etc/systemd/system/docker.service.d 2>/dev/null
			dpkg -l docker.io containerd runc 2>/dev/null | grep '^i[^n]'; dpkg --audit; ss -Hltn | grep :2376; true`)
		return found == ""
	})
	h.t.Logf("given back %s within %s", when, took.Round(time.Millisecond))
}

// Each stage stops the same create, and each retry gets one stage further: what was done before is not done again.
func TestACreateThatFailsOnItsHostGoesOnWhenTheCauseIsGone(t *testing.T) {
	t.Parallel()
	l, h := newLab(t), newBareHost(t, "poor", "")
	const small = "mkdir -p %[1]s && mount -t tmpfs -o size=5m none %[1]s"
	mountSmall := func(path string) { h.run(strings.ReplaceAll(small, "%[1]s", path)) }

	t.Run("no room for the agent", func(t *testing.T) {
		l, h := l.within(t), h.in(t)
		mountSmall("/var/lib/mctl")
		says := "the disk of " + h.address + ":22 is full"
		r := l.refused(1, "Error creating machine: "+says, h.adopt("web")...)
		if !strings.Contains(r.stderr, "Hint: make room on the host, then run `mctl retry web`") {
			t.Errorf("what to do is not said: %s", r)
		}
		l.parked("web", says)
		if left := h.run("ls -A /var/lib/mctl"); left != "" {
			t.Errorf("half an agent is left: %s", left)
		}
		h.run("umount /var/lib/mctl")
	})
	t.Run("no room for Docker's packages", func(t *testing.T) {
		l, h := l.within(t), h.in(t)
		mountSmall("/var/cache/apt")
		if r := l.refused(1, "the host's disk is full", "retry", "web"); !strings.Contains(r.stderr, "Hint: make room on the host, then run `mctl retry web`") {
			t.Errorf("what to do is not said: %s", r)
		}
		l.parked("web", "the host's disk is full")
		h.run("umount /var/cache/apt && dpkg --audit")
	})
	t.Run("no room where Docker's packages are unpacked", func(t *testing.T) {
		l, h := l.within(t), h.in(t)
		// Where the agent is there is room.
		h.run(`mkdir -p /small /beside && mount -t tmpfs -o size=30m none /small && mkdir /small/upper /small/work && mount --bind /usr/local /beside &&
			mount -t overlay -o lowerdir=/usr,upperdir=/small/upper,workdir=/small/work overlay /usr && mount --bind /beside /usr/local`)
		l.refused(1, "the host's disk is full", "provision", "web")
		l.parked("web", "the host's disk is full")
		// The packages that were unpacked are completed by the next attempt.
		h.run("mount -o remount,size=1g /small")
	})
	t.Run("no network", func(t *testing.T) {
		l, h := l.within(t), h.in(t)
		gateway := strings.Fields(h.run("ip route show default"))[2]
		h.run("ip route del default")
		r := l.refused(1, "no network on the host: its package repositories can't be reached", "retry", "web")
		if !strings.Contains(r.stdout, "trying again in 8s") {
			t.Errorf("it is not said that it is tried again: %s", r)
		}
		l.parked("web", "no network on the host")
		h.run("ip route add default via " + gateway)
	})
	t.Run("the package manager's lock is held", func(t *testing.T) {
		l, h := l.within(t), h.in(t)
		// A real one that holds its lock until it is told to give up, and then does nothing.
		h.run(`touch /run/hold && systemd-run -q --unit holder apt-get -y -o 'DPkg::Pre-Invoke::=while [ -e /run/hold ] ; do sleep 0.1 ; done ; false' remove openssl &&
			until pgrep -f 'sleep 0.1' >/dev/null; do sleep 0.05; done`)
		since, done := time.Now(), make(chan result, 1)
		go func() { done <- l.run("retry", "web") }()
		const waiting = "waiting for the package manager's lock, held by apt-get (pid "
		eventually(t, time.Minute, "the wait is told", func() bool { return strings.Contains(l.eventsSince(since, "web", "PROGRESS"), waiting) })
		if state := l.must("status", "web"); state == "Error\n" {
			t.Error("it does not wait")
		}
		h.run("rm /run/hold")
		if r := <-done; r.code != 0 || !strings.Contains(r.stdout, waiting) || !strings.Contains(r.stdout, "Docker is up and running!") {
			t.Errorf("want success that says what it waited for: %s", r)
		}
		if row := l.must("ls"); strings.Contains(row, "lock") || !strings.Contains(row, "Running") {
			t.Errorf("ls says\n%s", row)
		}
		l.mustDocker("web", nil, "version")
	})
	t.Run("the host's key has changed", func(t *testing.T) {
		l, h := l.within(t), h.in(t)
		h.run("mkdir /root/keys && mv /etc/ssh/ssh_host_* /root/keys/ && ssh-keygen -A >/dev/null && systemctl restart ssh && systemctl stop mctl-agent")
		const says = "the host key of "
		r := l.refused(1, says+h.address+" has changed", "rm", "-y", "web")
		if !strings.Contains(r.stderr, "somebody may be listening in between") {
			t.Errorf("the danger is not said: %s", r)
		}
		l.parked("web", says)
		l.refused(1, `"web" is being removed`, "retry", "web")
		if files := h.run("ls /usr/local/bin/mctl-agent"); files == "" {
			t.Error("the host was touched in spite of its other key")
		}
		// Its agent is known by another key, and comes back.
		h.run("systemctl start mctl-agent")
		eventually(t, 30*time.Second, "the agent is back", func() bool { return l.run("rm", "-y", "--purge-engine", "web").code == 0 })
		h.givenBack("by its agent", 20*time.Second) // which ends when it has said so, and takes itself away then
		if found, _ := filepath.Glob(filepath.Join(l.state, "machines", "*")); len(found) > 0 {
			t.Errorf("a folder is left: %v", found)
		}
	})
	t.Run("rolled back", func(t *testing.T) {
		l, h := l.within(t), h.in(t)
		mountSmall("/var/cache/apt")
		l.refused(1, "the host's disk is full", h.adopt("gone", "--rollback")...)
		if listed := l.must("ls", "-q"); listed != "" {
			t.Errorf("a record is left: %q", listed)
		}
		h.givenBack("after the rollback", time.Second)
		h.run("umount /var/cache/apt")
	})
	t.Run("removed in the middle", func(t *testing.T) {
		l, h := l.within(t), h.in(t)
		mountSmall("/var/cache/apt")
		l.refused(1, "the host's disk is full", h.adopt("half")...)
		l.must("rm", "-y", "half")
		h.givenBack("after rm of what failed", time.Second)
		h.run("umount /var/cache/apt")
	})
}
