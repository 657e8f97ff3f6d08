package footprint

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const program = "the agent's program"

// world is a host of a test: a folder, and programs that are only noted.
type world struct {
	t        *testing.T
	root     string
	calls    []string
	answers  map[string]string // by the beginning of a call
	failing  map[string]string // what a call says when it fails, by its beginning
	hostname string            // as the kernel has it
	config   Config
	purged   []string // packages that were to go
	kept     string   // why they stay
	unpurged error    // why they could not go
}

func newHost(t *testing.T) *world {
	h := &world{t: t, root: t.TempDir(), answers: map[string]string{}, failing: map[string]string{}, hostname: "before"}
	h.put("/run/systemd/system/x", "", 0o644)
	h.put("/etc/systemd/system/theirs.service", "theirs", 0o644)
	h.put("/usr/local/bin/theirs", "theirs", 0o755)
	h.put("/etc/hostname", "before\n", 0o644)
	h.put("/etc/hosts", "127.0.0.1\tlocalhost\n127.0.1.1\tbefore.lan before\n::1 localhost\n", 0o644)
	h.put("/tmp/upload", program, 0o755)
	h.config = Config{
		Root: h.root, Runner: h, Self: filepath.Join(h.root, "/tmp/upload"),
		SetHostname: func(name string) error { h.hostname = name; return nil },
		Purge: func(_ context.Context, names []string, _ func(string)) (string, error) {
			h.purged = names
			return h.kept, h.unpurged
		},
	}
	return h
}

// Run implements Runner.
func (h *world) Run(_ context.Context, args ...string) (string, error) {
	call := strings.Join(args, " ")
	h.calls = append(h.calls, call)
	for beginning, said := range h.failing {
		if strings.HasPrefix(call, beginning) {
			return said, errors.New(said)
		}
	}
	for beginning, said := range h.answers {
		if strings.HasPrefix(call, beginning) {
			return said, nil
		}
	}
	return "", nil
}

// asked returns the calls since it was asked the last time.
func (h *world) asked() []string {
	calls := h.calls
	h.calls = nil
	return calls
}

func (h *world) put(path, content string, mode fs.FileMode) {
	h.t.Helper()
	full := filepath.Join(h.root, path)
	must(h.t, os.MkdirAll(filepath.Dir(full), 0o755))
	must(h.t, os.WriteFile(full, []byte(content), mode))
}

func (h *world) read(path string) string {
	text, err := os.ReadFile(filepath.Join(h.root, path))
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// snapshot is every path of the host, with mode and content.
func (h *world) snapshot() []string {
	h.t.Helper()
	var all []string
	must(h.t, filepath.WalkDir(h.root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		content := ""
		if info.Mode().IsRegular() {
			content = h.read(strings.TrimPrefix(path, h.root))
		}
		all = append(all, fmt.Sprintf("%s %v %q", strings.TrimPrefix(path, h.root), info.Mode(), content))
		return err
	}))
	return all
}

// snapshotWithoutVar leaves out /var and /var/lib themselves, which every real host has.
func (h *world) snapshotWithoutVar() []string {
	return slices.DeleteFunc(h.snapshot(), func(s string) bool { return strings.HasPrefix(s, "/var ") || strings.HasPrefix(s, "/var/lib ") })
}

// orders returns what first contact hands over; change may be nil.
func (h *world) orders(change func(*orders)) *bytes.Reader {
	o := orders{MachineUID: "uid-1", Ticket: "mj1.secret", Endpoints: []string{"10.0.0.1:4000"}, Hostname: "web", EnginePort: 2376}
	if change != nil {
		change(&o)
	}
	text, err := json.Marshal(o)
	must(h.t, err)
	return bytes.NewReader(text)
}

// install returns what was told.
func (h *world) install(change func(*orders)) ([]line, error) {
	h.t.Helper()
	var output bytes.Buffer
	err := Install(h.t.Context(), h.orders(change), &output, h.config)
	return h.lines(&output), err
}

func (h *world) uninstall(purge bool) []line {
	h.t.Helper()
	var output bytes.Buffer
	must(h.t, Uninstall(h.t.Context(), &output, h.config, purge))
	told := h.lines(&output)
	if end := told[len(told)-1]; !end.Done {
		h.t.Errorf("ends with %+v", end)
	}
	return told
}

func (h *world) lines(output *bytes.Buffer) []line {
	h.t.Helper()
	var told []line
	for text := range strings.Lines(output.String()) {
		var l line
		must(h.t, json.Unmarshal([]byte(text), &l))
		told = append(told, l)
	}
	return told
}

func says(told []line, text string) bool {
	return slices.ContainsFunc(told, func(l line) bool { return strings.Contains(l.Progress+l.Error, text) })
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
