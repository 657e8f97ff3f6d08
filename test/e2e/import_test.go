package e2e

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mctl/internal/mctl/legacy/sample"
)

// legacyHost is a host that docker-machine made, and the store that it is in.
type legacyHost struct {
	*machinesHost
	store *sample.Store
	name  string
}

// newLegacyHost makes a real host and a store in dir that knows it by its name.
func newLegacyHost(t *testing.T, name, dir string) *legacyHost {
	t.Helper()
	store, err := sample.New(dir, "/home/user/.docker/machine")
	if err != nil {
		t.Fatal(err)
	}
	h := &legacyHost{store: store, name: name}
	h.machinesHost = newCertifiedHost(t, name, func(m *machinesHost) {
		server, err := store.Leaf("user."+name, store.CA, x509.ExtKeyUsageServerAuth, m.address)
		if err != nil {
			t.Fatal(err)
		}
		m.write("/etc/docker/ca.pem", string(store.CA.Certificate()))
		m.write("/etc/docker/server.pem", string(server.Certificate()))
		m.write("/etc/docker/server-key.pem", string(server.PrivateKey()))
		key, err := os.ReadFile(m.key)
		if err != nil {
			t.Fatal(err)
		}
		if err := store.Add(sample.Machine{Name: name, Address: m.address, SSHKey: key, Server: &server, Labels: []string{"tier=web"}}); err != nil {
			t.Fatal(err)
		}
	})
	h.certs = store.Folder(name)
	return h
}

// usable fails where an old shell's docker does not reach the engine.
func (h *machinesHost) usable(when string) {
	h.t.Helper()
	if output, err := h.docker("ps", "-q").CombinedOutput(); err != nil || len(strings.Fields(string(output))) != 2 {
		h.t.Errorf("%s: an old shell: %v\n%s", when, err, output)
	}
}

func TestAMachineOfAnotherStoreIsTakenOverWithoutLosingAContainer(t *testing.T) {
	t.Parallel()
	h := newLegacyHost(t, "im-old", t.TempDir())
	if _, err := h.store.Plant(); err != nil {
		t.Fatal(err)
	}
	before, tree := h.containers(), treeOf(t, h.store.Dir, true)
	h.usable("before")
	l := newLab(t)
	plan := l.must("import", "--dry-run", h.store.Dir)
	if !strings.Contains(plan, "to import") || !strings.Contains(plan, "its folder is empty") || l.must("ls", "-q") != "" {
		t.Errorf("the plan: %s", plan)
	}
	l.must("import", h.store.Dir)
	l.must("wait", h.name)
	if after := h.containers(); after != before {
		t.Errorf("containers were %s\nand are %s", before, after)
	}
	if owner := h.run("ss -Hltnp sport = :2376"); strings.Contains(owner, `"dockerd"`) {
		t.Errorf("the port is still dockerd's: %s", owner)
	}
	h.usable("after it was taken over")
	if tree != treeOf(t, h.store.Dir, true) {
		t.Error("the store was changed")
	}
	if out := l.must("ssh", h.name, "hostname"); strings.TrimSpace(out) != h.name {
		t.Errorf("ssh: %s", out)
	}
	if out := l.must("config", h.name); !strings.Contains(out, "--tlsverify") {
		t.Errorf("config: %s", out)
	}
	again := l.run("--output", "json", "import", h.store.Dir)
	var answer struct {
		Machines []struct{ Name, Result string }
	}
	if err := json.Unmarshal([]byte(again.stdout), &answer); err != nil {
		t.Fatalf("%v\n%s", err, again)
	}
	for _, m := range answer.Machines {
		if m.Name == h.name && m.Result != "imported before" {
			t.Errorf("once more: %s", m.Result)
		}
	}
	// Removing a host that was there before gives it back as it was.
	l.must("rm", "-y", h.name)
	if after := h.containers(); after != before {
		t.Errorf("after rm containers were %s\nand are %s", before, after)
	}
	h.usable("after rm")
}

