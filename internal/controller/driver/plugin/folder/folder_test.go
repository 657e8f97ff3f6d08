package folder

import (
	"crypto/ed25519"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/crypto/ssh"

	"mctl/internal/controller/driver"
	"mctl/internal/controller/driver/plugin/process"
	"mctl/internal/fault"
)

func open(t *testing.T, own string) *Folder {
	t.Helper()
	f, err := Open(own, nil, "u1", "web")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	return f
}

func TestAFolderIsItsOwnersAloneAndIsFoundAgain(t *testing.T) {
	own := filepath.Join(t.TempDir(), "plugin")
	f := open(t, own)
	for _, path := range []string{own, f.Path, filepath.Join(f.Path, "machines", "web")} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("%s: %v %v", path, info, err)
		}
	}
	if err := f.Place("machines/web/id_rsa", []byte("one")); err != nil {
		t.Fatal(err)
	}
	again := open(t, own)
	if err := again.Place("machines/web/id_rsa", []byte("two")); err != nil {
		t.Error(err)
	}
	if key, err := again.ReadKey(filepath.Join(f.Path, "machines", "web", "id_rsa")); err != nil || string(key) != "one" {
		t.Errorf("what was there is now %q %v", key, err)
	}
	if err := again.Renew(); err != nil {
		t.Error(err)
	}
	if entries, err := os.ReadDir(filepath.Join(f.Path, "machines", "web")); err != nil || len(entries) > 0 {
		t.Errorf("after Renew there is %v %v", entries, err)
	}
	again.Drop()
	again.Drop()
	if _, err := os.Stat(f.Path); err == nil {
		t.Error("it is still there")
	}
}

func TestNoNameLeadsOutOfTheFolder(t *testing.T) {
	own := t.TempDir()
	for _, uid := range []string{"", ".", "..", "../x", "a/b", "/etc"} {
		if f, err := Open(own, nil, uid, "web"); !fault.Is(err, fault.Precondition) {
			t.Errorf("%q: %+v %v", uid, f, err)
		}
	}
	f := open(t, own)
	outside := filepath.Join(t.TempDir(), "outside")
	if err := os.WriteFile(outside, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(f.Path, "link")); err != nil {
		t.Fatal(err)
	}
	if _, err := f.ReadKey(filepath.Join(f.Path, "link")); err == nil {
		t.Error("a link leads out")
	}
	options := driver.Options{}
	for _, name := range []string{"../../etc/cron.d/x", "..", ".", "", "a b;c", "id_rsa", strings.Repeat("é", 10)} {
		options["flag-"+strings.Repeat("x", len(options)+1)] = driver.Option{Values: []string{name}, Content: []byte("content")}
	}
	options["text"] = driver.Option{Content: []byte("no file")}
	options["value"] = driver.Option{Values: []string{"v"}}
	options["../flag"] = driver.Option{Values: []string{"v"}, Content: []byte("x")}
	paths, err := f.Upload(options)
	if err != nil || len(paths) != 7 {
		t.Fatalf("%v %v", paths, err)
	}
	for flag, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil || string(text) != "content" || filepath.Dir(path) != filepath.Join(f.Path, "files", flag) {
			t.Errorf("%s is at %s: %q %v", flag, path, text, err)
		}
	}
}

func TestAPrivateKeysPublicOneLiesBesideIt(t *testing.T) {
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := ssh.MarshalPrivateKey(private, "")
	locked, lockedErr := ssh.MarshalPrivateKeyWithPassphrase(private, "", []byte("hunter2"))
	key, keyErr := ssh.NewPublicKey(public)
	if err = errors.Join(err, lockedErr, keyErr); err != nil {
		t.Fatal(err)
	}
	f := open(t, t.TempDir())
	paths, err := f.Upload(driver.Options{
		"x-ssh-key": {Values: []string{"id"}, Content: pem.EncodeToMemory(plain)}, "x-locked-key": {Values: []string{"id"}, Content: pem.EncodeToMemory(locked)},
		"x-userdata": {Values: []string{"init"}, Content: []byte("#cloud-config")},
	})
	if err != nil {
		t.Fatal(err)
	}
	for flag, want := range map[string]string{"x-ssh-key": string(ssh.MarshalAuthorizedKey(key)), "x-locked-key": string(ssh.MarshalAuthorizedKey(key)), "x-userdata": ""} {
		if text, _ := os.ReadFile(paths[flag] + ".pub"); string(text) != want {
			t.Errorf("beside %s is %q, want %q", flag, text, want)
		}
	}
}

func TestWhatQuestionsLeftIsSweptAndMachinesAreNot(t *testing.T) {
	own := t.TempDir()
	machine := open(t, own)
	question, err := OpenScratch(own, nil, "web")
	if err != nil {
		t.Fatal(err)
	}
	question.Close()
	Sweep(own, nil)
	if _, err := os.Stat(question.Path); err == nil {
		t.Error("what a question left is there")
	}
	if _, err := os.Stat(machine.Path); err != nil {
		t.Error(err)
	}
}

func TestAKeyIsARegularFileOfSomeSize(t *testing.T) {
	f := open(t, t.TempDir())
	large := filepath.Join(f.Path, "large")
	if err := os.WriteFile(large, make([]byte, maxKey+1), 0o600); err != nil {
		t.Fatal(err)
	}
	pipe := filepath.Join(f.Path, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{large, pipe, f.Path, "/dev/zero", filepath.Join(f.Path, "none"), "relative", ""} {
		if content, err := f.ReadKey(path); err == nil {
			t.Errorf("%q has %d bytes", path, len(content))
		}
	}
}

func TestALinkInTheHomeOfThePluginsUserLeadsNobodyOut(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("root alone works in another's home")
	}
	home, outside := t.TempDir(), t.TempDir()
	a := &Account{process.User{UID: 65534, GID: 65534}, "nobody", home}
	if err := os.Symlink(outside, filepath.Join(home, "mctl")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"uid", scratch + "x"} {
		if err := os.Mkdir(filepath.Join(outside, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if f, err := Open(t.TempDir(), a, "new", "web"); err == nil {
		t.Errorf("there is %s", f.Path)
	}
	Sweep(t.TempDir(), a)
	(&Folder{own: t.TempDir(), uid: "uid", account: a, root: mustRoot(t, home)}).Drop()
	entries, err := os.ReadDir(outside)
	if err != nil || len(entries) != 2 {
		t.Errorf("outside is %v, %v", entries, err)
	}
	for _, entry := range entries {
		if info, _ := entry.Info(); info.Sys().(*syscall.Stat_t).Uid != 0 {
			t.Errorf("%s is another's now", entry.Name())
		}
	}
}

func mustRoot(t *testing.T, path string) *os.Root {
	t.Helper()
	root, err := os.OpenRoot(path)
	if err != nil {
		t.Fatal(err)
	}
	return root
}
