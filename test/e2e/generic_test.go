package e2e

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
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
	key     string // path of the private key
	machine driver.Machine
	driver  driver.Driver
}

// newBareHost boots a host that root may log in to with a key.
func newBareHost(t *testing.T, name string) *bareHost {
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
	h := &bareHost{t: t, key: filepath.Join(t.TempDir(), "id")}
	if err := os.WriteFile(h.key, pem.EncodeToMemory(block), 0o600); err != nil {
		t.Fatal(err)
	}
	// An id of its own, since other runs of these tests have bare hosts, too.
	state, controller := t.TempDir(), rand.Text()
	h.driver = nspawn.New(nspawn.Config{StateDir: state, ControllerID: controller, Logger: hclog.NewNullLogger()})
	options, err := driver.Resolve("nspawn", h.driver.Flags(), nil)
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
		"-i", h.key, "root@" + h.address, command,
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

// installDocker gives the host the Docker of its distribution, as somebody would who owns it.
func (h *bareHost) installDocker() {
	h.t.Helper()
	h.run("apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends docker.io >/dev/null 2>&1 && systemctl is-active docker")
}

// snapshot lists what a stranger would notice on a host: files with their content, users, units, firewall rules.
func (h *bareHost) snapshot() []string {
	h.t.Helper()
	files := h.run("find /etc /usr/local /opt /root /home /lib/systemd /var/lib/mctl -xdev -type f -not -path '/etc/.updated' -not -path '*/.cache/*' -exec sha256sum {} + 2>/dev/null | sort; find /etc /usr/local /var/lib -maxdepth 2 -xdev | sort")
	state := h.run("cut -d: -f1 /etc/passwd; systemctl list-unit-files --no-legend --no-pager | awk '{print $1, $2}'; iptables-save | grep '^-A' || true; hostname")
	return append(strings.Split(files, "\n"), strings.Split(state, "\n")...)
}

func TestAnAdoptedHostKeepsItsContainersAndIsGivenBack(t *testing.T) {
	l := newLab(t)
	h := newBareHost(t, "old")
	h.installDocker()
	h.run("mkdir -p /etc/docker && printf '{\\n  \"debug\": false,\\n   \"log-level\": \"warn\"\\n}\\n' > /etc/docker/daemon.json && systemctl restart docker")
	image := exec.Command("ssh", h.sshArgs("docker import - busybox:latest")...)
	image.Stdin = strings.NewReader(string(busybox(t)))
	if output, err := image.CombinedOutput(); err != nil {
		t.Fatalf("import: %v\n%s", err, output)
	}
	h.run("docker run -d --name theirs busybox sleep 100000")
	pid := h.run("docker inspect -f '{{.State.Pid}}' theirs")
	hostname := h.run("hostname")
	before := h.snapshot()

	out := l.must("create", "--driver", "generic", "--generic-ip-address", h.address, "--generic-ssh-key", h.key, "adopted")
	if !strings.Contains(out, "Docker is up and running!") {
		t.Errorf("create says: %s", out)
	}
	if now := h.run("docker inspect -f '{{.State.Pid}}' theirs"); now != pid {
		t.Errorf("their container had process %s, has %s", pid, now)
	}
	if now := h.run("hostname"); now != hostname {
		t.Errorf("the host was renamed to %s", now)
	}
	if names := l.mustDocker("adopted", nil, "ps", "--format", "{{.Names}}"); names != "theirs\n" {
		t.Errorf("docker ps through the front: %q", names)
	}
	if n := h.run("journalctl -u ssh --no-pager | grep -c 'Connection from\\|Accepted publickey' || true"); n == "0" {
		t.Log("sshd's log says nothing of connections")
	}
	l.must("rm", "-y", "adopted")
	if now := h.run("docker inspect -f '{{.State.Pid}}' theirs"); now != pid {
		t.Errorf("after rm: their container had process %s, has %s", pid, now)
	}
	after := h.snapshot()
	for _, line := range before {
		if !slices.Contains(after, line) {
			t.Errorf("gone: %s", line)
		}
	}
	for _, line := range after {
		if !slices.Contains(before, line) {
			t.Errorf("left: %s", line)
		}
	}
}

func TestAHostThatCannotBeAdoptedIsLeftAlone(t *testing.T) {
	l := newLab(t)
	h := newBareHost(t, "refuser")
	other := newKey(t)
	tooOpen := newKey(t)
	if err := os.Chmod(tooOpen, 0o644); err != nil { //nolint:gosec // that is the test
		t.Fatal(err)
	}
	locked := filepath.Join(t.TempDir(), "locked")
	if output, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "passphrase", "-f", locked).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	generic := func(args ...string) []string {
		return append([]string{"create", "--driver", "generic"}, append(args, "refused")...)
	}
	cases := []struct {
		name    string
		prepare string // on the host
		restore string
		args    []string
		code    int
		says    string
	}{
		{name: "missing required flag", args: generic(), code: 2, says: "generic-ip-address"},
		{name: "unknown flag", args: generic("--generic-nothing", "x"), code: 2, says: "generic-nothing"},
		{name: "unknown driver", args: []string{"create", "--driver", "nowhere", "refused"}, code: 2, says: "nowhere"},
		{name: "bad name", args: []string{"create", "--driver", "generic", "--generic-ip-address", h.address, "--generic-ssh-key", h.key, "bad_name"}, code: 1, says: "Invalid hostname"},
		{name: "unreachable", args: generic("--generic-ip-address", "127.0.0.1", "--generic-ssh-port", "1", "--generic-ssh-key", h.key), code: 3},
		{name: "wrong key", args: generic("--generic-ip-address", h.address, "--generic-ssh-key", other), code: 3},
		{name: "key file missing", args: generic("--generic-ip-address", h.address, "--generic-ssh-key", "/nowhere/key"), code: 3},
		{name: "key file too open", args: generic("--generic-ip-address", h.address, "--generic-ssh-key", tooOpen), code: 3, says: "too open"},
		{name: "key with a passphrase", args: generic("--generic-ip-address", h.address, "--generic-ssh-key", locked), code: 3, says: "passphrase"},
		{name: "unknown distribution", prepare: "sed -i.keep 's/^ID=.*/ID=plan9/; /^ID_LIKE/d' /etc/os-release", restore: "mv /etc/os-release.keep /etc/os-release", args: generic("--generic-ip-address", h.address, "--generic-ssh-key", h.key), code: 3},
		{name: "port taken", prepare: "systemd-socket-activate -l 2376 sleep 1000 >/dev/null 2>&1 </dev/null & sleep 1", restore: "pkill -f systemd-socket-activate", args: generic("--generic-ip-address", h.address, "--generic-ssh-key", h.key), code: 3, says: "2376"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if c.prepare != "" {
				h.run(c.prepare)
				defer h.run(c.restore)
			}
			r := l.run(c.args...)
			lines := strings.Split(strings.TrimSpace(r.stderr), "\n")
			if r.code != c.code || !strings.Contains(r.stderr, c.says) || r.stderr == "" || len(lines) > 3 {
				t.Errorf("want exit %d and a sentence with %q: %s", c.code, c.says, r)
			}
			if strings.Contains(r.stderr, "rpc error") || strings.Contains(r.stderr, "goroutine") {
				t.Errorf("that is no sentence for people: %s", r)
			}
			if listed := l.must("ls", "-q"); listed != "" {
				t.Errorf("a record is left: %q", listed)
			}
			if found, _ := filepath.Glob(filepath.Join(l.state, "machines", "*")); len(found) > 0 {
				t.Errorf("a folder is left: %v", found)
			}
			if found := h.run("ls -d /var/lib/mctl /usr/local/bin/mctl-agent 2>/dev/null || true"); found != "" {
				t.Errorf("the host was touched: %s", found)
			}
		})
	}
}

