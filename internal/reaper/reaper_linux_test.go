package reaper

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// victim is set in a process that remembers a leader and ends without a word.
const victim = "MCTL_TEST_REMEMBER"

func TestMain(m *testing.M) {
	if dir := os.Getenv(victim); dir != "" {
		leader, _ := strconv.Atoi(os.Args[1])
		Reaper{Dir: dir}.Remember(leader)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// killed has a process remember a leader that is gone by now.
func (r Reaper) killed(t *testing.T, leader int) {
	t.Helper()
	command := exec.Command(os.Args[0], strconv.Itoa(leader))
	command.Env = []string{victim + "=" + r.Dir}
	if out, err := command.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// launch starts a shell that leads a session and has said "up"; it is reaped when the test ends.
func launch(t *testing.T, attributes *syscall.SysProcAttr, script string) int {
	t.Helper()
	command := exec.Command("sh", "-c", script+"\necho up; wait")
	command.SysProcAttr = attributes
	out, err := command.StdoutPipe()
	if err == nil {
		err = command.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Kill(-command.Process.Pid, syscall.SIGKILL); _ = command.Wait() })
	if _, err := out.Read(make([]byte, 3)); err != nil {
		t.Fatal(err)
	}
	return command.Process.Pid
}

func ofSession() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }

func pidIn(t *testing.T, path string) int {
	t.Helper()
	text, err := os.ReadFile(path)
	pid, _ := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || pid == 0 {
		t.Fatalf("%q, %v", text, err)
	}
	return pid
}

func runs(pid int) bool { _, alive := statusOf(pid); return alive }

func TestWhatAKilledProcessLeftIsEndedAndWhoLeftItIsNot(t *testing.T) {
	for name, attributes := range map[string]*syscall.SysProcAttr{"a session": ofSession(), "a group": {Setpgid: true}} {
		t.Run(name, func(t *testing.T) {
			dir, r := t.TempDir(), Reaper{Dir: filepath.Join(t.TempDir(), "made")}
			leader := launch(t, attributes, fmt.Sprintf(`sleep 600 & echo $! >%[1]s/child
				sh -c 'trap "" HUP; sleep 600' & echo $! >%[1]s/deaf
				setsid sleep 600 & echo $! >%[1]s/daemon`, dir))
			r.killed(t, leader)
			child, deaf, daemon := pidIn(t, dir+"/child"), pidIn(t, dir+"/deaf"), pidIn(t, dir+"/daemon")
			defer syscall.Kill(daemon, syscall.SIGKILL) //nolint:errcheck // it is ours
			if left := r.Reap(); left != 1 || runs(leader) || runs(child) || runs(deaf) {
				t.Errorf("%d, leader %t, child %t, deaf %t", left, runs(leader), runs(child), runs(deaf))
			}
			if !runs(daemon) {
				t.Error("the daemon was ended, too")
			}
			if left := r.Reap(); left != 0 {
				t.Errorf("%d once more", left)
			}
		})
	}
}

func TestWhatALeaderLeftIsEndedAfterItsOwnEnd(t *testing.T) {
	dir, r := t.TempDir(), Reaper{Dir: t.TempDir()}
	leader := launch(t, ofSession(), fmt.Sprintf(`sleep 600 & echo $! >%s/child`, dir))
	r.killed(t, leader)
	if err := syscall.Kill(leader, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for limit := time.Now().Add(10 * time.Second); runs(leader); {
		if time.Now().After(limit) {
			t.Fatal("it does not end")
		}
	}
	if left := r.Reap(); left != 1 || runs(pidIn(t, dir+"/child")) {
		t.Errorf("%d", left)
	}
}

func TestNobodyElseIsEnded(t *testing.T) {
	r := Reaper{Dir: t.TempDir()}
	forgotten, owned, recycled, booted := launch(t, ofSession(), ""), launch(t, ofSession(), "sleep 600 &"), launch(t, ofSession(), "sleep 600 &"), launch(t, ofSession(), "sleep 600 &")
	r.Remember(forgotten)()
	forget := r.Remember(owned)
	began, _ := beginning(booted)
	for name, text := range map[string]string{
		strconv.Itoa(recycled): boot() + " 1 0 0\n", strconv.Itoa(booted): "another " + began + " 0 0\n", "1": boot() + " 0 0 0\n", "x": "", "-1": boot() + " 0 0 0\n",
	} {
		if err := os.WriteFile(filepath.Join(r.Dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if left := r.Reap(); left != 0 || !runs(owned) || !runs(recycled) || !runs(booted) {
		t.Errorf("%d, %t %t %t", left, runs(owned), runs(recycled), runs(booted))
	}
	forget()
	if entries, _ := os.ReadDir(r.Dir); len(entries) != 3 { // the names that are none of ours
		t.Errorf("%v", entries)
	}
	Reaper{}.Remember(os.Getpid())()
	if left := (Reaper{}).Reap(); left != 0 {
		t.Errorf("%d", left)
	}
}
