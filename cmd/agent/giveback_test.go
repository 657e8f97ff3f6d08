package main

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"mctl/internal/agent/engine"
	"mctl/internal/agent/engine/program"
	"mctl/internal/agent/footprint"
	"mctl/internal/host"
)

// hostOf is a host in a folder, whose dockerd answers and is stopped whenever somebody asks systemd.
type hostOf struct {
	t    *testing.T
	root string
}

func newHost(t *testing.T) hostOf {
	t.Helper()
	root, err := os.MkdirTemp("", "agent") // shorter than t.TempDir: a socket's path has 108 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(root) })
	h := hostOf{t, root}
	h.put("/etc/os-release", "ID=debian\nVERSION_ID=12\n")
	h.put("/lib/systemd/system/docker.service", "[Service]\nExecStart=/usr/sbin/dockerd -H fd://\n")
	h.put("/usr/sbin/dockerd", "")
	h.put("/run/systemd/system/x", "")
	h.put("/var/run/x", "")
	listener, err := net.Listen("unix", h.at("/var/run/docker.sock"))
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"ServerVersion":"20.10.24"}`)
	})}
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close(); <-done })
	return h
}

func (h hostOf) at(path string) string { return filepath.Join(h.root, path) }

func (h hostOf) put(path, content string) {
	h.t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(h.at(path)), 0o755), os.WriteFile(h.at(path), []byte(content), 0o600)); err != nil {
		h.t.Fatal(err)
	}
}

// Run implements program.Runner.
func (h hostOf) Run(_ context.Context, command program.Command) error {
	if strings.HasPrefix(strings.Join(command.Args, " "), "systemctl show docker.service") {
		for _, line := range []string{"LoadState=loaded", "ActiveState=inactive", "UnitFileState=enabled", "FragmentPath=/lib/systemd/system/docker.service"} {
			command.Line(line)
		}
	}
	return nil
}

// silentRunner is for what the footprint runs.
type silentRunner struct{}

func (silentRunner) Run(context.Context, ...string) (string, error) { return "", nil }

func (h hostOf) engine() *engine.Engine {
	return engine.New(engine.Config{Logger: hclog.NewNullLogger(), Root: h.root, Runner: h, Footprint: footprint.OpenJournal(h.root)})
}

func (h hostOf) converge(labels ...string) {
	h.t.Helper()
	if _, err := h.engine().Converge(h.t.Context(), host.Engine{Labels: labels}); err != nil {
		h.t.Fatal(err)
	}
}

// withdraw is what the agent does when its controller wishes so, before it takes itself away.
func (h hostOf) withdraw() {
	h.t.Helper()
	if err := h.engine().Release(h.t.Context()); err != nil {
		h.t.Fatal(err)
	}
}

func (h hostOf) giveBack() {
	h.t.Helper()
	err := footprint.Uninstall(h.t.Context(), io.Discard, footprint.Config{
		Root: h.root, Runner: silentRunner{}, Self: h.at("/self"), Withdraw: func(ctx context.Context) error { return h.engine().Release(ctx) },
	}, false)
	if err != nil {
		h.t.Fatal(err)
	}
}

func TestADaemonJSONThatOnlyWeChangedGoesBackByteForByte(t *testing.T) {
	h := newHost(t)
	const theirs = "{ \"mtu\": 1400,\n\t\"debug\":false }"
	h.put("/etc/docker/daemon.json", theirs)
	h.converge("a=b")
	h.converge("c=d")
	h.giveBack()
	if got, err := os.ReadFile(h.at("/etc/docker/daemon.json")); err != nil || string(got) != theirs {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestWhatAUserChangedInDaemonJSONSinceSurvivesTheGivingBack(t *testing.T) {
	for name, later := range map[string]func(h hostOf){
		"at the end":                        func(hostOf) {},
		"before the agent itself withdraws": func(h hostOf) { h.withdraw() },
		"before our last writing":           func(h hostOf) { h.converge("c=d") },
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t)
			h.put("/etc/docker/daemon.json", `{"mtu": 1400}`)
			h.converge("a=b")
			ours, err := os.ReadFile(h.at("/etc/docker/daemon.json"))
			if err != nil {
				t.Fatal(err)
			}
			h.put("/etc/docker/daemon.json", strings.Replace(string(ours), "1400", "1450", 1))
			later(h)
			h.giveBack()
			got, err := os.ReadFile(h.at("/etc/docker/daemon.json"))
			if err != nil || !strings.Contains(string(got), "1450") || strings.Contains(string(got), "=") {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
}
