package bootstrap

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"

	"mctl/internal/controller/bootstrap/sshtest"
	"mctl/internal/controller/bootstrap/survey"
	"mctl/internal/fault"
)

// tcp is a line of /proc/net/tcp for port 2376.
const tcp = "tcp=   0: 00000000:0948 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 100 0 0 10 0"

func TestWhatStandsInTheWayIsSaidBeforeAnythingIsChanged(t *testing.T) {
	_, strangersKey := sshtest.NewKey(t)
	for name, c := range map[string]struct {
		prepare    func(w *world)
		kind       fault.Kind
		says, hint string
	}{
		"host unreachable": {func(w *world) { w.server.Stop() }, fault.Unavailable, "can't reach 127.0.0.1:", "check that the host is up"},
		"wrong key":        {func(w *world) { w.target.Key = strangersKey }, fault.Denied, `does not let user "admin" in`, "authorized_keys"},
		"wrong user":       {func(w *world) { w.target.SSH.User = "nobody" }, fault.Denied, `does not let user "nobody" in`, "check the user"},
		"key with a passphrase": {func(w *world) {
			w.target.Key = pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: []byte("x")})
		}, fault.Precondition, "passphrase", "ssh-agent"},
		"unreadable key": {func(w *world) { w.target.Key = []byte("garbage") }, fault.Precondition, "neither in OpenSSH's format", "private key"},
		"sudo password": {func(w *world) { w.host.noRoot = "sudo: a password is required\n" },
			fault.Precondition, `wants a password of user "admin"`, "NOPASSWD"},
		"no sudo": {func(w *world) { w.host.noRoot = "env: 'sudo': No such file or directory\n" },
			fault.Precondition, "sudo is not installed", "log in as root"},
		"no sudoer": {func(w *world) {
			w.host.noRoot = "Sorry, user admin is not allowed to execute '/bin/sh' as root on web.\n"
		},
			fault.Denied, "may not use sudo", "NOPASSWD"},
		"sudo tty": {func(w *world) { w.host.noRoot = "sudo: sorry, you must have a tty to run sudo\n" },
			fault.Precondition, "wants a terminal", "requiretty"},
		"no shell": {func(w *world) { w.host.noRoot = "This account is currently not available.\x07\n" },
			fault.Precondition, "has no shell to work with: This account is currently not available.", "POSIX shell"},
		"sudo to another user": {func(w *world) { w.host.facts["uid"] = "1000" }, fault.Precondition, "does not make the user root", "log in as root"},
		"no systemd":           {func(w *world) { delete(w.host.facts, "systemd") }, fault.Precondition, "does not run systemd", "systemd"},
		"architecture":         {func(w *world) { w.host.facts["arch"] = "riscv64" }, fault.Precondition, "riscv64", "use a host of one of those"},
		"unknown distribution": {func(w *world) {
			w.host.facts["os_ID"], w.host.facts["os_PRETTY_NAME"] = "void", "Void \x1b[1mLinux"
		}, fault.Precondition, "runs Void  [1mLinux", "install Docker there by hand"},
		"no os-release": {func(w *world) { delete(w.host.facts, "os_ID"); delete(w.host.facts, "os_PRETTY_NAME") },
			fault.Precondition, "an unknown distribution", "install Docker"},
		"port taken by a program": {func(w *world) {
			w.host.more = []string{tcp, `ss=LISTEN 0      511          0.0.0.0:2376       0.0.0.0:*    users:(("nginx",pid=7,fd=6))`}
		}, fault.Precondition, "port 2376 on 127.0.0.1 is taken by nginx", "another port"},
		"port taken by somebody": {func(w *world) { w.host.more = []string{tcp} }, fault.Precondition, "taken by another program", "another port"},
		"our front on another port": {func(w *world) { w.host.more = []string{tcp, "front_Listen=[::]:3376 (Stream)"} },
			fault.Precondition, "taken by another program", ""},
		"another controller's agent": {func(w *world) { w.host.facts["agent_uid"] = "uid-2" },
			fault.Precondition, "already serves another machine of mctl (uid-2)", "mctl-agent uninstall"},
		"a member of another swarm": {func(w *world) {
			w.target.Swarm = &Swarm{ID: "ours"}
			w.host.more = sampleNode(t, "theirs", "swarm-manager")
		}, fault.Precondition, "127.0.0.1 is a member of another swarm already", "docker swarm leave"},
		"a worker that shall make one": {func(w *world) {
			w.target.Swarm = &Swarm{Make: true}
			w.host.more = sampleNode(t, "theirs", "swarm-worker")
		}, fault.Precondition, "127.0.0.1 is a member of another swarm already", "docker swarm leave"},
		"no room": {func(w *world) { w.host.facts["df"] = "/dev/vda 100 50 123456 50% /" }, fault.Precondition, "123 MB are free", "make room"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			c.prepare(w)
			err := w.installer.Check(t.Context(), w.target)
			if !fault.Is(err, c.kind) || !strings.Contains(err.Error(), c.says) || !strings.Contains(fault.HintOf(err), c.hint) || fault.SubjectOf(err) == "" {
				t.Errorf("%v (%s), hint %q", err, fault.KindOf(err), fault.HintOf(err))
			}
			if strings.ContainsAny(err.Error()+fault.HintOf(err), "\n\x1b\x07") {
				t.Errorf("control characters in %q", err)
			}
			// The same must hold when the host changed between check and installation.
			if _, again := w.install(); !fault.Is(again, c.kind) {
				t.Errorf("install: %v", again)
			}
			for _, asked := range w.asked() {
				if !strings.HasPrefix(survey.Script, asked) { // sudo may not have read it
					t.Errorf("a host that is refused was asked %q", asked)
				}
			}
			w.secretsAreKept(err)
		})
	}
}

