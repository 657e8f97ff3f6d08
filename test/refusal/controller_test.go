//go:build unix

package refusal

import (
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	bbolt "go.etcd.io/bbolt"
)

func TestAControllerThatCanNotBeStartedIsASentence(t *testing.T) {
	alone := filepath.Join(t.TempDir(), "bin")
	if err := os.Mkdir(alone, 0o755); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(filepath.Join(programs, "mctl"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(alone, "mctl"), content, 0o755); err != nil { //nolint:gosec // a program
		t.Fatal(err)
	}
	script := func(name, text string) string {
		return "MCTL_CONTROLLER_BIN=" + write(t, filepath.Join(t.TempDir(), name), "#!/bin/sh\n"+text+"\n", 0o755)
	}
	for name, c := range map[string]struct {
		bin, variable, says string
	}{
		"no program":                    {alone, "", "its program was not found beside mctl or in PATH"},
		"a program that is not there":   {programs, "MCTL_CONTROLLER_BIN=/nowhere/controller", "can't start the controller"},
		"a file that is no program":     {programs, "MCTL_CONTROLLER_BIN=" + write(t, filepath.Join(t.TempDir(), "text"), "x", 0o755), "can't start the controller"},
		"a program that ends at once":   {programs, script("ends", "exit 1"), "the controller ended before it was ready"},
		"a program of another kind":     {programs, script("other", "echo hello >&3"), "the controller reported something that mctl does not understand"},
		"a controller that says why":    {programs, script("why", `echo '{"error":"the moon is full","hint":"wait"}' >&3`), "the moon is full"},
		"a controller that says no end": {programs, script("half", `printf '{"ready":' >&3`), "the controller reported something that mctl does not understand"},
	} {
		t.Run(name, func(t *testing.T) {
			u := newUser(t)
			u.bin = c.bin
			if c.variable != "" {
				u = u.with(c.variable)
			}
			u.refused(1, c.says, "ls")
			u.refused(1, c.says, "create", "--driver", "generic", "web")
		})
	}
}

func TestAFarControllerThatIsNotThereIsASentence(t *testing.T) {
	u := newUser(t)
	const ticket = "mj1.QKW2CmnWuWXufwSh8bAejg.K-aMxoXQILWazkEPNfMrBRH6ynZTV-6JhIglo6Chm5c.yC9j-5JN6MF6CrXtbF21izfyGH-NoDqWYPQHLGmDEbM"
	u.refused(1, `there is no context "far"`, "--context", "far", "ls")
	u.refused(2, "not a join ticket", "context", "create", "far", "--endpoint", "127.0.0.1:1", "--invitation", "mj1")
	u.refused(2, `--endpoint is host:port, not "far"`, "context", "create", "far", "--endpoint", "far", "--invitation", ticket)
	u.refused(1, "can't be reached: dial tcp 127.0.0.1:", "context", "create", "far", "--endpoint", "127.0.0.1:"+closedPort(t), "--invitation", ticket)
	u.refused(1, "can't be reached", "context", "create", "far", "--endpoint", "127.0.0.1:"+webServer(t), "--invitation", ticket)

	// One that was there: its context is good again as soon as it is back.
	invitation := strings.Fields(u.must("context", "invite", "alice"))
	value := func(flag string) string {
		for i, word := range invitation {
			if word == flag {
				return invitation[i+1]
			}
		}
		t.Fatalf("no %s in %q", flag, invitation)
		return ""
	}
	guest := newUser(t)
	guest.must("context", "create", "far", "--endpoint", value("--endpoint"), "--invitation", value("--invitation"))
	guest.must("--context", "far", "ls")
	u.must("controller", "stop")
	guest.refused(1, "can't be reached", "--context", "far", "ls")
	guest.refused(1, "can't be reached", "--context", "far", "create", "--driver", "generic", "web")
	u.must("controller", "start")
	guest.must("--context", "far", "ls")
}

func TestAStateDirectoryThatCanNotBeUsedIsASentence(t *testing.T) {
	for name, prepare := range map[string]func(t *testing.T, u *user){
		"somebody else's": func(t *testing.T, u *user) { closed(t, filepath.Join(u.state, "mctl"), 0o000) },
		"read only":       func(t *testing.T, u *user) { closed(t, u.state, 0o500) },
		"a file":          func(t *testing.T, u *user) { write(t, u.state, "x", 0o600) },
		"below a file":    func(t *testing.T, u *user) { u.state = filepath.Join(write(t, u.state, "x", 0o600), "below") },
		"no file system":  func(_ *testing.T, u *user) { u.state = "/proc/mctl" },
	} {
		t.Run(name, func(t *testing.T) {
			if runtime.GOOS != "linux" && name == "no file system" {
				t.Skip("this system has no /proc")
			}
			u := newUser(t)
			whole := u.state
			t.Cleanup(func() { u.state = whole }) // before the controller is stopped
			prepare(t, u)
			u.unprivileged()
			u.refused(1, "can't use the state directory: ", "ls")
			u.refused(1, "can't use the state directory: ", "create", "--driver", "generic", "web")
			u.refused(1, "can't use the state directory: ", "controller", "start")
		})
	}
	u := newUser(t)
	u.with("HOME=", "MCTL_HOME=").refused(1, "no state directory is known, since HOME is not set", "ls")
}

// closed makes a directory that only root could use, and opens it again at the end so that it can be removed.
func closed(t *testing.T, path string, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(path, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil { //nolint:gosec // that is the test
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Chmod(path, 0o700) }) //nolint:gosec // a directory
}

func TestASocketDirectoryThatOthersCanUseIsNotTrusted(t *testing.T) {
	u := newUser(t)
	u.must("ls")
	sockets := filepath.Join(u.variable("XDG_RUNTIME_DIR"), "mctl")
	if err := os.Chmod(sockets, 0o777); err != nil { //nolint:gosec // that is the test
		t.Fatal(err)
	}
	u.refused(1, "can't be trusted: others may open it", "ls")
	if err := os.Chmod(sockets, 0o700); err != nil { //nolint:gosec // a directory
		t.Fatal(err)
	}
	u.must("ls")
}

// damage changes one file below <state>/mctl of a user whose controller does not run.
type damage struct {
	says   string
	change func(t *testing.T, own string)
}

func TestAStoreThatCanNotBeReadIsLeftAsItIs(t *testing.T) {
	u := newUser(t)
	u.must("create", "--driver", "fake", "web")
	u.must("controller", "stop")
	own := filepath.Join(u.state, "mctl")
	sound := files(t, own)
	store, key := filepath.Join(own, "store.db"), filepath.Join(own, "seal.key")
	put := func(path, content string) func(*testing.T, string) {
		return func(t *testing.T, _ string) { write(t, path, content, 0o600) }
	}
	for name, d := range map[string]damage{
		"empty":     {"is damaged: the file is empty", put(store, "")},
		"garbage":   {"is damaged", put(store, strings.Repeat("garbage!", 5000))},
		"cut short": {"is damaged", put(store, sound[store][:5000])},
		"a directory": {"the store can't be used", func(t *testing.T, _ string) {
			if err := os.Remove(store); err != nil {
				t.Fatal(err)
			}
			if err := os.Mkdir(store, 0o700); err != nil {
				t.Fatal(err)
			}
		}},
		"a link to nowhere": {"the store can't be used", func(t *testing.T, _ string) {
			if err := os.Remove(store); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink("/nowhere/store.db", store); err != nil {
				t.Fatal(err)
			}
		}},
		"of a newer mctl": {"was written by a newer mctl (schema 99, this one knows 1)", func(t *testing.T, _ string) {
			db, err := bbolt.Open(store, 0o600, nil)
			if err != nil {
				t.Fatal(err)
			}
			err = db.Update(func(tx *bbolt.Tx) error {
				return tx.Bucket([]byte("meta")).Put([]byte("schema"), binary.BigEndian.AppendUint64(nil, 99))
			})
			if err != nil {
				t.Fatal(err)
			}
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
		}},
		"held by another process": {"is held by", func(t *testing.T, _ string) {
			if _, err := exec.LookPath("flock"); err != nil {
				t.Skip("this system has no flock")
			}
			holder := exec.Command("flock", store, "sleep", "60")
			holder.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
			if err := holder.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				_ = syscall.Kill(-holder.Process.Pid, syscall.SIGKILL)
				_ = holder.Wait()
			})
			await(t, "the lock is held", func() bool { return exec.Command("flock", "-n", store, "true").Run() != nil })
		}},
		"without its key": {"is missing, with which the store beside it was sealed", func(t *testing.T, _ string) {
			if err := os.Remove(key); err != nil {
				t.Fatal(err)
			}
		}},
		"with another key": {"can't be opened with this seal key", put(key, strings.Repeat("A", 43)+"=\n")},
		"with half a key":  {"seal.key is not 32 bytes in base64", put(key, "AAAA\n")},
		"with an open key": {"permissions 0644 for the seal key", func(t *testing.T, _ string) {
			if err := os.Chmod(key, 0o644); err != nil { //nolint:gosec // that is the test
				t.Fatal(err)
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			inner := *u
			inner.t = t
			t.Cleanup(func() {
				inner.run("controller", "stop")
				restore(t, own, sound)
			})
			d.change(t, own)
			before := files(t, own)
			inner.refused(1, d.says, "ls")
			inner.refused(1, d.says, "status", "web")
			inner.refused(1, d.says, "create", "--driver", "fake", "db")
			after := files(t, own)
			for _, path := range []string{store, key} {
				if _, was := before[path]; after[path] != before[path] || !was && after[path] != "" {
					t.Errorf("%s was changed", path)
				}
			}
		})
	}
	if listed := u.must("ls", "-q"); listed != "web\n" {
		t.Errorf("with all put back: %q", listed)
	}
}

