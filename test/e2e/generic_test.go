package e2e

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/crypto/ssh"

	"mctl/internal/controller/driver"
	"mctl/internal/controller/driver/nspawn"
)

// bareHost is a host that mctl did not make: only the nspawn driver is used, no controller.
type bareHost struct {
	t       *testing.T
	address string
	port    string // of its sshd
	key     string // path of the private key
	machine driver.Machine
	driver  driver.Driver
}

// newBareHost boots a host that root may log in to with a key, of the base image or of another.
func newBareHost(t *testing.T, name, image string) *bareHost {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		t.Fatal(err)
	}
	line, err := ssh.NewPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	h := &bareHost{t: t, port: "22", key: filepath.Join(t.TempDir(), "id")}
	if err := os.WriteFile(h.key, pem.EncodeToMemory(block), 0o600); err != nil {
		t.Fatal(err)
	}
	// An id of its own, since other runs of these tests have bare hosts, too.
	state, controller := t.TempDir(), rand.Text()
	h.driver = nspawn.New(nspawn.Config{StateDir: state, ControllerID: controller, Logger: hclog.NewNullLogger()})
	options, err := driver.Resolve("nspawn", h.driver.Flags(), driver.Options{"nspawn-image": {Values: []string{image}}})
	if err != nil {
		t.Fatal(err)
	}
	h.machine = driver.Machine{
		ControllerID: controller, UID: name, Name: name, Options: options,
		PublicKeys: []string{string(ssh.MarshalAuthorizedKey(line))}, Progress: func(string) {},
	}
	t.Cleanup(func() {
		// The test's own context has ended by now.
		if err := h.driver.Delete(context.WithoutCancel(t.Context()), h.machine); err != nil {
			t.Errorf("remove the bare host: %v", err)
		}
		for _, line := range tracesOf(state, controller, name).left() {
			t.Errorf("left behind: %s", line)
		}
	})
	instance, err := h.driver.Create(t.Context(), h.machine)
	if err != nil {
		t.Fatal(err)
	}
	h.machine.State, h.address = instance.State, instance.Addresses[0]
	eventually(t, time.Minute, "sshd answers", func() bool { return exec.Command("ssh", h.sshArgs("true")...).Run() == nil })
	return h
}

func (h *bareHost) sshArgs(command string) []string {
	return []string{
		"-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=error", "-o", "BatchMode=yes",
		"-i", h.key, "-p", h.port, "root@" + h.address, command,
	}
}

func (h *bareHost) run(command string) string {
	h.t.Helper()
	output, err := exec.Command("ssh", h.sshArgs(command)...).CombinedOutput()
	if err != nil {
		h.t.Fatalf("%s: %v\n%s", command, err, output)
	}
	return strings.TrimSpace(string(output))
}

// snapshot lists what a stranger would notice on a host: files with owner, mode and content, users, units and whether they
// run, firewall rules, open ports. What the host writes by itself all the time is left out: logs, Docker's data, systemd's.
func (h *bareHost) snapshot() []string {
	h.t.Helper()
	const own = `\( -path /var/log -o -path /var/lib/docker -o -path /var/lib/containerd -o -path /var/lib/systemd -o -path '/tmp/systemd-private-*' -o -path '/var/tmp/systemd-private-*' \) -prune -o`
	return strings.Split(h.run(`
		find / -xdev `+own+` -printf 'file %y %m %U:%G %p %l\n'
		find / -xdev `+own+` -type f -exec sha256sum {} +
		find /run -maxdepth 1 -printf 'file %y %p\n'
		sed 's/^/user /' /etc/passwd /etc/group
		systemctl list-unit-files --no-legend --no-pager | awk '{print "unit file", $1, $2}'
		systemctl list-units --all --plain --no-legend --no-pager --type=service,socket,timer,path,target | awk '$1 !~ /@/ {print "unit", $1, $2, $3}'
		{ iptables-save; ip6tables-save; } | sed -n 's/ \[[0-9:]*\]$//; /^[-:*]/s/^/rule /p'
		ss -Hltun | awk '{print "port", $1, $5}'
		hostname`), "\n")
}

// differences are the lines that one of two snapshots has alone.
func differences(before, after []string) []string {
	count := map[string]int{}
	for _, line := range before {
		count["gone: "+line]++
	}
	var found []string
	for _, line := range after {
		if count["gone: "+line] > 0 {
			count["gone: "+line]--
			continue
		}
		found = append(found, "left: "+line)
	}
	for line, n := range count {
		if n > 0 {
			found = append(found, line)
		}
	}
	slices.Sort(found)
	return found
}

// connections counts the TCP connections that the host's sshd was ever offered.
func (h *bareHost) connections() int {
	h.t.Helper()
	n, err := strconv.Atoi(h.run("journalctl -u ssh --no-pager | grep -c ' Connection from '"))
	if err != nil {
		h.t.Fatal(err)
	}
	return n
}