func newKey(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "key")
	if output, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	return path
}

func TestTwentyFirstCommandsMakeOneController(t *testing.T) {
	l := newLab(t)
	l.state = filepath.Join(l.state, strings.Repeat("long/", 20), strings.Repeat("x", 100)) // 200 characters and more
	results := make(chan result, 20)
	for range 20 {
		go func() { results <- l.run("ls", "-q") }()
	}
	for range 20 {
		if r := <-results; r.code != 0 || r.stderr != "" {
			t.Error(r)
		}
	}
	output, err := exec.Command("pgrep", "-f", "controller --state-dir "+l.state).Output()
	if err != nil {
		t.Fatal(err)
	}
	if pids := strings.Fields(string(output)); len(pids) != 1 || pids[0] != l.controllerPID() {
		t.Errorf("controllers: %v, the one that answers is %s", pids, l.controllerPID())
	}
}

func TestTwoControllersSideBySide(t *testing.T) {
	a, b := newLab(t), newLab(t)
	a.must("create", "--driver", "nspawn", "web")
	b.must("create", "--driver", "nspawn", "web")
	if x, y := a.must("ip", "web"), b.must("ip", "web"); x == y {
		t.Errorf("both have the address %s", x)
	}
	a.mustDocker("web", nil, "version")
	b.mustDocker("web", nil, "version")
	a.must("rm", "-y", "web")
	b.mustDocker("web", nil, "version")
}
