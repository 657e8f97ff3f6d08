package e2e

import (
	"crypto/x509"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mctl/internal/mctl/legacytest"
)

// legacyHost is a host that docker-machine made, and the store that it is in.
type legacyHost struct {
	*machinesHost
	store *legacytest.Store
	name  string
}

// newLegacyHost makes a real host and a store in dir that knows it by its name.
func newLegacyHost(t *testing.T, name, dir string) *legacyHost {
	t.Helper()
	store, err := legacytest.New(dir, "/home/user/.docker/machine")
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
		if err := store.Add(legacytest.Machine{Name: name, Address: m.address, SSHKey: key, Server: &server, Labels: []string{"tier=web"}}); err != nil {
			t.Fatal(err)
		}
	})
	h.certs = store.Folder(name)
	return h
}

// usable fails where an old shell's docker does not reach the engine.
func (h *legacyHost) usable(when string) {
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
	before, tree := h.containers(), treeOf(t, h.store.Dir)
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
	if tree != treeOf(t, h.store.Dir) {
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

// treeOf is a tree's names and contents.
func treeOf(t *testing.T, dir string) string {
	t.Helper()
	var all strings.Builder
	err := filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		all.WriteString(path + info.Mode().String() + info.ModTime().Format(time.RFC3339Nano) + "\n")
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