func TestAnAdoptedHostKeepsItsContainersAndIsGivenBack(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	image, err := dockerImage()
	if err != nil {
		t.Fatal(err)
	}
	h := newBareHost(t, "old", image)
	h.run("systemctl is-system-running --wait; systemctl is-active docker")
	h.run("mkdir -p /etc/docker && printf '{\\n  \"debug\": false,\\n   \"log-level\": \"warn\"\\n}\\n' > /etc/docker/daemon.json && systemctl restart docker")
	h.run("echo LogLevel VERBOSE >/etc/ssh/sshd_config.d/verbose.conf && systemctl reload ssh")
	archive := exec.Command("ssh", h.sshArgs("docker import - busybox:latest")...)
	archive.Stdin = strings.NewReader(string(busybox(t)))
	if output, err := archive.CombinedOutput(); err != nil {
		t.Fatalf("import: %v\n%s", err, output)
	}
	h.run("docker run -d --name theirs -p 8080:80 busybox sleep 100000")
	processes := func() string {
		return h.run("docker inspect -f '{{.State.Pid}} {{.State.StartedAt}}' theirs; pidof dockerd; systemctl --failed --no-legend")
	}
	same, before := processes(), h.snapshot()

	opened := h.connections()
	out := l.must("create", "--driver", "generic", "--generic-ip-address", h.address, "--generic-ssh-key", h.key, "adopted")
	// The asking itself is one.
	if opened = h.connections() - opened - 1; opened > 2 || opened < 1 {
		t.Errorf("create opened %d connections to sshd, want two at most", opened)
	}
	if !strings.Contains(out, "Docker is up and running!") {
		t.Errorf("create says: %s", out)
	}
	if now := processes(); now != same {
		t.Errorf("container and dockerd were %s, are %s", same, now)
	}
	if names := l.mustDocker("adopted", nil, "ps", "--format", "{{.Names}}"); names != "theirs\n" {
		t.Errorf("docker ps through the front: %q", names)
	}
	// The comparison must see what we put there.
	adopted := strings.Join(differences(before, h.snapshot()), "\n")
	for _, ours := range []string{"/usr/local/bin/mctl-agent", "/var/lib/mctl", "mctl-agent.service", ":2376", "/etc/docker/ca.pem"} {
		if !strings.Contains(adopted, ours) {
			t.Errorf("an adopted host differs in no %s:\n%s", ours, adopted)
		}
	}
	l.must("rm", "-y", "adopted")
	if now := processes(); now != same {
		t.Errorf("after rm: container and dockerd were %s, are %s", same, now)
	}
	for _, line := range differences(before, h.snapshot()) {
		t.Errorf("after rm: %s", line)
	}
}

// withAgent starts an ssh-agent that has the key, and returns what leads to it.
func withAgent(t *testing.T, key string) string {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "agent")
	agent := exec.Command("ssh-agent", "-D", "-a", socket)
	if err := agent.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = agent.Process.Kill()
		_ = agent.Wait()
	})
	variable := "SSH_AUTH_SOCK=" + socket
	eventually(t, 10*time.Second, "the ssh-agent has the key", func() bool {
		add := exec.Command("ssh-add", "-q", key)
		add.Env = append(os.Environ(), variable)
		return add.Run() == nil
	})
	return variable
}

func TestABareHostAdoptedThroughTheSSHAgentIsGivenBackWithoutTheDockerThatWeInstalled(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	h := newBareHost(t, "bare", "")
	h.run("systemctl is-system-running --wait")
	before := h.snapshot()
	agent := []string{withAgent(t, h.key)}
	for _, args := range [][]string{
		{"create", "--driver", "generic", "--generic-ip-address", h.address, "adopted"}, {"rm", "-y", "--purge-engine", "adopted"},
	} {
		if r := l.execEnv(agent, nil, filepath.Join(l.bin, "mctl"), args...); r.code != 0 || r.stderr != "" {
			t.Fatal(r)
		}
		if args[0] == "create" {
			l.mustDocker("adopted", nil, "version")
		}
	}
	for _, line := range differences(before, h.snapshot()) {
		if !ofPackages.MatchString(line) {
			t.Errorf("after rm --purge-engine: %s", line)
		}
	}
}

// ofPackages are the traces of the package manager, and what Docker's own package leaves when it is purged: its group, the
// engine's key, rules and sockets that go with the next boot.
var ofPackages = regexp.MustCompile(`/var/(lib|cache)/apt/|/var/lib/dpkg/status-old|/etc/g(roup|shadow)-?$|user docker:|/run/adduser|` +
	`/etc/cni|/etc/docker $|/etc/docker/key.json|/run/(docker|containerd|docker.sock)$|left: rule ([*:]|.*(DOCKER|docker0))|unit (network-online.target|systemd-networkd-wait-online.service)`)

func newKey(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "key")
	if output, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	return path
}