func TestWhatMayStandThere(t *testing.T) {
	for name, prepare := range map[string]func(w *world){
		"our own front":         func(w *world) { w.host.more = []string{tcp, "front_Listen=[::]:2376 (Stream)", "agent_uid=uid-1"} },
		"a listener elsewhere":  func(w *world) { w.target.EnginePort = 3376; w.host.more = []string{tcp} },
		"dockerd on its socket": func(w *world) { w.host.more = []string{"docker=1"} },
		"dockerd with the port": func(w *world) { w.host.more = []string{tcp, "docker=1", "dockerd_socket=4711"} },
		"swarm ports": func(w *world) {
			w.host.more = []string{strings.Replace(tcp, "0948", "0949", 1), "docker=1", "dockerd_socket=4711"}
		},
		"a derivative":              func(w *world) { w.host.facts["os_ID"] = "linuxmint"; w.host.facts["os_ID_LIKE"] = `"ubuntu debian"` },
		"any system with Docker":    func(w *world) { w.host.facts["os_ID"] = "void"; w.host.facts["docker"] = "1" },
		"any system with a script":  func(w *world) { w.host.facts["os_ID"] = "void"; w.target.OwnEngine = true },
		"our own agent":             func(w *world) { w.host.facts["agent_uid"] = "uid-1" },
		"our own agent, no room":    func(w *world) { w.host.facts["agent_uid"] = "uid-1"; w.host.facts["df"] = "/dev/vda 100 99 1 99% /" },
		"an agent without settings": func(w *world) { w.host.facts["agent"] = digest("old") },
		"a df that says nothing":    func(w *world) { delete(w.host.facts, "df") },
		"a swarm of its own":        func(w *world) { w.host.more = sampleNode(t, "theirs", "swarm-worker") },
		"a member of the same swarm": func(w *world) {
			w.target.Swarm = &Swarm{ID: "ours"}
			w.host.more = sampleNode(t, "ours", "swarm-worker")
		},
		"the manager that made it": func(w *world) {
			w.target.Swarm = &Swarm{Make: true}
			w.host.more = sampleNode(t, "ours", "swarm-manager")
		},
		"a swarm's ruins": func(w *world) {
			w.target.Swarm = &Swarm{ID: "ours"}
			w.host.more = []string{"swarm=-----BEGIN CERTIFICATE-----", "swarm=AAAA", "swarm=-----END CERTIFICATE-----"}
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			prepare(w)
			if err := w.installer.Check(t.Context(), w.target); err != nil {
				t.Error(err)
			}
			if _, err := w.install(); err != nil {
				t.Error(err)
			}
		})
	}
}

