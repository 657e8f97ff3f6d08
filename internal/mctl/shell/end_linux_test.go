package shell_test

import (
	"bufio"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestProgramDoesNotOutliveOneThatIsKilled(t *testing.T) {
	own, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	command := exec.CommandContext(t.Context(), own)
	command.Env = append(os.Environ(), runsProgram+"=1")
	out, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = command.Wait()
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	limit := time.After(10 * time.Second)
	for alive(pid) {
		select {
		case <-look.C:
		case <-limit:
			_ = syscall.Kill(pid, syscall.SIGKILL)
			t.Fatal("the program goes on")
		}
	}
}

// alive reports whether a process runs; one that only waits for its parent does not.
func alive(pid int) bool {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	_, rest, _ := strings.Cut(string(text), ") ")
	return err == nil && !strings.HasPrefix(rest, "Z")
}