func TestAStoreIsImportedInPlaceUndoneAndImportedAgain(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	h := newLegacyHost(t, "im-place", l.state)
	gone := sample.Machine{Name: "im-gone", Address: sample.Address(8)} // nobody is there
	if err := h.store.Add(gone); err != nil {
		t.Fatal(err)
	}
	before, machines := h.containers(), treeOf(t, filepath.Join(l.state, "machines"), false)
	if out := l.must("ls"); !strings.Contains(out, "not imported") {
		t.Errorf("before the import: %s", out)
	}

	// Killed at any moment, the next import goes on.
	for _, delay := range []time.Duration{20 * time.Millisecond, 60 * time.Millisecond, 150 * time.Millisecond} {
		ctx, cancel := context.WithTimeout(t.Context(), delay)
		_ = exec.CommandContext(ctx, filepath.Join(l.bin, "mctl"), "-s", l.state, "import", l.state).Run() // by SIGKILL
		cancel()
	}
	l.must("import", l.state)
	l.killController()
	l.must("wait", h.name)
	if after := h.containers(); after != before {
		t.Errorf("containers were %s\nand are %s", before, after)
	}
	h.usable("after it was taken over, with the certificates that were there")
	if out := l.must("env", h.name); !strings.Contains(out, store(l, h.name)) {
		t.Errorf("env: %s", out)
	}
	h.usable("after mctl wrote certificates of its own there")
	l.lsSays("im-gone", "not taken over yet: can't reach 127.9.0.9:9", 20*time.Second)
	backups, err := filepath.Glob(filepath.Join(l.state, "machines.before-mctl-*"))
	if err != nil || len(backups) != 1 {
		t.Fatalf("backups %v, %v", backups, err)
	}

	l.must("import", "--undo")
	if out := l.must("ls", "-q", "--filter", "state=Running"); out != "" {
		t.Errorf("after undo: %s", out)
	}
	if machines != treeOf(t, filepath.Join(l.state, "machines"), false) {
		t.Error("the machines' folders are not what they were")
	}
	if h.containers() != before {
		t.Error("the containers are not what they were")
	}
	h.usable("after undo")

	// The agent that is still there serves another record now.
	l.must("import", l.state)
	l.must("wait", h.name)
	l.must("rm", "-y", h.name)
	if after := h.containers(); after != before {
		t.Errorf("after rm containers were %s\nand are %s", before, after)
	}
}

// store is a machine's folder in a state directory.
func store(l *lab, name string) string { return filepath.Join(l.state, "machines", name) }

func TestWhereTheKeyOfTheCAIsLostTheEngineIsServedAsItWas(t *testing.T) {
	t.Parallel()
	h := newLegacyHost(t, "im-lost", t.TempDir())
	if err := os.Remove(filepath.Join(h.store.Dir, "certs", "ca-key.pem")); err != nil {
		t.Fatal(err)
	}
	before := h.containers()
	l := newLab(t)
	out := l.must("import", h.store.Dir)
	if !strings.Contains(out, "the key of its CA is missing") {
		t.Errorf("import says %s", out)
	}
	l.must("wait", h.name)
	h.usable("after it was taken over")
	if owner := h.run("ss -Hltnp sport = :2376"); strings.Contains(owner, `"dockerd"`) {
		t.Errorf("the port is still dockerd's: %s", owner)
	}
	l.mustDocker(h.name, nil, "ps", "-q")
	l.must("regenerate-certs", "-f", h.name)
	if output, err := h.docker("ps", "-q").CombinedOutput(); err == nil {
		t.Errorf("an old shell reaches an engine of another authority: %s", output)
	}
	l.mustDocker(h.name, nil, "ps", "-q")
	if after := h.containers(); after != before {
		t.Errorf("containers were %s\nand are %s", before, after)
	}
	// What docker-machine left on it would be the wrong certificates.
	dir := t.TempDir()
	l.must("export", "--release", "--with-secrets", dir, h.name)
	h.released(dir, h.name, before)
	if dropIn := h.run("cat " + machinesDropInPath); dropIn != strings.TrimSpace(machinesDropIn) {
		t.Errorf("the drop-in is %q", dropIn)
	}
}

func TestAHostIsGivenBackWithAStoreThatTheOldToolWorksWith(t *testing.T) {
	t.Parallel()
	h := newLegacyHost(t, "im-back", t.TempDir())
	before := h.containers()
	l := newLab(t)
	l.must("import", h.store.Dir)
	l.must("wait", h.name)
	readable := t.TempDir()
	l.must("export", readable, h.name)
	for _, secret := range []string{"id_rsa", "key.pem"} {
		if _, err := os.Stat(filepath.Join(readable, "machines", h.name, secret)); err == nil {
			t.Errorf("%s is exported although nobody asked for secrets", secret)
		}
	}
	if out := treeOf(t, readable, true); strings.Contains(out, "PRIVATE KEY") {
		t.Error("a private key is exported although nobody asked for secrets")
	}
	dir := t.TempDir()
	l.must("export", "--with-secrets", "--release", dir, h.name)
	if again := l.run("export", "--with-secrets", "--release", dir, h.name); again.code != 0 {
		t.Errorf("once more: %s", again)
	}
	if out := l.must("ls", "-q"); out != "" {
		t.Errorf("it is still known: %s", out)
	}
	if after := h.containers(); after != before {
		t.Errorf("containers were %s\nand are %s", before, after)
	}
	h.usable("after it was given back")
	h.certs = filepath.Join(dir, "machines", h.name)
	h.usable("with the exported certificates")
	if left := h.run("ls -d /var/lib/mctl /usr/local/bin/mctl-agent 2>/dev/null; ss -Hltnp sport = :2376"); !strings.Contains(left, `"dockerd"`) || strings.Contains(left, "mctl") {
		t.Errorf("the host has %s", left)
	}
	for name, binary := range familyBinaries() {
		if binary == "" {
			t.Logf("not checked: no %s is given to work on the store", name)
			continue
		}
		oldTool{t, binary, dir}.worksOn(h.machinesHost, h.name)
	}
}

