package dockerd

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mctl/internal/agent/engine/program"
	"mctl/internal/agent/engine/tree"
	"mctl/internal/fault"
)

// Units as the packages of these distributions have them, cut to what is read.
const (
	debian12 = "[Service]\nType=notify\nEnvironmentFile=-/etc/default/docker\nExecStart=/usr/sbin/dockerd -H fd:// --containerd=/run/containerd/containerd.sock $DOCKER_OPTS\n"
	dockerCE = "[Service]\nType=notify\nExecStart=/usr/bin/dockerd -H fd:// --containerd=/run/containerd/containerd.sock\n"
	fedora   = "[Service]\nType=notify\nEnvironmentFile=-/etc/sysconfig/docker\nEnvironmentFile=-/etc/sysconfig/docker-storage\nExecStart=/usr/bin/dockerd \\\n" +
		"          --host=fd:// \\\n          --exec-opt native.cgroupdriver=systemd \\\n          $OPTIONS \\\n          $DOCKER_STORAGE_OPTIONS\n"
)

// host answers systemctl show, from a root of its own.
type host struct {
	root, show, journal string
}

func newHost(t *testing.T, show string, files map[string]string) (*Daemon, host) {
	t.Helper()
	root, err := os.MkdirTemp("", "dockerd")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(root) })
	for path, content := range files {
		full := filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	h := host{root: root, show: show}
	return New(Config{Tree: tree.Tree(root), Runner: h, StartLimit: time.Second}), h
}

func (h host) Run(_ context.Context, command program.Command) error {
	if command.Args[0] == "journalctl" && h.journal != "" {
		for line := range strings.Lines(h.journal) {
			command.Line(strings.TrimSuffix(line, "\n"))
		}
		return nil
	}
	if !strings.HasPrefix(strings.Join(command.Args, " "), "systemctl show") {
		return &program.ExitError{Program: command.Args[0], Code: 1}
	}
	for line := range strings.Lines(h.show) {
		command.Line(strings.TrimSpace(line))
	}
	return nil
}

const loaded = "LoadState=loaded\nActiveState=active\nUnitFileState=enabled\nMainPID=77\nFragmentPath=/lib/systemd/system/docker.service\n"

func TestInspectReadsTheUnitsOfDistributions(t *testing.T) {
	tests := map[string]struct {
		files map[string]string
		show  string
		held  string
		path  string
	}{
		"Debian 12":              {map[string]string{"/lib/systemd/system/docker.service": debian12}, loaded, "host=fd:// containerd=/run/containerd/containerd.sock", documentPath},
		"Debian 12 with options": {map[string]string{"/lib/systemd/system/docker.service": debian12, "/etc/default/docker": "# x\nDOCKER_OPTS=\"--mtu 1400 --config-file=/etc/d.json\"\n"}, loaded, "host=fd:// containerd=/run/containerd/containerd.sock mtu=1400 config-file=/etc/d.json", "/etc/d.json"},
		"docker-ce":              {map[string]string{"/lib/systemd/system/docker.service": dockerCE}, loaded, "host=fd:// containerd=/run/containerd/containerd.sock", documentPath},
		"Fedora":                 {map[string]string{"/lib/systemd/system/docker.service": fedora, "/etc/sysconfig/docker": "OPTIONS='--selinux-enabled --log-driver=journald'\n"}, loaded, "host=fd:// exec-opt=native.cgroupdriver=systemd selinux-enabled log-driver=journald", documentPath},
		"a user's drop-in counts, ours does not": {map[string]string{"/lib/systemd/system/docker.service": dockerCE, "/etc/u.conf": "[Service]\nExecStart=\nExecStart=/usr/bin/dockerd -H fd:// --debug\n",
			DropIn: "[Service]\nExecStart=\nExecStart=/usr/bin/dockerd --ours\n"}, loaded + "DropInPaths=/etc/u.conf " + DropIn + "\n", "host=fd:// debug", documentPath},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			test.files["/proc/77/cmdline"] = "/usr/bin/dockerd\x00--running\x00"
			d, _ := newHost(t, test.show, test.files)
			s, err := d.Inspect(t.Context())
			if err != nil || !s.Alive() || !s.Enabled {
				t.Fatalf("%+v, %v", s, err)
			}
			var held []string
			for _, o := range s.Held {
				held = append(held, o.String())
			}
			if got := strings.Join(held, " "); got != test.held {
				t.Errorf("flags of the unit: %s", got)
			}
			if last := s.Flags[len(s.Flags)-1]; last.Flag != "running" {
				t.Errorf("flags of the process are missing: %v", s.Flags)
			}
			if s.Document != test.path {
				t.Errorf("daemon.json is %s", s.Document)
			}
		})
	}
}

