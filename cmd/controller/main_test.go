package main

import (
	"os"
	"strings"
	"syscall"
	"testing"

	"mctl/internal/controller"
)

func TestReadinessIsToldOnceAndThenTheDescriptorEnds(t *testing.T) {
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	fd, err := syscall.Dup(int(writer.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	writer.Close()
	tell := reporter(fd)
	tell(controller.Readiness{Error: "first"})
	tell(controller.Readiness{Error: "second"})
	said := make([]byte, 1000)
	n, _ := reader.Read(said)
	if text := string(said[:n]); !strings.Contains(text, "first") || strings.Contains(text, "second") || strings.Count(text, "\n") != 1 {
		t.Errorf("told %q", text)
	}
	if n, err := reader.Read(said); n != 0 || err == nil {
		t.Errorf("it is still open: %d, %v", n, err)
	}
	reporter(-1)(controller.Readiness{}) // nobody asked
}