func TestAHostThatCanHaveNoAgentIsUsableAsItIs(t *testing.T) {
	t.Parallel()
	h := newLegacyHost(t, "im-bare", t.TempDir())
	before := h.containers()
	h.run("mv /run/systemd/system /run/systemd/hidden") // by which everybody tells whether systemd runs
	defer h.run("mv /run/systemd/hidden /run/systemd/system")
	l := newLab(t)
	l.must("import", h.store.Dir)
	l.must("wait", h.name)
	l.lsSays(h.name, "no agent: ", 5*time.Second)
	l.lsSays(h.name, "does not run systemd", 5*time.Second)
	if out := l.must("status", h.name); strings.TrimSpace(out) != "Running" {
		t.Errorf("status: %s", out)
	}
	if out := l.must("ip", h.name); strings.TrimSpace(out) != h.address {
		t.Errorf("ip: %s", out)
	}
	if out := l.must("ssh", h.name, "hostname"); strings.TrimSpace(out) != h.name {
		t.Errorf("ssh: %s", out)
	}
	l.mustDocker(h.name, nil, "ps", "-q") // by a certificate of the CA that came along
	h.usable("beside it")
	if left := h.run("ls -d /var/lib/mctl /usr/local/bin/mctl-agent 2>/dev/null; ss -Hltnp sport = :2376"); strings.Contains(left, "mctl") || !strings.Contains(left, `"dockerd"`) {
		t.Errorf("the host has %s", left)
	}
	dir := t.TempDir()
	l.must("export", "--release", "--with-secrets", dir, h.name)
	if left := l.must("ls", "-q"); left != "" {
		t.Errorf("it is still known: %s", left)
	}
	if after := h.containers(); after != before {
		t.Errorf("containers were %s\nand are %s", before, after)
	}
	h.certs = filepath.Join(dir, "machines", h.name)
	h.usable("with the exported certificates")
}

func TestAHostThatDockerMachineGaveUpMidwayIsTakenOverAndGivenBack(t *testing.T) {
	t.Parallel()
	h := newLegacyHost(t, "im-half", t.TempDir())
	// What create has written is there, and dockerd has not been restarted since.
	h.run("mv " + machinesDropInPath + " /root/kept && systemctl daemon-reload && systemctl stop docker.socket docker && systemctl start docker && docker start one && mv /root/kept " + machinesDropInPath + " && systemctl daemon-reload")
	if owner := h.run("ss -Hltnp sport = :2376"); owner != "" {
		t.Fatalf("dockerd listens already: %s", owner)
	}
	before := h.containers()
	l := newLab(t)
	l.must("import", "--wait", h.store.Dir)
	if after := h.containers(); after != before {
		t.Errorf("containers were %s\nand are %s", before, after)
	}
	if owner := h.run("ss -Hltnp sport = :2376"); owner == "" || strings.Contains(owner, `"dockerd"`) {
		t.Errorf("who has the port: %s", owner)
	}
	h.usable("after it was taken over")
	l.must("export", "--release", "--with-secrets", t.TempDir(), h.name)
	if after := h.containers(); after != before {
		t.Errorf("given back: containers were %s\nand are %s", before, after)
	}
	h.ownListener("given back", true)
}

// treeOf is a tree's names, modes and contents, and its times if they matter.
func treeOf(t *testing.T, dir string, times bool) string {
	t.Helper()
	var all strings.Builder
	err := filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		all.WriteString(path + info.Mode().String() + "\n")
		if times {
			all.WriteString(info.ModTime().Format(time.RFC3339Nano) + "\n")
		}
		if !info.Mode().IsRegular() {
			return nil
		}
		text, err := os.ReadFile(path)
		all.Write(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all.String()
}
