package process

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"mctl/internal/reaper"
)

// holder is set in a process of the test that starts a program and holds it until it is killed.
const holder = "MCTL_TEST_HOLDER"

func TestMain(m *testing.M) {
	if program := os.Getenv(holder); program != "" {
		if _, err := Start(Config{Path: program, Reaper: reaper.Reaper{Dir: program + ".running"}, Line: func(string) {}, Debug: func(string) {}}); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		select {}
	}
	goleak.VerifyTestMain(m)
}

// script writes a shell script.
func script(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

// output collects lines.
type output struct {
	mu          sync.Mutex
	lines, side []string
}

func (o *output) config(path string) Config {
	take := func(list *[]string) func(string) {
		return func(line string) {
			o.mu.Lock()
			defer o.mu.Unlock()
			*list = append(*list, line)
		}
	}
	return Config{Path: path, Environment: []string{"PATH=/usr/bin:/bin", "GREETING=hello"}, Line: take(&o.lines), Debug: take(&o.side)}
}

func start(t *testing.T, text string) (*Process, *output) {
	t.Helper()
	o := &output{}
	p, err := Start(o.config(script(t, text)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Stop(0) })
	return p, o
}

// eventually polls what has no event of its own.
func eventually(t *testing.T, what string, met func() bool) {
	t.Helper()
	limit := time.After(10 * time.Second)
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for !met() {
		select {
		case <-ticker.C:
		case <-limit:
			t.Fatalf("not in time: %s", what)
		}
	}
}

// alive reports whether a process runs; one that only waits to be reaped does not.
func alive(pid int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, _ := strings.Cut(string(text), ") ")
	return err == nil && !strings.HasPrefix(rest, "Z") && !strings.HasPrefix(rest, "X")
}

func pidIn(t *testing.T, path string) (pid int) {
	t.Helper()
	eventually(t, path+" is written", func() bool {
		text, _ := os.ReadFile(path)
		pid, _ = strconv.Atoi(strings.TrimSpace(string(text)))
		return pid > 0
	})
	return pid
}

func TestTheFirstLineIsTheAnswerAndTheRestIsOutput(t *testing.T) {
	p, o := start(t, `echo "$GREETING"; echo one; echo aside >&2; printf two`)
	if line, err := p.First(t.Context()); err != nil || line != "hello" {
		t.Errorf("%q %v", line, err)
	}
	p.Stop(10 * time.Second)
	if got := strings.Join(o.lines, "|"); got != "one|two" {
		t.Errorf("output %q", got)
	}
	if got := strings.Join(o.side, "|"); got != "aside" || p.Reason() != nil {
		t.Errorf("errors %q, ended for %v", got, p.Reason())
	}
}

func TestLongLinesAreCutAndTheRestOfThemIsDropped(t *testing.T) {
	p, o := start(t, `echo first; head -c 200000 /dev/zero | tr '\0' x; echo; echo last`)
	if _, err := p.First(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.Stop(10 * time.Second)
	if len(o.lines) != 2 || len(o.lines[0]) != maxLine || o.lines[1] != "last" {
		t.Errorf("%d lines", len(o.lines))
	}
}

func TestAFloodEndsTheProgram(t *testing.T) {
	for _, text := range []string{`exec yes`, `exec yes $(head -c 3000 /dev/zero | tr '\0' x)`, `exec cat /dev/zero`, `echo up; exec yes >&2`} {
		p, _ := start(t, text)
		if _, err := p.First(t.Context()); err != nil {
			t.Fatal(err)
		}
		p.Stop(time.Minute)
		if !errors.Is(p.Reason(), ErrFlood) {
			t.Errorf("%s: ended for %v", text, p.Reason())
		}
	}
}

func TestWhatCannotRunIsAnError(t *testing.T) {
	text := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(text, []byte("hello"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{text, "/nosuch", t.TempDir()} {
		if _, err := Start(new(output).config(path)); err == nil {
			t.Errorf("%s runs", path)
		}
	}
	p, _ := start(t, `exit 7`)
	if _, err := p.First(t.Context()); !errors.Is(err, ErrEnded) {
		t.Errorf("one that ends: %v", err)
	}
	p.Stop(10 * time.Second)
	if p.Reason() == nil || p.Reason().Error() != "exit status 7" {
		t.Errorf("ended for %v", p.Reason())
	}
}

func TestAnotherUserRunsAProgramInADirectoryOfOursWithTheGroupsThatItIsIn(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can run programs as others")
	}
	path := script(t, `echo "$0 is run by $(id -u) of $(id -G)"`)
	config := new(output).config(path)
	config.User, config.Dir = &User{UID: 65534, GID: 65533, Groups: []uint32{65533, 4242}}, "/"
	if err := errors.Join(os.Chmod(filepath.Dir(path), 0o700), os.Chmod(path, 0o755)); err != nil {
		t.Fatal(err)
	}
	p, err := Start(config)
	if err != nil {
		t.Fatal(err)
	}
	if line, err := p.First(t.Context()); err != nil || !strings.HasSuffix(line, " is run by 65534 of 65533 4242") {
		t.Errorf("%q %v", line, err)
	}
	p.Stop(10 * time.Second)
	if err := os.Chmod(path, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := Start(config); !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), path) {
		t.Errorf("one that is ours alone: %v", err)
	}
}

func TestNothingOfTheGroupIsLeftAndWhatLeftItIsNotWaitedFor(t *testing.T) {
	dir := t.TempDir()
	// One child stays in the group, another leaves it as a daemon does, and holds our pipes.
	p, _ := start(t, fmt.Sprintf(`echo up; sleep 600 & echo $! >%[1]s/child; setsid sleep 600 & echo $! >%[1]s/daemon; wait`, dir))
	if _, err := p.First(t.Context()); err != nil {
		t.Fatal(err)
	}
	child, daemon := pidIn(t, dir+"/child"), pidIn(t, dir+"/daemon")
	eventually(t, "the daemon has a session of its own", func() bool {
		group, err := syscall.Getpgid(daemon)
		return err == nil && group == daemon
	})
	began := time.Now()
	p.Stop(0)
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %s", took)
	}
	eventually(t, "the child has ended", func() bool { return !alive(child) })
	if !alive(daemon) {
		t.Error("the daemon was ended, too")
	}
	_ = syscall.Kill(daemon, syscall.SIGKILL)
	p.Stop(0) // once more is once
}

func TestWhatCannotBeKilledIsNotWaitedForForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &Process{ended: make(chan struct{}), done: make(chan struct{}), finished: true} // nobody may be killed
		began := time.Now()
		if p.Stop(5 * time.Second); time.Since(began) != 5*time.Second+giveUp {
			t.Errorf("it took %s", time.Since(began))
		}
	})
}

