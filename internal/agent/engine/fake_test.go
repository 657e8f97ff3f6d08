package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"mctl/internal/agent/engine/packages"
	"mctl/internal/agent/engine/program"
	"mctl/internal/agent/engine/unit"
)

const (
	debianRelease = "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nVERSION_ID=\"12\"\nVERSION_CODENAME=bookworm\nID=debian\n"
	machineDropIn = "/etc/systemd/system/docker.service.d/10-machine.conf"
	fragment      = "/lib/systemd/system/docker.service"
	debianUnit    = "[Unit]\nDescription=Docker\n[Service]\nType=notify\nEnvironmentFile=-/etc/default/docker\n" +
		"ExecStart=/usr/sbin/dockerd -H fd:// $DOCKER_OPTS\nRestart=always\n"
)

// fakeHost is a Debian with a systemd and a dockerd that read the same files as the real ones.
type fakeHost struct {
	t    *testing.T
	root string

	mu        sync.Mutex
	calls     []string
	progress  []string
	footprint []string
	pid       int
	lives     int                       // of dockerd, counted
	failed    bool                      // systemd has given up starting it
	swarm     bool                      // it is a member of a swarm
	broken    func(argv string) bool    // command lines with which dockerd does not start
	later     string                    // a drop-in after ours
	container string                    // "running" as long as nothing stopped it; empty for none
	version   string                    // of the package
	running   string                    // of the process
	loaded    map[string]any            // what dockerd took from daemon.json
	refuse    func(map[string]any) bool // configurations that dockerd does not take
	events    chan string
	fail      map[string]error // by the beginning of a command
	server    *http.Server
}

func newHost(t *testing.T) *fakeHost {
	t.Helper()
	root, err := os.MkdirTemp("", "engine") // shorter than t.TempDir: a socket's path has 108 bytes
	if err != nil {
		t.Fatal(err)
	}
	h := &fakeHost{t: t, root: root, version: "20.10.24", events: make(chan string, 8), fail: map[string]error{}}
	t.Cleanup(func() { os.RemoveAll(root) })
	h.put("/etc/os-release", debianRelease)
	h.put("/proc/none", "")
	h.put("/usr/sbin/dockerd", "")
	h.put("/usr/bin/true", "")
	mux := http.NewServeMux()
	mux.HandleFunc("/info", h.info)
	mux.HandleFunc("/events", h.stream)
	h.server = &http.Server{Handler: mux, ReadHeaderTimeout: time.Second}
	return h
}

// listen opens dockerd's socket, once.
func (h *fakeHost) listen() {
	if h.get("/var/run/x") != "-" {
		return
	}
	h.put("/var/run/x", "")
	listener, err := net.Listen("unix", filepath.Join(h.root, "/var/run/docker.sock"))
	if err != nil {
		h.t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { defer close(done); _ = h.server.Serve(listener) }()
	h.t.Cleanup(func() { _ = h.server.Close(); <-done })
}

// withDocker puts a Docker on the host, as its user has it.
func (h *fakeHost) withDocker() *fakeHost {
	h.put(fragment, debianUnit)
	h.start()
	return h
}

func (h *fakeHost) engine() *Engine {
	return New(Config{
		Logger: hclog.NewNullLogger(), Root: h.root, Runner: h, Footprint: h, StartLimit: 2 * time.Second,
		Sources: packages.Sources{Docker: "http://127.0.0.1:1"},
		Progress: func(line string) {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.progress = append(h.progress, line)
		},
	})
}

func (h *fakeHost) put(path, content string) {
	h.t.Helper()
	full := filepath.Join(h.root, path)
	if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
		h.t.Fatal(err)
	}
	if err := os.WriteFile(full, []byte(content), 0o644); err != nil {
		h.t.Fatal(err)
	}
}

// get returns a file's content; "-" when there is none.
func (h *fakeHost) get(path string) string {
	content, err := os.ReadFile(filepath.Join(h.root, path))
	if err != nil {
		return "-"
	}
	return string(content)
}

func (h *fakeHost) called(beginning string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	count := 0
	for _, call := range h.calls {
		if strings.HasPrefix(call, beginning) {
			count++
		}
	}
	return count
}

// configuration is what dockerd reads; false when it refuses it.
func (h *fakeHost) configuration() (map[string]any, bool) {
	content := map[string]any{}
	if text := h.get("/etc/docker/daemon.json"); text != "-" && json.Unmarshal([]byte(text), &content) != nil {
		return nil, false
	}
	return content, h.refuse == nil || !h.refuse(content)
}

// start has dockerd read its files, as a restart does. The caller holds the lock or is alone.
func (h *fakeHost) start() bool {
	if h.container != "" && h.pid > 0 && h.loaded["live-restore"] != true {
		h.container = "stopped" // with the dockerd that ran
	}
	content, ok := h.configuration()
	if !ok {
		h.pid = 0
		return false
	}
	var u unit.Unit
	u.Read(h.get(fragment))
	if theirs := h.get(machineDropIn); theirs != "-" {
		u.Read(theirs)
	}
	if dropIn := h.get("/etc/systemd/system/docker.service.d/20-mctl.conf"); dropIn != "-" {
		u.Read(dropIn)
	}
	options := map[string]string{}
	if text := h.get("/etc/default/docker"); text != "-" {
		_, value, _ := strings.Cut(text, "=")
		options["DOCKER_OPTS"] = strings.Trim(strings.TrimSpace(value), `"`)
	}
	argv := u.Arguments(options)
	if h.broken != nil && h.broken(strings.Join(argv, " ")) {
		h.pid = 0
		return false
	}
	if h.container != "" && content["live-restore"] != true {
		h.container = "stopped" // a dockerd that finds it running kills it
	}
	h.listen()
	h.lives++
	h.pid, h.running, h.loaded = 100*h.lives, h.version, content
	h.put(fmt.Sprintf("/proc/%d/cmdline", h.pid), strings.Join(argv, "\x00")+"\x00")
	return true
}

