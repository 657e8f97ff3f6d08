package e2e

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// link is what inspect tells of an agent's session.
type link struct {
	Mode, Way string
	Connected bool
}

func (l *lab) link(name string) link {
	l.t.Helper()
	var m struct {
		Spec   struct{ Link string }
		Status struct {
			Link struct {
				Connected bool
				Way       string
			}
		}
	}
	if err := json.Unmarshal([]byte(l.must("inspect", "--output", "json", name)), &m); err != nil {
		l.t.Fatal(err)
	}
	return link{
		Mode: strings.TrimPrefix(m.Spec.Link, "LINK_MODE_"), Way: strings.TrimPrefix(m.Status.Link.Way, "LINK_WAY_"), Connected: m.Status.Link.Connected,
	}
}

// cameBy waits until the agent's session is there and came a certain way.
func (l *lab) cameBy(name, way string, within time.Duration) {
	l.t.Helper()
	took := eventually(l.t, within, name+"'s session comes by "+way, func() bool {
		now := l.link(name)
		return now.Connected && now.Way == way
	})
	l.t.Logf("%s's session came by %s after %s", name, way, took.Round(time.Millisecond))
}

var logOfPort = regexp.MustCompile(` serving: .* port=(\d+)`)

// controlPort is where the lab's controller listens for agents.
func (l *lab) controlPort() string {
	l.t.Helper()
	log, err := os.ReadFile(filepath.Join(l.state, "mctl", "controller.log"))
	if err != nil {
		l.t.Fatal(err)
	}
	all := logOfPort.FindAllSubmatch(log, -1)
	if len(all) == 0 {
		l.t.Fatal("the controller's log names no port")
	}
	return string(all[len(all)-1][1])
}

// stopDialling drops what a host sends to the controller's port. SSH goes on, since the controller dials that.
func (l *lab) stopDialling(name, port string) {
	l.t.Helper()
	l.ssh(name, "iptables -A OUTPUT -p tcp --dport "+port+" -j DROP")
}

func (l *lab) sockets(name string) []string {
	l.t.Helper()
	return strings.Fields(l.ssh(name, "ls /run/mctl-link"))
}

func TestAHostThatCannotDialTheControllerIsReachedOverSSH(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.create("web")
	port := l.controlPort()
	if now := l.link("web"); now != (link{"AUTO", "DIRECT", true}) {
		t.Fatalf("after create: %+v", now)
	}
	l.stopDialling("web", port)
	l.cameBy("web", "SSH", 30*time.Second)
	l.lsSaysNothing("web", 5*time.Second)

	// The controller dies. Its sshd is frozen and holds on to its socket, as after a network that went away.
	before := l.sockets("web")
	if len(before) != 1 {
		t.Errorf("there are the sockets %v", before)
	}
	frozen := l.onHost("sshd: root$")
	if len(frozen) == 0 {
		t.Fatal("no sshd on the host serves the controller")
	}
	for _, pid := range frozen {
		if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
	}
	l.killController()
	l.must("controller", "start")
	l.cameBy("web", "SSH", 30*time.Second)
	if now := l.sockets("web"); len(now) != 1 || now[0] == before[0] {
		t.Errorf("there are the sockets %v, there were %v", now, before)
	}
	for _, pid := range frozen {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}

	// A host that is set up anew finds out by itself which way there is, and one that is rebooted comes back.
	l.must("restart", "web")
	l.cameBy("web", "DIRECT", 30*time.Second) // the rule was gone with the boot
	l.mustDocker("web", nil, "version")
}

func TestAHostThatIsToBeReachedOverSSHAloneIsAskedForNothingElse(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.create("--link", "ssh", "--nspawn-ssh-user", "ops", "web")
	if now := l.link("web"); now != (link{"SSH", "SSH", true}) {
		t.Fatalf("after create: %+v", now)
	}
	if told := l.ssh("web", "sudo cat /var/lib/mctl/config.json /var/lib/mctl/endpoints.json 2>/dev/null || true"); strings.Contains(told, l.controlPort()) {
		t.Errorf("the host was told an endpoint: it has %d bytes of settings that name the port", len(told))
	}
	if owner := l.ssh("web", "stat -c '%U %a' /run/mctl-link"); owner != "ops 700" {
		t.Errorf("the sockets' directory is %s", owner)
	}
	// sshd refuses unix sockets from now on: the agent comes over the host's loopback.
	l.ssh("web", "echo 'AllowStreamLocalForwarding no' | sudo tee /etc/ssh/sshd_config.d/refuse.conf >/dev/null; sudo systemctl restart ssh")
	l.killController()
	l.must("controller", "start")
	l.cameBy("web", "SSH", 30*time.Second)
	if port := l.ssh("web", "cat /run/mctl-link/port"); port == "" {
		t.Error("no port is left for the agent")
	}
	// Nor that: the sentence says so.
	l.ssh("web", "echo 'AllowTcpForwarding no' | sudo tee -a /etc/ssh/sshd_config.d/refuse.conf >/dev/null; sudo systemctl restart ssh")
	l.killController()
	l.must("controller", "start")
	eventually(t, 30*time.Second, "inspect says why", func() bool {
		return strings.Contains(l.must("inspect", "--output", "json", "web"), "forwards nothing to us")
	})
}