func TestAProgramThatLeavesAChildBehindTakesItAlong(t *testing.T) {
	dir := t.TempDir()
	p, _ := start(t, fmt.Sprintf(`echo up; sleep 600 & echo $! >%s/child; exit 0`, dir))
	child := pidIn(t, dir+"/child")
	<-p.Ended()
	eventually(t, "the child has ended", func() bool { return !alive(child) })
}

func TestTheProgramEndsWithUsHoweverWeEnd(t *testing.T) {
	dir := t.TempDir()
	program := script(t, fmt.Sprintf(`sleep 600 & echo $! >%[1]s/child; echo $$ >%[1]s/pid; wait`, dir))
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	us := exec.Command(self)
	us.Env = append(os.Environ(), holder+"="+program)
	if err := us.Start(); err != nil {
		t.Fatal(err)
	}
	pid := pidIn(t, dir+"/pid")
	if !alive(pid) {
		t.Error("it does not run")
	}
	if err := us.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = us.Wait()
	eventually(t, "it has ended", func() bool { return !alive(pid) })
	// What it started is not ended by the kernel, but by who comes after us.
	child := pidIn(t, dir+"/child")
	if left := (reaper.Reaper{Dir: program + ".running"}).Reap(); left != 1 || alive(child) {
		t.Errorf("%d left, alive %t", left, alive(child))
	}
}
