package mctl_test

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// onTerminal runs mctl with standard output and error at a terminal of 80 columns, and returns what was written to it.
func onTerminal(t *testing.T, environment []string, args ...string) string {
	t.Helper()
	ours, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer ours.Close()
	raw, err := ours.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var number int
	if controlErr := raw.Control(func(fd uintptr) {
		if err = unix.IoctlSetPointerInt(int(fd), unix.TIOCSPTLCK, 0); err != nil {
			return
		}
		if number, err = unix.IoctlGetInt(int(fd), unix.TIOCGPTN); err != nil {
			return
		}
		err = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: 80})
	}); controlErr != nil || err != nil {
		t.Fatal(controlErr, err)
	}
	theirs, err := os.OpenFile("/dev/pts/"+strconv.Itoa(number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	command := exec.Command("mctl", args...)
	command.Env, command.Stdout, command.Stderr = environment, theirs, theirs
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	theirs.Close()
	var screen bytes.Buffer
	_, _ = io.Copy(&screen, ours) // ends with an error when nobody has the other side any more
	if err := command.Wait(); err != nil {
		t.Errorf("mctl %s: %v", strings.Join(args, " "), err)
	}
	return screen.String()
}

func TestTerminalSeesEachStepWithItsTime(t *testing.T) {
	root, err := os.MkdirTemp("", "mctl")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(root)
	environment := append(os.Environ(), "TERM=xterm", "XDG_RUNTIME_DIR="+root, "MCTL_HOME="+filepath.Join(root, "state"), "MCTL_CONTROLLER_BIN="+controllerBin, "MCTL_LISTEN=127.0.0.1:0")
	defer onTerminal(t, environment, "controller", "stop")
	got := onTerminal(t, environment, "create", "--driver", "fake", "--fake-delay", "400", "web")
	for _, want := range []string{`\r\x1b\[J✓ Creating machine\.\.\. \d+\.\ds\r\n`, `[⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏] Creating machine\.\.\. \d+\.\ds`, `The host of "web" runs\.\r\n$`} {
		if !regexp.MustCompile(want).MatchString(got) {
			t.Errorf("the terminal saw no %s in %q", want, got)
		}
	}
	if got := onTerminal(t, environment, "stop", "web"); !strings.Contains(got, "✓ Stopping \"web\"...") || !strings.HasSuffix(got, "Machine \"web\" was stopped.\r\n") {
		t.Errorf("stop: %q", got)
	}
	if got := onTerminal(t, environment, "rm", "-y", "web"); !strings.Contains(got, "✓ (web) Removing the host...") || !strings.HasSuffix(got, "Successfully removed web\r\n") {
		t.Errorf("rm: %q", got)
	}
	dumb := append(environment, "TERM=dumb")
	if got := onTerminal(t, dumb, "create", "--driver", "fake", "web"); strings.Contains(got, "\x1b") || !strings.HasPrefix(got, "Running pre-create checks...\r\n") {
		t.Errorf("a dumb terminal: %q", got)
	}
	if got := onTerminal(t, environment, "--output", "json", "stop", "web"); !strings.Contains(got, "✓ Stopping \"web\"...") || !strings.Contains(got, "[\r\n  {\r\n") {
		t.Errorf("a document beside the progress at standard error: %q", got)
	}
}
