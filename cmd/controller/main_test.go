package main

import (
	"bytes"
	"encoding/json"
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

func TestLogsAreTextOrJSONAndNothingElse(t *testing.T) {
	var text, document bytes.Buffer
	for format, output := range map[string]*bytes.Buffer{"text": &text, "json": &document} {
		logger, err := newLogger(output, format, "info")
		if err != nil {
			t.Fatal(err)
		}
		logger.Named("part").Info("something happened", "machine", "web")
		logger.Debug("nobody asked for this")
	}
	if !strings.Contains(text.String(), "controller.part: something happened: machine=web") || strings.Count(text.String(), "\n") != 1 {
		t.Errorf("text %q", text.String())
	}
	var line map[string]any
	if err := json.Unmarshal(document.Bytes(), &line); err != nil || line["machine"] != "web" || line["@module"] != "controller.part" {
		t.Errorf("JSON %q: %v", document.String(), err)
	}
	for _, bad := range [][2]string{{"yaml", "info"}, {"text", "loud"}, {"", ""}} {
		if _, err := newLogger(&text, bad[0], bad[1]); err == nil {
			t.Errorf("%v is taken", bad)
		}
	}
}
