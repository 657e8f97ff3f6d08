//go:build linux

package container

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// child is a process that runs until its input ends.
func child(t *testing.T) *exec.Cmd {
	t.Helper()
	command := exec.Command("cat")
	if _, err := command.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = command.Process.Kill(); _ = command.Wait() })
	return command
}

func TestOnlyTheSameProcessIsHeld(t *testing.T) {
	running := child(t)
	id, err := identify(running.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	p, err := holdSame(id)
	if p == nil || err != nil {
		t.Fatalf("the same: %v %v", p, err)
	}
	p.close()
	for name, other := range map[string]identity{
		"started at another time": {id.PID, id.Start + 1, id.Boot}, "of another boot": {id.PID, id.Start, "other"}, "never was": {1 << 30, id.Start, id.Boot},
	} {
		if p, _ := holdSame(other); p != nil {
			t.Errorf("one that %s is held", name)
		}
	}
	_ = running.Process.Kill()
	ended, err := hold(running.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	defer ended.close()
	if err := ended.wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if p, _ := holdSame(id); p != nil { // nobody has taken note of its end yet
		t.Error("a zombie is held")
	}
}

func TestWaitingEndsWithTheProcessOrTheContext(t *testing.T) {
	running := child(t)
	p, err := hold(running.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	for range 2 { // a wait that was given up does not spoil the next
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		if err := p.wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		cancel()
	}
	ended := make(chan error)
	go func() { ended <- p.wait(t.Context()) }()
	if err := p.signal(unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	_ = running.Wait()
	if err := p.signal(unix.SIGKILL); err != nil {
		t.Errorf("a signal to what has ended: %v", err)
	}
	if gone, err := hold(1 << 30); gone != nil || err != nil {
		t.Errorf("what never was: %v %v", gone, err)
	}
}

func TestWhatAProcessTakesIsSeen(t *testing.T) {
	p := &process{pid: child(t).Process.Pid}
	if p.takes(poweroff) {
		t.Error("cat does not handle real-time signals")
	}
	if self := (&process{pid: os.Getpid()}); !self.takes(unix.SIGTERM) { // Go handles every signal
		t.Error("this process handles SIGTERM")
	}
	if isInit(os.Getpid()) || !slices.Contains(children(os.Getpid()), p.pid) {
		t.Errorf("children of this process: %v, want %d", children(os.Getpid()), p.pid)
	}
}

func TestUnitsGetLimitsAndLiteralPaths(t *testing.T) {
	arguments := Boot{CPUs: 1.5, Memory: 512 << 20}.unit(Container{ID: "mctl-abc", Dir: "/state/$HOME", Hostname: "web"}, "/usr/bin/systemd-nspawn")
	for _, want := range []string{
		"--unit=mctl-abc.service", "--property=MemoryMax=536870912", "--property=MemorySwapMax=0", "--property=CPUQuota=150%",
		"--property=Delegate=yes", "--property=RestartForceExitStatus=133", "--working-directory=/state/$HOME",
	} {
		if !slices.Contains(arguments, want) {
			t.Errorf("%s is missing in %v", want, arguments)
		}
	}
	if arguments[len(arguments)-1] != "--" {
		t.Error("the command is not parted from the options")
	}
	if unlimited := strings.Join(Boot{}.unit(Container{}, ""), " "); strings.Contains(unlimited, "MemoryMax") || strings.Contains(unlimited, "CPUQuota") {
		t.Errorf("without limits: %s", unlimited)
	}
	if got := literal([]string{"/state/$HOME", "plain"}); !slices.Equal(got, []string{"/state/$$HOME", "plain"}) {
		t.Errorf("got %q", got)
	}
}

func TestArgumentsKeepTheirColons(t *testing.T) {
	arguments := Container{ID: "mctl-abc", Dir: `/a:b\c`, Hostname: "web"}.arguments("bridge")
	if !slices.Contains(arguments, `--bind=/a\:b\\c/docker:/var/lib/docker`) || !slices.Contains(arguments, `/a:b\c/root`) {
		t.Errorf("got %q", arguments)
	}
}

func TestALimitBitesOnlyWhereACgroupHasIt(t *testing.T) {
	boot := Boot{Memory: 512 << 20, CPUs: 0.29}
	for name, c := range map[string]struct {
		files       map[string]string
		memory, cpu bool
	}{
		"version 2":            {map[string]string{"memory.max": "536870912", "cpu.max": "29000 100000"}, true, true},
		"version 1":            {map[string]string{"memory.limit_in_bytes": "536870912", "cpu.cfs_quota_us": "29000"}, true, true},
		"a page less":          {map[string]string{"memory.max": "536866816"}, true, false},
		"no bound, version 2":  {map[string]string{"memory.max": "max", "cpu.max": "max 100000"}, false, false},
		"no bound, version 1":  {map[string]string{"memory.limit_in_bytes": "9223372036854771712", "cpu.cfs_quota_us": "-1"}, false, false},
		"no controller at all": {nil, false, false},
	} {
		dir := t.TempDir()
		for file, content := range c.files {
			if err := os.WriteFile(filepath.Join(dir, file), []byte(content+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		for _, l := range boot.limits() {
			want := map[string]bool{"memory": c.memory, "cpu": c.cpu}[l.what]
			if got := l.bites([]string{filepath.Join(dir, "none"), dir}); !l.optional && got != want {
				t.Errorf("%s: the limit of %s bites: %t, want %t", name, l.what, got, want)
			}
		}
	}
}

func TestPartsOfAPercentReachSystemd(t *testing.T) {
	for cpus, want := range map[float64]string{0.5: "50%", 2: "200%", 0.29: "29%", 0.015: "1.5%", 0.01: "1%"} {
		if got := (Boot{CPUs: cpus}).unit(Container{}, ""); !slices.Contains(got, "--property=CPUQuota="+want) {
			t.Errorf("%v CPUs: %q lacks %s", cpus, got, want)
		}
	}
}