func restore(t *testing.T, own string, sound map[string]string) {
	t.Helper()
	if err := os.RemoveAll(own); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(own, 0o700); err != nil {
		t.Fatal(err)
	}
	for path, content := range sound {
		write(t, path, content, 0o600)
	}
}

// await polls a condition that has no event of its own.
func await(t *testing.T, what string, met func() bool) {
	t.Helper()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for deadline := time.Now().Add(limit); !met(); {
		if <-ticker.C; time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", limit, what)
		}
	}
}

func TestVersionsTooFarApartAreToldWhichSideToUpgrade(t *testing.T) {
	releases := t.TempDir()
	for _, version := range []string{"v1.0.0", "v1.3.0"} {
		if err := build(version, filepath.Join(releases, version)); err != nil {
			t.Fatal(err)
		}
	}
	u := newUser(t)
	use := func(version, controller string) *user {
		other := u.with("MCTL_CONTROLLER_BIN=" + filepath.Join(releases, controller, "controller"))
		other.bin = filepath.Join(releases, version)
		return other
	}
	use("v1.0.0", "v1.0.0").must("ls")
	const older, newer = "the controller has version v1.0.0 and the caller v1.3.0: upgrade the controller", "the controller has version v1.3.0 and the caller v1.0.0: upgrade the caller"
	use("v1.3.0", "v1.0.0").refused(1, older, "ls")
	use("v1.3.0", "v1.0.0").refused(1, older, "create", "--driver", "generic", "web")
	if status := use("v1.3.0", "v1.0.0").must("controller", "status"); !strings.Contains(status, "v1.0.0") {
		t.Errorf("the version that runs is not told: %s", status)
	}
	// An idle one makes room for the one that comes with mctl.
	use("v1.3.0", "v1.3.0").must("ls")
	use("v1.0.0", "v1.3.0").refused(1, newer, "ls")
	use("v1.0.0", "v1.3.0").must("controller", "stop")
	use("v1.0.0", "v1.0.0").must("ls")
}

func TestTheNspawnDriverNeedsRoot(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("nspawn is for Linux")
	}
	u := newUser(t).unprivileged()
	u.refused(3, `Error with pre-create check: "the nspawn driver needs root"`, "create", "--driver", "nspawn", "web")
	u.refused(3, "no driver is named, and none can be used here without being named (nspawn: the nspawn driver needs root", "create", "web")
	u.untouched()
	if drivers := u.must("drivers"); !strings.Contains(drivers, "no: the nspawn driver needs root") {
		t.Errorf("drivers say: %s", drivers)
	}
}