// sampleNode is what the script tells of a swarm's node: its certificate, line by line.
func sampleNode(t *testing.T, swarm, role string) []string {
	t.Helper()
	_, key, _ := ed25519.GenerateKey(rand.Reader)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{Organization: []string{swarm}, OrganizationalUnit: []string{role}, CommonName: "node"}}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for line := range strings.Lines(string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate}))) {
		lines = append(lines, "swarm="+strings.TrimSpace(line))
	}
	return lines
}

// Whatever people and hosts name things, a host is only ever sent texts that stand in this package.
func TestHostsAreSentFixedTextsAlone(t *testing.T) {
	fixed := map[string]bool{
		scriptCommand: true, uploadCommand: true, installNewCommand: true, installPresentCommand: true,
		uninstallNewCommand: true, uninstallPresentCommand: true, purgeNewCommand: true, purgePresentCommand: true,
	}
	scripts := map[string]bool{survey.Script: true, cloudWaitScript: true, tidyScript: true}
	seen := map[string]bool{}
	for _, hostile := range []string{"$(id)", "`id`", ";reboot", "a\nreboot\n", "'\"", "--flag", "| sh", "\x00\x1b[2J", "../../etc/passwd"} {
		w := newWorld(t)
		w.server.User, w.target.SSH.User = hostile, hostile
		w.target.Machine = hostile
		w.payload = Payload{MachineUID: "uid-1", Ticket: hostile, Endpoints: []string{hostile}, Hostname: hostile}
		w.host.facts["os_PRETTY_NAME"], w.host.facts["cloud_init"] = hostile, "1"
		for _, purge := range []bool{false, true} {
			for range 2 {
				if _, err := w.install(); err != nil {
					t.Fatalf("%q: %v", hostile, err)
				}
			}
			delete(w.host.facts, "agent_uid")
			if err := w.installer.Remove(t.Context(), w.target, purge, w.progress); err != nil {
				t.Fatalf("%q: %v", hostile, err)
			}
			w.host.facts["state"], w.host.facts["installed"] = "1", "1" // the binary alone is gone
			if err := w.installer.Remove(t.Context(), w.target, purge, w.progress); err != nil {
				t.Fatalf("%q: %v", hostile, err)
			}
			w.host.facts["state"] = "1" // an upload alone is there
			if err := w.installer.Remove(t.Context(), w.target, purge, w.progress); err != nil {
				t.Fatalf("%q: %v", hostile, err)
			}
		}
		for _, c := range w.server.Commands() {
			seen[c.Text] = true
			if !fixed[c.Text] {
				t.Errorf("%q: the host was sent %q", hostile, c.Text)
			}
			if c.Text == scriptCommand && !scripts[string(c.Stdin)] {
				t.Errorf("%q: the shell was sent %q", hostile, c.Stdin)
			}
		}
		if len(w.host.unknown) > 0 {
			t.Errorf("%q: unknown to the host: %q", hostile, w.host.unknown)
		}
	}
	for text := range fixed {
		if !seen[text] {
			t.Errorf("never tried: %q", text)
		}
	}
}

func TestAllPinnedKeysMustBeReadable(t *testing.T) {
	w := newWorld(t)
	w.target.HostKeys = []string{"ssh-ed25519 garbage"}
	if err := w.installer.Check(t.Context(), w.target); !fault.Is(err, fault.Internal) || w.server.Connections() != 0 {
		t.Errorf("%v after %d connections", err, w.server.Connections())
	}
	w.target.HostKeys = []string{sshtest.Line(w.server.Keys[0].PublicKey())}
	if err := w.installer.Check(t.Context(), w.target); err != nil {
		t.Error(err)
	}
}
