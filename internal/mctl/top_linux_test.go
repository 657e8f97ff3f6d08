package mctl

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"

	"mctl/internal/fault"
	"mctl/internal/mctl/cli"
	"mctl/internal/mctl/controllertest"
	"mctl/internal/mctl/screentest"
	controllerv1 "mctl/proto/mctl/controller/v1"
)

// watching is a command at a terminal of its own.
type watching struct {
	*screentest.Screen
	t        *testing.T
	keyboard *os.File
	tty      *os.File
	before   unix.Termios
	ended    chan int
}

func newTerminal(t *testing.T, width, height int) *watching {
	t.Helper()
	keyboard, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	w := &watching{Screen: screentest.New(width, height), t: t, keyboard: keyboard, tty: tty, ended: make(chan int, 1)}
	t.Cleanup(func() { keyboard.Close() })
	w.size(width, height)
	w.before = w.modes()
	go func() { _, _ = io.Copy(w.Screen, keyboard) }() // ends with an error when nobody has the other side any more
	return w
}

// watch runs mctl at a terminal, at noon.
func watch(t *testing.T, c *controllertest.Controller, width, height int, words ...string) *watching {
	t.Helper()
	w := newTerminal(t, width, height)
	env := c.Env(words...)
	env.In, env.Out, env.Width, env.InTerm, env.Now = w.tty, w.tty, width, true, func() time.Time { return noon }
	go func() { w.ended <- Run(t.Context(), env) }()
	return w
}

func (w *watching) size(width, height int) {
	w.t.Helper()
	if err := pty.Setsize(w.tty, &pty.Winsize{Cols: uint16(width), Rows: uint16(height)}); err != nil {
		w.t.Fatal(err)
	}
}

func (w *watching) modes() unix.Termios {
	w.t.Helper()
	modes, err := unix.IoctlGetTermios(int(w.tty.Fd()), unix.TCGETS)
	if err != nil {
		w.t.Fatal(err)
	}
	return *modes
}

func (w *watching) press(keys string) {
	w.t.Helper()
	if _, err := w.keyboard.WriteString(keys); err != nil {
		w.t.Fatal(err)
	}
}

// sees waits until the screen shows a text, and returns it.
func (w *watching) sees(text string) string {
	w.t.Helper()
	return w.until("sees "+text, func(screen string) bool { return strings.Contains(screen, text) })
}

func (w *watching) until(what string, holds func(screen string) bool) string {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 20*time.Second)
	defer cancel()
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	for {
		screen := w.String()
		if holds(screen) {
			return screen
		}
		select {
		case <-ctx.Done():
			w.t.Fatalf("waited in vain until it %s:\n%s", what, screen)
		case <-look.C:
		}
	}
}

// ends waits for the end of the command, and looks whether the terminal is as it was.
func (w *watching) ends(code int) {
	w.t.Helper()
	select {
	case got := <-w.ended:
		if got != code {
			w.t.Errorf("exit %d, want %d", got, code)
		}
	case <-time.After(20 * time.Second):
		w.t.Fatalf("it did not end:\n%s", w)
	}
	if now := w.modes(); now != w.before {
		w.t.Errorf("the terminal's modes are %+v, were %+v", now, w.before)
	}
	w.until("is given back, "+w.Restored(), func(string) bool { return w.Restored() == "" })
}

func TestGoldenTop(t *testing.T) {
	c := controllertest.New(t)
	tr := newTranscript(t, c)
	picture := func(width, height int, keys string, words ...string) {
		w := watch(t, c, width, height, words...)
		if width > 1 {
			w.sees(" mach") // not that it waits
		} else {
			w.sees("…")
		}
		fmt.Fprintf(&tr.text, "$ %s # at %dx%d", strings.Join(append([]string{"mctl"}, words...), " "), width, height)
		if keys != "" {
			fmt.Fprintf(&tr.text, ", then %q", keys)
			before := w.String()
			w.press(keys)
			w.until("changes", func(screen string) bool { return screen != before })
		}
		tr.text.WriteString("\n" + w.String())
		w.press("q")
		w.ends(0)
	}
	picture(80, 24, "", "top")
	picture(40, 3, "", "top")
	tr.run("mctl", "top")
	putFleet(c)
	picture(80, 24, "", "top")
	picture(120, 10, "", "top", "--sort", "memory", "-r")
	picture(40, 10, "", "top", "--sort", "name")
	picture(40, 8, "\x1b[B\x1b[B\x1b[B", "top", "--sort", "name")
	picture(80, 10, "a", "top", "web2", "lost", "web10")
	picture(80, 10, "\x1b[C", "top", "web2", "lost", "web10")
	picture(80, 10, "\x1bOD", "top", "web2", "lost", "web10")
	picture(80, 10, "r", "top", "web2", "lost", "web10")
	picture(12, 4, "", "top")
	picture(1, 1, "", "top")
	for _, sort := range []string{"cpu", "memory", "disk", "containers", "age", "name"} {
		tr.runAt(noon, "mctl", "top", "--sort", sort)
	}
	tr.runAt(noon, "mctl", "top", "--once", "-r", "web10", "web2")
	tr.run("mctl", "top", "nosuch", "web2", "neither")
	tr.run("mctl", "top", "--sort", "size")
	for i := range 1000 {
		c.Put(busy(fmt.Sprintf("m%d", i), time.Second, float64(i%100), 1, 1, uint32(i)))
	}
	picture(80, 24, "", "top", "-r", "--sort", "containers")
	picture(80, 24, "\x1b[F", "top", "--sort", "name")
	picture(80, 24, "\x1b[6~", "top", "--sort", "name")
	tr.matches("top")
}

