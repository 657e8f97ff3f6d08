package e2e

import (
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"

	"mctl/internal/mctl/screentest"
)

// topLine is what top says of web: CPU, memory, disk, containers that run and all of them, age.
var topLine = regexp.MustCompile(`(?m)^\|?web +Running +(\d+)% +(\d+)% of 1.1 GB +(\d+)% of [\d.]+ [GT]B +(\d+)(?: of (\d+))? +(\d+)s `)

func TestTopShowsWhatAHostDoes(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.create("--nspawn-memory", "1024", "web")
	l.importBusybox("web")
	w := l.watchTop()
	shows := func(what string, holds func(cpu, running, age int) bool) {
		t.Helper()
		var seen string
		defer func() { t.Logf("%s:\n%s", what, seen) }()
		eventually(t, time.Minute, what, func() bool {
			seen = w.screen.String()
			found := topLine.FindStringSubmatch(seen)
			return found != nil && number(found[2]) > 0 && number(found[3]) > 0 && holds(number(found[1]), number(found[4]), number(found[6]))
		})
	}
	// A host tells of its own work alone, however busy the machine below is; then its share of that may be a small one.
	const calm, busy = 10, 12
	shows("an idle host", func(cpu, running, _ int) bool { return cpu < calm && running == 0 })
	shows("a figure that ages", func(_, _, age int) bool { return age >= 2 })
	shows("a new figure", func(_, _, age int) bool { return age == 0 })
	l.mustDocker("web", nil, "run", "-d", "--name", "busy", "busybox", "sh", "-c", "yes >/dev/null & yes >/dev/null & yes >/dev/null & exec yes >/dev/null")
	shows("a busy container", func(cpu, running, _ int) bool { return cpu > busy && running == 1 })

	piped := l.must("top")
	lines := strings.Split(piped, "\n")
	if len(lines) != 3 || strings.Contains(piped, "\x1b") || !strings.HasPrefix(lines[0], "NAME ") || topLine.FindStringSubmatch(lines[1]) == nil {
		t.Errorf("in a pipe: %q", piped)
	}

	l.mustDocker("web", nil, "rm", "-f", "busy")
	shows("an idle host again", func(cpu, running, _ int) bool { return cpu < calm && running == 0 })
	w.quit()
}

func number(text string) int {
	n, _ := strconv.Atoi(text)
	return n
}

// topWatch is top at a terminal of its own.
type topWatch struct {
	t        *testing.T
	screen   *screentest.Screen
	keyboard *os.File
	tty      *os.File
	before   unix.Termios
	command  *exec.Cmd
	read     chan struct{} // closed when the last of its output is on the screen
}

func (l *lab) watchTop() *topWatch {
	l.t.Helper()
	const width, height = 120, 10
	keyboard, tty, err := pty.Open()
	if err != nil {
		l.t.Fatal(err)
	}
	w := &topWatch{t: l.t, screen: screentest.New(width, height), keyboard: keyboard, tty: tty, read: make(chan struct{})}
	if err := pty.Setsize(tty, &pty.Winsize{Cols: width, Rows: height}); err != nil {
		l.t.Fatal(err)
	}
	w.before = w.modes()
	ctx, cancel := context.WithTimeout(l.t.Context(), limit)
	w.command = exec.CommandContext(ctx, filepath.Join(l.bin, "mctl"), "top")
	w.command.Env = l.environment("TERM=xterm")
	w.command.Stdin, w.command.Stdout, w.command.Stderr = tty, tty, tty
	w.command.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := w.command.Start(); err != nil {
		l.t.Fatal(err)
	}
	go func() { // ends with an error when nobody has the other side any more
		_, _ = io.Copy(w.screen, keyboard)
		close(w.read)
	}()
	l.t.Cleanup(func() { cancel(); _ = w.command.Wait(); tty.Close(); keyboard.Close() })
	return w
}

func (w *topWatch) modes() unix.Termios {
	w.t.Helper()
	modes, err := unix.IoctlGetTermios(int(w.tty.Fd()), unix.TCGETS)
	if err != nil {
		w.t.Fatal(err)
	}
	return *modes
}

// quit presses q and sees that the terminal is as it was.
func (w *topWatch) quit() {
	w.t.Helper()
	if _, err := w.keyboard.WriteString("q"); err != nil {
		w.t.Fatal(err)
	}
	if err := w.command.Wait(); err != nil {
		w.t.Error(err)
	}
	if now := w.modes(); now != w.before {
		w.t.Errorf("the terminal's modes are %+v, were %+v", now, w.before)
	}
	w.tty.Close()
	<-w.read
	if left := w.screen.Restored(); left != "" || strings.Contains(w.screen.String(), "web") {
		w.t.Errorf("left is %q:\n%s", left, w.screen)
	}
}
