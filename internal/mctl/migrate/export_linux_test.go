package migrate

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"mctl/internal/fault"
	"mctl/internal/mctl/controllertest"
	controllerv1 "mctl/proto/mctl/controller/v1"
)

func TestAnExportLeavesTheClientOfAStoreThatSharesItsAuthority(t *testing.T) {
	for _, flags := range [][]string{nil, {"--with-secrets"}, {"--with-secrets", "--release"}} {
		c := world(t)
		c.Put(controllertest.Running("web", "192.0.2.1"))
		s := fill(t, t.TempDir(), "theirs")
		certs := filepath.Join(s.Dir, "certs")
		authority, err := os.ReadFile(filepath.Join(certs, "ca.pem"))
		if err != nil {
			t.Fatal(err)
		}
		key, err := os.ReadFile(filepath.Join(certs, "ca-key.pem"))
		if err != nil {
			t.Fatal(err)
		}
		c.Exported = func(r *controllerv1.ExportMachineResponse) {
			if r.AuthorityCertificate = authority; r.AuthorityKey != nil {
				r.AuthorityKey = key
			}
		}
		contents := func() map[string]string {
			all := tree(t, certs)
			for path, text := range all {
				all[path] = text[len("-rw-r--r--"):] // what was readable by others may not be any more
			}
			return all
		}
		before := contents()
		must(t, c, append(append([]string{"export"}, flags...), s.Dir, "web")...)
		equal(t, fmt.Sprint(flags), before, contents())
		if _, err := os.Stat(filepath.Join(s.Folder("web"), "cert.pem")); err != nil {
			t.Error(err)
		}
	}
}

func TestAStoreWhoseAuthorityCanNotBeToldIsNotOverwritten(t *testing.T) {
	c := world(t)
	c.Put(controllertest.Running("web", "192.0.2.1"))
	for name, plant := range map[string]func(certs string) error{
		"a pipe": func(certs string) error { return syscall.Mkfifo(filepath.Join(certs, "ca.pem"), 0o600) },
		"a key of an unknown": func(certs string) error {
			return os.WriteFile(filepath.Join(certs, "ca-key.pem"), []byte("theirs"), 0o600)
		},
		"a folder in its place": func(certs string) error { return os.Mkdir(filepath.Join(certs, "ca.pem"), 0o700) },
	} {
		dir := t.TempDir()
		certs := filepath.Join(dir, "certs")
		if err := errors.Join(os.Mkdir(certs, 0o700), plant(certs)); err != nil {
			t.Fatal(err)
		}
		before := tree(t, certs)
		_, _ = run(t, c, "export", "--with-secrets", dir, "web")
		after := tree(t, certs)
		for path := range before {
			if before[path] != after[path] {
				t.Errorf("%s: %s is %q now", name, path, after[path])
			}
		}
	}
}

func TestAMachineThatIsBeingReleasedIsWrittenWhereItIsNotYet(t *testing.T) {
	c := world(t)
	m := controllertest.Running("web", "192.0.2.1")
	m.Spec.Deletion = &controllerv1.Deletion{}
	c.Put(m)
	dir := t.TempDir()
	must(t, c, "export", "--with-secrets", dir, "web")
	if _, err := os.Stat(filepath.Join(dir, "machines", "web", "config.json")); err != nil {
		t.Errorf("it is said to be exported: %v", err)
	}
}

func TestKeysAreNotWrittenWhereEverybodyMayWrite(t *testing.T) {
	c := world(t)
	c.Put(controllertest.Running("web", "192.0.2.1"))
	for _, folder := range []string{".", "machines", "certs"} {
		dir := t.TempDir()
		open := filepath.Join(dir, folder)
		if err := errors.Join(os.MkdirAll(open, 0o700), os.Chmod(open, 0o777)); err != nil {
			t.Fatal(err)
		}
		before := tree(t, dir)
		if _, err := run(t, c, "export", "--with-secrets", "--release", dir, "web"); !fault.Is(err, fault.Precondition) || fault.HintOf(err) == "" {
			t.Errorf("%s: %v", folder, err)
		}
		equal(t, folder, before, tree(t, dir))
	}
	if len(c.Released()) > 0 {
		t.Error("the host is given back")
	}
	dir := t.TempDir() // as /tmp is: what we make there stays ours
	if err := os.Chmod(dir, 0o777|os.ModeSticky); err != nil {
		t.Fatal(err)
	}
	must(t, c, "export", "--with-secrets", dir, "web")
}

func TestAnExportThatWasKilledLeavesNoKeysBesideItsFolder(t *testing.T) {
	c := world(t)
	m := controllertest.Running("web", "192.0.2.1")
	c.Put(m)
	dir := t.TempDir()
	for name, uid := range map[string]string{".web-123": m.GetUid(), ".web-123-before": m.GetUid(), ".web-db-456": "another's", ".other": m.GetUid()} {
		left := filepath.Join(dir, "machines", name)
		if err := errors.Join(os.MkdirAll(left, 0o700), os.WriteFile(filepath.Join(left, exportMark), []byte(uid+"\n"), 0o600),
			os.WriteFile(filepath.Join(left, "id_rsa"), []byte("key"), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	must(t, c, "export", "--with-secrets", dir, "web")
	entries, err := os.ReadDir(filepath.Join(dir, "machines"))
	if got := fmt.Sprint(entries); err != nil || got != "[d .other/ d .web-db-456/ d web/]" {
		t.Errorf("%s, %v", got, err)
	}
}