func TestTopAsADocumentIsTheMachinesInOrder(t *testing.T) {
	c := controllertest.New(t)
	putFleet(c)
	code, out, stderr := said(t, c, "--output", "json", "top", "--sort", "disk")
	var names []string
	for line := range strings.Lines(out) {
		if name, ok := strings.CutPrefix(line, `    "name": "`); ok {
			names = append(names, strings.TrimSuffix(name, "\",\n"))
		}
	}
	if got := strings.Join(names, " "); code != 0 || got != "sick web2 down web10 fresh lost" {
		t.Errorf("exit %d, %q, %s%s", code, got, out, stderr)
	}
}

func TestTopShowsChangesAsTheyCome(t *testing.T) {
	c := controllertest.New(t)
	c.Put(busy("web", 0, 1, 1, 1, 1))
	w := watch(t, c, 80, 10, "top")
	w.sees("1 machine, 1 connected")
	c.Change("web", func(m *controllerv1.Machine) { m.Status.Health.CpuPercent = 77 })
	w.sees(" 77% ")
	c.Put(busy("db", 0, 90, 1, 1, 1))
	if screen := w.sees("2 machines"); strings.Index(screen, "|db ") > strings.Index(screen, "|web ") {
		t.Errorf("the busiest is not on top:\n%s", screen)
	}
	c.Remove("web")
	w.until("forgets web", func(screen string) bool { return !strings.Contains(screen, "web") })
	c.Stop()
	w.sees("trying again: ")
	if !strings.Contains(w.String(), "|db ") {
		t.Errorf("what was known is gone:\n%s", w)
	}
	c.Remove("db")
	c.Put(busy("new", 0, 1, 1, 1, 1))
	c.Start()
	if screen := w.sees("|new "); strings.Contains(screen, "|db ") {
		t.Errorf("the new picture has the old in it:\n%s", screen)
	}
	if watched := len(slicesOf(c.Calls(), "WatchMachines")); watched > 20 {
		t.Errorf("%d streams", watched)
	}
	w.press("\x03")
	w.ends(0)
}

func slicesOf(all []string, wanted string) []string {
	var found []string
	for _, one := range all {
		if one == wanted {
			found = append(found, one)
		}
	}
	return found
}

func TestTopEndsWithWhatIsHopeless(t *testing.T) {
	c := controllertest.New(t)
	c.Refuse = func(string) error { return fault.New("test", fault.Denied, "ann", "no access") }
	w := newTerminal(t, 80, 10)
	env := c.Env("top")
	env.In, env.Out, env.Width, env.InTerm = w.tty, w.tty, 80, true
	go func() { w.ended <- Run(t.Context(), env) }()
	w.ends(cli.ExitFailure)
	if text := env.Err.(*bytes.Buffer).String(); !strings.Contains(text, "no access") {
		t.Errorf("it said %q", text)
	}
}

// Another process, since signals are for all of one.
func TestTopHeedsSignals(t *testing.T) {
	c := controllertest.New(t)
	putFleet(c)
	controller, err := os.Executable() // what the controller is: this process
	if err != nil {
		t.Fatal(err)
	}
	environment := append(os.Environ(), "TERM=xterm", "MCTL_CONTROLLER_BIN="+controller, "XDG_RUNTIME_DIR="+c.Env().Getenv("XDG_RUNTIME_DIR"), "MCTL_HOME="+c.Dir().Root)
	start := func() (*watching, *exec.Cmd) {
		w := newTerminal(t, 80, 24)
		command := exec.CommandContext(t.Context(), "mctl", "top") // this very program, see TestMain
		command.Env, command.Stdin, command.Stdout, command.Stderr = environment, w.tty, w.tty, w.tty
		command.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
		if err := command.Start(); err != nil {
			t.Fatal(err)
		}
		w.sees("6 machines, 4 connected")
		return w, command
	}
	stopped := func(pid int) {
		t.Helper()
		var status syscall.WaitStatus
		if _, err := syscall.Wait4(pid, &status, syscall.WUNTRACED, nil); err != nil || !status.Stopped() {
			t.Fatalf("%v, %v", status, err)
		}
	}
	wait := func(w *watching, command *exec.Cmd) {
		go func() { _ = command.Wait(); w.ended <- command.ProcessState.ExitCode() }()
		w.ends(0)
	}

	w, command := start()
	w.Resize(40, 10, func() { w.size(40, 10) })
	w.until("fits", func(screen string) bool {
		return strings.Contains(screen, "|q quit") && strings.Contains(screen, "6 machines, 4")
	})
	for _, suspend := range []func(){
		func() { w.press("\x1a") },
		func() { _ = command.Process.Signal(syscall.SIGTSTP) },
	} {
		suspend()
		stopped(command.Process.Pid)
		w.until("is given back", func(screen string) bool { return !strings.Contains(screen, "machines") })
		if now, left := w.modes(), w.Restored(); now != w.before || left != "" {
			t.Errorf("while it was suspended: modes %+v, were %+v, and %s", now, w.before, left)
		}
		_ = command.Process.Signal(syscall.SIGCONT)
		w.sees("6 machines, 4 connected")
	}
	w.press("n")
	w.sees("NAME↑")
	_ = command.Process.Signal(syscall.SIGTERM)
	wait(w, command)

	w, command = start()
	_ = command.Process.Signal(syscall.SIGINT)
	wait(w, command)
}
