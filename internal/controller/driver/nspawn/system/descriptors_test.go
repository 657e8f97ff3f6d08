//go:build linux

package system

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

func TestWhatWeInheritedIsNotPassedOn(t *testing.T) {
	file, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	const fd = 77 // as a shell leaves it open: without close-on-exec
	if err := syscall.Dup3(int(file.Fd()), fd, 0); err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(fd)
	KeepToOurselves()
	if output, err := exec.Command("sh", "-c", "readlink /proc/self/fd/77 || echo closed").Output(); err != nil || strings.TrimSpace(string(output)) != "closed" {
		t.Errorf("a child has %s, %v", output, err)
	}
}