func TestAHostThatNobodyCanDialKeepsItsLink(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.create("--link", "direct", "web")
	// What was open stays so, as with a firewall; nothing new comes in, and the agent begins anew.
	l.ssh("web", "iptables -A INPUT -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT; iptables -A INPUT -i lo -j ACCEPT; iptables -P INPUT DROP; systemctl restart mctl-agent")
	l.cameBy("web", "DIRECT", 30*time.Second)
	since := time.Now()
	l.must("regenerate-certs", "-f", "web") // what is wished for still reaches the host
	l.lsSaysNothing("web", 10*time.Second)
	if lost := l.eventsSince(since, "web", "AGENT_LOST"); lost != "" {
		t.Errorf("the agent was lost: %s", lost)
	}
}

func TestAgentsFollowAControllerThatMoves(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.create("web")
	l.must("controller", "stop")
	// It listens somewhere else, and nobody told the host.
	probe, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	port := probe.Addr().(*net.TCPAddr).Port
	probe.Close()
	moved := l.execEnv([]string{fmt.Sprintf("MCTL_LISTEN=:%d", port)}, nil, filepath.Join(l.bin, "mctl"), "controller", "start")
	if moved.code != 0 {
		t.Fatal(moved)
	}
	l.cameBy("web", "SSH", 30*time.Second)
	// Over that it is told where to dial, and does so from now on.
	eventually(t, 20*time.Second, "the host was told", func() bool {
		return strings.Contains(l.ssh("web", "cat /var/lib/mctl/endpoints.json"), fmt.Sprintf(":%d", port))
	})
	l.ssh("web", "systemctl restart mctl-agent")
	l.cameBy("web", "DIRECT", 30*time.Second)
}

func TestOfTwoHostsWithOneIdentityTheNewerWins(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.create("web")
	l.create("twin")
	since := time.Now()
	l.clone("web", "twin")
	l.ssh("twin", "systemctl start mctl-agent")
	l.sawEvent("web", "DUPLICATE_IDENTITY", since, 20*time.Second)
	if told := l.eventsSince(since, "web", "DUPLICATE_IDENTITY"); !strings.Contains(told, "cloned") {
		t.Errorf("the event says %q", told)
	}
	l.ssh("twin", "systemctl stop mctl-agent")
	l.cameBy("web", "DIRECT", 90*time.Second)
}

// clone has a host show the identity of another, as a disk that was cloned has it. Its agent is stopped.
func (l *lab) clone(from, to string) {
	l.t.Helper()
	folder := filepath.Join(l.t.TempDir(), "mctl")
	if err := os.Mkdir(folder, 0o700); err != nil {
		l.t.Fatal(err)
	}
	l.ssh(to, "systemctl stop mctl-agent")
	l.must("scp", "-q", "-r", from+":/var/lib/mctl/identity", folder)
	l.must("scp", "-q", from+":/var/lib/mctl/config.json", folder)
	l.must("scp", "-q", "-r", folder, to+":/var/lib/")
}

func TestTheIdentityOfARemovedMachineIsWorthNothing(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.create("web")
	l.create("thief")
	l.clone("web", "thief")
	l.must("rm", "-y", "web")
	since := time.Now()
	l.ssh("thief", "systemctl start mctl-agent")
	eventually(t, time.Minute, "the thief is refused", func() bool {
		return strings.Contains(l.ssh("thief", "journalctl -u mctl-agent -n 20 --no-pager"), "was taken away")
	})
	l.lsSays("thief", "agent not connected", 20*time.Second)
	for _, name := range []string{"web", "thief"} {
		if told := l.eventsSince(since, name, "AGENT_CONNECTED"); told != "" {
			t.Errorf("%s came in: %s", name, told)
		}
	}
	if r := l.run("ssh", "--via", "agent", "thief", "true"); r.code == 0 {
		t.Error("it gets tunnels")
	}
}