func TestWhatAnInitScriptLeftBehindIsNoDocker(t *testing.T) {
	d, _ := newHost(t, "LoadState=loaded\nActiveState=inactive\nFragmentPath=/run/systemd/generator.late/docker.service\n", nil)
	if s, err := d.Inspect(t.Context()); err != nil || s.Loaded || s.Alive() {
		t.Errorf("%+v, %v", s, err)
	}
}

func TestAUnitWhoseProgramWasRemovedIsNoDocker(t *testing.T) {
	files := map[string]string{"/lib/systemd/system/docker.service": debian12}
	stopped := strings.NewReplacer("ActiveState=active", "ActiveState=inactive", "MainPID=77", "MainPID=0").Replace(loaded)
	d, _ := newHost(t, stopped, files)
	if s, err := d.Inspect(t.Context()); err != nil || s.Loaded {
		t.Errorf("%+v, %v", s, err)
	}
	files["/usr/sbin/dockerd"] = ""
	d, _ = newHost(t, stopped, files)
	if s, err := d.Inspect(t.Context()); err != nil || !s.Loaded || len(s.Held) == 0 {
		t.Errorf("with its program: %+v, %v", s, err)
	}
}

func TestAMaskedUnitIsRefused(t *testing.T) {
	d, _ := newHost(t, "LoadState=masked\n", nil)
	s, err := d.Inspect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Foreign(t.Context(), s); !fault.Is(err, fault.Precondition) || !strings.Contains(err.Error(), "masked") {
		t.Error(err)
	}
}

func TestADeadSocketIsNoForeignEngine(t *testing.T) {
	d, h := newHost(t, "LoadState=not-found\n", map[string]string{"/var/run/x": ""})
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(h.root, socketPath), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	listener.SetUnlinkOnClose(false)
	if err := d.Foreign(t.Context(), Service{}); !fault.Is(err, fault.Precondition) {
		t.Errorf("a live one: %v", err)
	}
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	if err := d.Foreign(t.Context(), Service{}); err != nil {
		t.Errorf("a dead one: %v", err)
	}
}

func TestAnEngineThatDoesNotAnswerIsASentence(t *testing.T) {
	d, _ := newHost(t, loaded, nil)
	for name, call := range map[string]func() error{
		"info":    func() error { _, err := d.Info(t.Context()); return err },
		"reload":  func() error { return d.Reload(t.Context()) },
		"restart": func() error { return d.Restart(t.Context(), 0) },
	} {
		if err := call(); !fault.Is(err, fault.Precondition) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWhyAnEngineDoesNotStartIsToldInItsOwnWords(t *testing.T) {
	for journal, says := range map[string]string{
		"Starting\nunable to parse logging level: bogus\n": "docker does not start: unable to parse logging level: bogus",
		`time="2026-11-26T15:24:08Z" level=error msg="Error reconfiguring the daemon: invalid mirror: unsupported scheme \"\" in \"x\""` + "\n" +
			`time="2026-11-26T15:24:08Z" level=info msg="Reloaded configuration: {}"` + "\n": `docker does not start: Error reconfiguring the daemon: invalid mirror: unsupported scheme "" in "x"`,
		"failed to start daemon: " + strings.Repeat("é", 1000) + "\n": "docker does not start: failed to start daemon: " + strings.Repeat("é", (maxReason-24)/2) + "…",
		`time="x" level=info msg="Starting up"` + "\n":                "docker does not start: systemctl restart: systemctl ended with code 1",
	} {
		d, h := newHost(t, loaded, nil)
		h.journal = journal
		d.config.Runner = h
		if err := d.Restart(t.Context(), 0); !fault.Is(err, fault.Precondition) || err.Error() != says {
			t.Errorf("%q: %v", journal, err)
		}
	}
}
