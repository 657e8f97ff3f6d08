package mctl_test

import (
	"bufio"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"
)

// A shell ends its script when the command that it waits for died of the interrupt, and goes on after any exit.
func TestAnInterruptEndsTheScriptToo(t *testing.T) {
	root, err := os.MkdirTemp("", "mctl")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(root)
	environment := append(os.Environ(), "XDG_RUNTIME_DIR="+root, "MCTL_HOME="+filepath.Join(root, "state"), "MCTL_CONTROLLER_BIN="+controllerBin, "MCTL_LISTEN=127.0.0.1:0")
	defer func() {
		stop := exec.Command("mctl", "controller", "stop")
		stop.Env = environment
		if output, err := stop.CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, output)
		}
	}()
	// A shell that starts us in the background has the interrupt ignored, and so would ours: what we take is not.
	taken := make(chan os.Signal, 1)
	signal.Notify(taken, os.Interrupt)
	defer signal.Stop(taken)
	script := exec.Command("bash", "-c", "for name in one two; do mctl create --driver fake --fake-delay 6000 $name; done; echo goes on")
	script.Env = environment
	script.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // as a terminal's keys reach it
	stdout, err := script.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := script.Start(); err != nil {
		t.Fatal(err)
	}
	var lines []string
	for said := bufio.NewScanner(stdout); said.Scan(); {
		if lines = append(lines, said.Text()); said.Text() == "Creating machine..." {
			if err := syscall.Kill(-script.Process.Pid, syscall.SIGINT); err != nil {
				t.Fatal(err)
			}
		}
	}
	_ = script.Wait()
	if status, ok := script.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGINT || lines[len(lines)-1] == "goes on" {
		t.Errorf("%s, after %q", script.ProcessState, lines)
	}
}