// Run implements program.Runner.
func (h *fakeHost) Run(_ context.Context, command program.Command) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	call := strings.Join(command.Args, " ")
	h.calls = append(h.calls, call)
	say := func(lines ...string) {
		for _, line := range lines {
			if command.Line != nil {
				command.Line(line)
			}
		}
	}
	for beginning, err := range h.fail {
		if strings.HasPrefix(call, beginning) {
			return err
		}
	}
	switch {
	case strings.HasPrefix(call, "systemctl show"):
		if h.get(fragment) == "-" {
			say("LoadState=not-found", "ActiveState=inactive", "MainPID=0")
			return nil
		}
		state := "inactive"
		if h.failed {
			state = "failed"
		}
		if h.pid > 0 {
			state = "active"
		}
		say("LoadState=loaded", "ActiveState="+state, "UnitFileState=enabled", fmt.Sprintf("MainPID=%d", h.pid),
			"FragmentPath="+fragment, fmt.Sprintf("InvocationID=life-%d", h.lives), "DropInPaths="+machineDropIn+" "+h.later+" /etc/systemd/system/docker.service.d/20-mctl.conf")
	case call == "systemctl restart docker.service":
		if !h.start() {
			return &program.ExitError{Program: "systemctl", Code: 1, Tail: []string{"Job for docker.service failed"}}
		}
	case strings.HasPrefix(call, "systemctl kill -s HUP"):
		if content, ok := h.configuration(); ok {
			if h.swarm && content["live-restore"] == true {
				h.t.Error("a swarm's member is asked for live-restore, with which it does not start again")
			}
			h.loaded = content
			h.events <- `{"Type":"daemon","Action":"reload"}`
		}
	case strings.HasPrefix(call, "journalctl") && strings.Contains(call, "--show-cursor"):
		say("-- cursor: s=1;i=2")
	case strings.HasPrefix(call, "journalctl") && h.refuse == nil:
	case strings.HasPrefix(call, "journalctl"):
		if !strings.HasSuffix(call, "--after-cursor s=1;i=2") {
			h.t.Errorf("old words are read too: %s", call)
		}
		say("time=x level=info msg=Starting", "failed to start daemon: error initializing graphdriver: driver not supported")
	case strings.HasPrefix(call, "apt-get") && strings.Contains(call, "install --simulate"):
		if h.get(fragment) == "-" {
			say("Inst containerd (1.6.20 Debian:12 [amd64])", "Inst libc6 [2.36-8] (2.36-9 Debian:12 [amd64])", "Inst docker.io (20.10.24 Debian:12 [amd64])")
		}
	case strings.HasPrefix(call, "apt-get") && strings.Contains(call, "install --download-only"):
	case strings.HasPrefix(call, "apt-get") && strings.Contains(call, " install "):
		if strings.Contains(call, "--only-upgrade") {
			h.version = "26.1.5"
		} else if h.get(fragment) == "-" {
			h.put(fragment, debianUnit)
			h.start()
		}
	case strings.HasPrefix(call, "dpkg-query"):
		if h.get(fragment) != "-" {
			say("installed docker.io " + h.version)
		}
	case strings.HasPrefix(call, "sh "):
		h.put(fragment, debianUnit)
		h.start()
	case call == "dockerd --version":
		say("Docker version " + h.version + ", build 297e128")
	case strings.HasPrefix(call, "cloud-init"):
		return program.ErrMissing
	}
	return nil
}

func (h *fakeHost) info(w http.ResponseWriter, _ *http.Request) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.pid == 0 {
		h.t.Error("the socket of a stopped engine was touched, which starts it")
	}
	state := "inactive"
	if h.swarm {
		state = "active"
	}
	fmt.Fprintf(w, `{"ServerVersion":%q,"Driver":"overlay2","LiveRestoreEnabled":%t,"Swarm":{"LocalNodeState":%q}}`,
		h.running, h.loaded["live-restore"] == true, state)
}

func (h *fakeHost) stream(w http.ResponseWriter, r *http.Request) {
	w.WriteHeader(http.StatusOK)
	_ = http.NewResponseController(w).Flush()
	select {
	case <-r.Context().Done():
	case event := <-h.events:
		fmt.Fprintln(w, event)
	}
}

// File, Package and Written implement Footprint.
func (h *fakeHost) File(path string) error { return h.tell("file " + path) }

// Package implements Footprint.
func (h *fakeHost) Package(names ...string) error {
	slices.Sort(names)
	return h.tell("package " + strings.Join(names, " "))
}

// Written implements Footprint.
func (h *fakeHost) Written(path string) error { return h.tell("written " + path) }

// Returned implements Footprint.
func (h *fakeHost) Returned(path string) error { return h.tell("returned " + path) }

// PutBack implements Footprint.
func (h *fakeHost) PutBack(path string) error { return h.tell("put back " + path) }

func (h *fakeHost) tell(line string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.footprint = append(h.footprint, line)
	return nil
}
