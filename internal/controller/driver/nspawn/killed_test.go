//go:build linux

package nspawn

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"mctl/internal/controller/driver"
)

// TestMain lets a test start a controller that can be killed: this binary, with a machine to create.
func TestMain(m *testing.M) {
	if job := os.Getenv("NSPAWN_TEST_CREATE"); job != "" {
		os.Exit(createAndTell(job))
	}
	os.Exit(m.Run())
}

// job is a machine without what cannot be written down.
type job struct {
	StateDir, ControllerID, UID, Name string
	Options                           driver.Options
	PublicKeys                        []string
}

func createAndTell(text string) int {
	var j job
	if err := json.Unmarshal([]byte(text), &j); err != nil {
		return 2
	}
	d := New(Config{StateDir: j.StateDir, ControllerID: j.ControllerID})
	instance, err := d.Create(context.Background(), driver.Machine{
		ControllerID: j.ControllerID, UID: j.UID, Name: j.Name, Options: j.Options, PublicKeys: j.PublicKeys, Progress: func(string) {},
	})
	if err != nil {
		return 1
	}
	_, _ = os.Stdout.WriteString(instance.ID + "\n")
	select {} // until it is killed
}

func TestTheControllerKilledAtAnyMomentMakesOneHost(t *testing.T) {
	w := newWorld(t, "killed")
	m := w.machine("survivor", nil)
	text, err := json.Marshal(job{w.config.StateDir, m.ControllerID, m.UID, m.Name, m.Options, m.PublicKeys})
	if err != nil {
		t.Fatal(err)
	}
	const moments = 12
	for i := range moments {
		controller := exec.Command(os.Args[0])
		controller.Env = append(os.Environ(), "NSPAWN_TEST_CREATE="+string(text))
		told := &strings.Builder{}
		controller.Stdout = told
		if err := controller.Start(); err != nil {
			t.Fatal(err)
		}
		timer := time.NewTimer(time.Duration(i) * 25 * time.Millisecond)
		<-timer.C
		_ = controller.Process.Kill()
		_ = controller.Wait()
		instance := w.create(m)
		w.one(i)
		if told.Len() > 0 && strings.TrimSpace(told.String()) != instance.ID {
			t.Errorf("another host: %s, then %s", told, instance.ID)
		}
		if i%4 == 3 {
			w.must(w.login(instance), "true")
			continue // the next one finds it
		}
		if err := w.driver().Delete(t.Context(), m); err != nil {
			t.Fatal(err)
		}
		if left, err := w.list(t.Context()); err != nil || len(left) > 0 {
			t.Fatalf("killed at moment %d, then deleted: %v %v", i, left, err)
		}
	}
}

// one waits until there is exactly one nspawn: while it prepares, its children bear its name.
func (w *world) one(moment int) {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.Context(), 10*time.Second)
	defer cancel()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		output, _ := exec.CommandContext(ctx, "pgrep", "-c", "-f", "systemd-nspawn.*"+w.config.StateDir).Output()
		if strings.TrimSpace(string(output)) == "1" {
			return
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			w.Fatalf("killed at moment %d: %s hosts", moment, output)
		}
	}
}

// TestAHostOutlivesItsController has the controller be killed with everything in its session and its cgroups.
func TestAHostOutlivesItsController(t *testing.T) {
	w := newWorld(t, "outlive")
	handed := make([]int, 2)
	if err := unix.Pipe(handed); err != nil { // as a process is handed by its parent: open after exec
		t.Fatal(err)
	}
	client := w.login(w.create(w.machine("web", nil)))
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	ownGroups := map[string]bool{}
	for line := range strings.Lines(string(own)) {
		ownGroups[line] = !strings.HasSuffix(line, ":/\n") // nobody ends the root of a hierarchy
	}
	pids := w.inside(driver.Machine{ControllerID: w.config.ControllerID, UID: "uid-web"})
	_ = unix.Close(handed[1])
	if n, err := unix.Poll([]unix.PollFd{{Fd: int32(handed[0])}}, 0); n != 1 || err != nil {
		t.Error("the host holds a file that was its controller's")
	}
	_ = unix.Close(handed[0])
	ownSession, err := unix.Getsid(0)
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, pid := range pids {
		groups, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cgroup")
		for line := range strings.Lines(string(groups)) {
			if ownGroups[line] {
				t.Errorf("process %d shares the cgroup %s with its controller", pid, strings.TrimSpace(line))
			}
		}
		session, err := unix.Getsid(pid)
		switch {
		case errors.Is(err, unix.ESRCH): // it has ended: hosts that boot start much that is brief
			continue
		case err != nil:
			t.Fatal(err)
		case session == ownSession:
			t.Errorf("process %d is in the controller's session", pid)
		}
		seen++
	}
	if seen < 3 {
		t.Fatalf("a booted host has processes %v, of which %d stayed", pids, seen)
	}
	w.must(client, "true")
}
