package bootstrap

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"mctl/internal/controller/bootstrap/sshtest"
	"mctl/internal/controller/driver"
)

// forced stands between a real sshd and this machine: what first contact does is done in a directory of the test.
const forced = `#!/bin/sh
move='s#\$(id -u)#0#g; s#/var/lib/mctl#DIR/state#g; s#/usr/local/bin/mctl-agent#DIR/mctl-agent#g;
	s#/run/systemd/system#DIR#g; s#/run/cloud-init#DIR/none#g; s#= dockerd#= none#g; s#/etc/docker#DIR/none#g; s#\.ssh#DIR/ssh#g'
case $SSH_ORIGINAL_COMMAND in
*"sh -s'") sed "$move" | sh -s ;;
*) sh -c "$(printf %s "$SSH_ORIGINAL_COMMAND" | sed "$move")" | sed "s#DIR/state#/var/lib/mctl#" ;;
esac
`

// realAgent does in that directory what an agent does on a host.
const realAgent = `#!/bin/sh
case $1 in
install)
	cat >DIR/orders.json
	echo '{"endpoints": [], "machine_uid": "uid-1"}' >DIR/state/config.json
	mv DIR/state/agent.new DIR/mctl-agent 2>/dev/null
	echo '{"progress":"installing the agent"}'
	echo '{"done":true}'
	;;
uninstall)
	rm -rf DIR/state DIR/mctl-agent
	echo '{"done":true}'
	;;
esac
`

// realSSHD starts the system's sshd on loopback and returns how to log in to it, the directory that plays the host, and
// its log. It is not waited for: that is what the installer does.
func realSSHD(t *testing.T) (target Target, dir string, log *journal) {
	t.Helper()
	sshd := "/usr/sbin/sshd"
	if _, err := os.Stat(sshd); err != nil {
		t.Skip("this machine has no /usr/sbin/sshd (package openssh-server)")
	}
	if os.Geteuid() == 0 {
		// sshd of root wants its directory, which the system makes when it starts sshd itself.
		if err := os.Mkdir("/run/sshd", 0o755); err == nil {
			t.Cleanup(func() { os.Remove("/run/sshd") })
		}
	}
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	dir = t.TempDir()
	login, key := sshtest.NewKey(t)
	_, hostKey := sshtest.NewKey(t)
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := free.Addr().(*net.TCPAddr).Port
	free.Close()
	write := func(name, text string, mode os.FileMode) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(strings.ReplaceAll(text, "DIR", dir)), mode); err != nil {
			t.Fatal(err)
		}
	}
	write("host_key", string(hostKey), 0o600)
	write("authorized", sshtest.Line(login.PublicKey())+"\n", 0o600)
	write("shell", forced, 0o700)
	write("agent-linux-amd64", realAgent, 0o600)
	write("agent-linux-arm64", realAgent, 0o600)
	write("config", fmt.Sprintf(`ListenAddress 127.0.0.1:%d
HostKey DIR/host_key
AuthorizedKeysFile DIR/authorized
ForceCommand DIR/shell
StrictModes no
UsePAM no
PermitRootLogin yes
PidFile none
LogLevel VERBOSE
`, port), 0o600)
	log = &journal{}
	command := exec.Command(sshd, "-D", "-e", "-f", filepath.Join(dir, "config"))
	command.Stderr = log
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = command.Process.Kill()
		_ = command.Wait()
	})
	return Target{
		Machine: "web", SSH: driver.SSH{Address: "127.0.0.1", Port: uint16(port), User: me.Username}, Key: key,
		Wait: 20 * time.Second, Adopted: true, EnginePort: uint16(port) ^ 1, MachineUID: "uid-1", OwnEngine: true,
	}, dir, log
}

type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

func TestARealSSHDSeesTwoConnectionsForAnAdoption(t *testing.T) {
	target, dir, log := realSSHD(t)
	installer := New(Config{Logger: hclog.NewNullLogger(), AgentDir: dir})
	told := []string{}
	progress := func(line string) { told = append(told, line) }
	if err := installer.Check(t.Context(), target); err != nil {
		if strings.Contains(log.String(), "account is locked") {
			t.Skip("this user's account is locked, sshd lets nobody in")
		}
		t.Fatalf("check: %v\n%s", err, log)
	}
	payload := Payload{MachineUID: "uid-1", Ticket: "t", ControlPort: 7443}
	began := time.Now()
	result, err := installer.Install(t.Context(), target, payload, progress)
	if err != nil {
		t.Fatalf("install: %v\n%s", err, log)
	}
	t.Logf("installed after %s", time.Since(began).Round(time.Millisecond))
	if n := strings.Count(log.String(), "Connection from "); n != 2 {
		t.Errorf("sshd saw %d connections:\n%s", n, log)
	}
	var given orders
	if text, err := os.ReadFile(filepath.Join(dir, "orders.json")); err != nil || json.Unmarshal(text, &given) != nil || given.Ticket != "t" || given.Endpoints[0] != "127.0.0.1:7443" {
		t.Errorf("the agent was given %s: %v", text, err)
	}
	target.HostKeys = result.HostKeys
	target.Authorize = []string{"ssh-ed25519 AAAA one", "ssh-ed25519 BBBB $(two) 'x'"}
	if err := os.Mkdir(filepath.Join(dir, "ssh"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "ssh", "authorized_keys"), []byte("ssh-ed25519 CCCC theirs"), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := installer.Install(t.Context(), target, payload, progress); err != nil {
			t.Errorf("repeated: %v", err)
		}
	}
	want := "ssh-ed25519 CCCC theirs\n" + strings.Join(target.Authorize, "\n") + "\n"
	if text, err := os.ReadFile(filepath.Join(dir, "ssh", "authorized_keys")); err != nil || string(text) != want {
		t.Errorf("let in are now: %s %v, want %s", text, err, want)
	}
	if n := strings.Count(strings.Join(told, "\n"), "Copying"); n != 1 {
		t.Errorf("the agent was copied %d times: %q", n, told)
	}
	payload.MachineUID = "uid-2"
	if _, err := installer.Install(t.Context(), target, payload, progress); err == nil || !strings.Contains(err.Error(), "already serves another machine") {
		t.Errorf("for another machine: %v", err)
	}
	for range 2 {
		if err := installer.Remove(t.Context(), target, false, progress); err != nil {
			t.Errorf("remove: %v", err)
		}
	}
	for _, left := range []string{"state", "mctl-agent"} {
		if _, err := os.Stat(filepath.Join(dir, left)); err == nil {
			t.Errorf("%s is left", left)
		}
	}
}
