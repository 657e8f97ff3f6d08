package e2e

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// ownHost is a host that mctl made or adopted, as somebody sees it who has a key to it: with two containers.
func ownHost(t *testing.T, address, keyFile string) *machinesHost {
	t.Helper()
	key, err := os.ReadFile(keyFile)
	if err != nil {
		t.Fatal(err)
	}
	h := &machinesHost{bareHost: &bareHost{t: t, address: address, port: "22", key: filepath.Join(t.TempDir(), "id")}}
	if err := os.WriteFile(h.key, key, 0o600); err != nil {
		t.Fatal(err)
	}
	h.startContainers()
	return h
}

// released checks that a host is docker-machine's, whole, with the containers that it had.
func (h *machinesHost) released(store, name, containers string) {
	h.t.Helper()
	if after := h.containers(); after != containers {
		h.t.Errorf("containers were %s\nand are %s", containers, after)
	}
	h.certs = filepath.Join(store, "machines", name)
	h.usable("with the exported certificates")
	// What the nspawn driver's image has is not ours to take away.
	left := h.run(`find / -xdev -name 'mctl*' -print -o -name '*-mctl.*' -print -o -name 'docker-machine' -print | grep -Ev '/mctl-cgroups\.service$|/10-mctl\.network$|/00-mctl\.conf$'
		systemctl list-units --all --plain --no-legend 'mctl-agent*' 'mctl-front*'; systemctl list-units --failed --plain --no-legend 'docker*'`)
	if left != "" {
		h.t.Errorf("the host has %s", left)
	}
	if owner := h.run("ss -Hltnp sport = :2376"); !strings.Contains(owner, `"dockerd"`) {
		h.t.Errorf("the port is not dockerd's: %s", owner)
	}
	block, _ := pem.Decode([]byte(h.run("cat /etc/docker/server.pem")))
	if block == nil {
		h.t.Fatal("the engine has no certificate")
	}
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		h.t.Fatal(err)
	}
	if left := time.Until(certificate.NotAfter); left < 1000*24*time.Hour || certificate.VerifyHostname(h.address) != nil || certificate.VerifyHostname("localhost") != nil {
		h.t.Errorf("the engine's certificate is for %v %v and ends in %s", certificate.IPAddresses, certificate.DNSNames, left)
	}
	if _, err := os.Stat(filepath.Join(h.certs, "server-key.pem")); err == nil {
		h.t.Error("the engine's key left its host")
	}
}

// leavesHosts has the lab remove those that it gave away.
func (l *lab) leavesHosts() {
	l.t.Cleanup(func() {
		if r := l.run("orphans", "rm", "-y", "--driver", "nspawn", "--all"); r.code != 0 {
			l.t.Errorf("%s", r)
		}
	})
}

func TestAHostThatMctlMadeIsLeftToDockerMachineWithItsContainersRunning(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.leavesHosts()
	const name = "rl-made"
	l.create(name, "--engine-label", "tier=web")
	h := ownHost(t, strings.TrimSpace(l.must("ip", name)), filepath.Join(l.state, "machines", name, "id_rsa"))
	before := h.containers()

	dir := t.TempDir()
	r := l.run("export", "--release", "--with-secrets", dir, name)
	if r.code != 0 || strings.Contains(r.stdout, "Copying the agent") || strings.Contains(r.stdout, "front") {
		t.Fatalf("%s", r)
	}
	t.Log(r)
	if left := l.must("ls", "-q"); left != "" {
		t.Errorf("it is still known: %s", left)
	}
	h.released(dir, name, before)
	if dropIn := h.run("cat " + machinesDropInPath); dropIn != strings.TrimSpace(machinesDropIn) {
		t.Errorf("the drop-in is %q", dropIn)
	}
	var config struct {
		ConfigVersion int
		DriverName    string
		Driver        map[string]any
	}
	text, err := os.ReadFile(filepath.Join(dir, "machines", name, "config.json"))
	if err == nil {
		err = json.Unmarshal(text, &config)
	}
	if key := filepath.Join(dir, "machines", name, "id_rsa"); err != nil || config.ConfigVersion != 3 || config.DriverName != "generic" ||
		config.Driver["IPAddress"] != h.address || config.Driver["SSHKeyPath"] != key || config.Driver["SSHKey"] != key || config.Driver["EnginePort"] != 2376.0 {
		t.Errorf("config.json: %v\n%s", err, text)
	}
	for tool, binary := range familyBinaries() {
		if binary == "" {
			t.Logf("not checked: no %s is given to work on the store", tool)
			continue
		}
		old := oldTool{t, binary, dir}
		old.worksOn(h, name)
		old.must("regenerate-certs", "-f", name)
		h.run("docker start one")
		old.worksOn(h, name)
		// docker-machine looks for the host at once, and may find one that is still on its way down.
		old.run("restart", name)
		eventually(t, time.Minute, "the engine is back", func() bool { return exec.Command("ssh", h.sshArgs("docker start one")...).Run() == nil })
		old.worksOn(h, name)
	}
	// Nobody else can remove such a host.
	if out := l.must("orphans", "--driver", "nspawn"); !strings.Contains(out, "nspawn") || strings.Count(out, "\n") != 2 {
		t.Errorf("orphans: %s", out)
	}
}

func TestAnAdoptedHostIsReleasedWhateverIsKilledMeanwhile(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	const name = "rl-killed"
	image, err := dockerImage()
	if err != nil {
		t.Fatal(err)
	}
	bare := newBareHost(t, name, image)
	bare.run("systemctl is-system-running --wait; systemctl is-active docker")
	l.must("create", "--driver", "generic", "--generic-ip-address", bare.address, "--generic-ssh-key", bare.key, "--engine-label", "tier=web", "--engine-opt", "live-restore=true", name)
	h := ownHost(t, bare.address, bare.key)

	// What would not work is refused, and nothing is changed.
	dir := t.TempDir()
	refused := func(what, says string, args ...string) {
		t.Helper()
		r := l.run(append(append([]string{"export", "--release", "--with-secrets"}, args...), name)...)
		if r.code != 1 || !strings.Contains(r.stderr, says) {
			t.Errorf("%s: want %q: %s", what, says, r)
		}
		if owner := h.run("ss -Hltnp sport = :2376"); strings.Contains(owner, `"dockerd"`) {
			t.Errorf("%s: the host is given back: %s", what, owner)
		}
	}
	h.run(`echo '{"labels":["of=theirs"]}' >/etc/docker/mine && mv /etc/docker/daemon.json /etc/docker/kept; mv /etc/docker/mine /etc/docker/daemon.json`)
	refused("a key that is a flag, too", `sets "labels"`, dir)
	h.run("mv /etc/docker/kept /etc/docker/daemon.json; systemctl stop docker.socket docker")
	refused("a stopped docker", "docker does not run", dir)
	h.run("systemctl start docker.socket docker; docker start one two")
	before := h.containers()
	foreign := t.TempDir()
	if err := os.MkdirAll(filepath.Join(foreign, "machines", name), 0o700); err != nil {
		t.Fatal(err)
	}
	refused("another's folder", "not this machine's", foreign)
	small := t.TempDir()
	if output, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=8k", "none", small).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	refused("a full disk", "no space left", small)
	if output, err := exec.Command("umount", small).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, output)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("what was refused left %v, %v", left, err)
	}
	if out := l.must("ls", "--format", "{{.State}}{{.Error}}"); strings.TrimSpace(out) != "Running" {
		t.Errorf("after all that it is %s", out)
	}
	h.run("systemd-run --quiet --on-active=5 --timer-property=AccuracySec=100ms systemctl start ssh; systemctl stop ssh")
	if r := l.run("export", "--release", "--with-secrets", dir, name); r.code != 1 || !strings.Contains(r.stderr, bare.address+":22") {
		t.Errorf("nobody lets us in: %s", r)
	}
	eventually(t, time.Minute, "sshd answers", func() bool { return exec.Command("ssh", h.sshArgs("true")...).Run() == nil })

	const mostKills = 6
	killed, random := 0, newRandom(t)
	release := func() result {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		ended := make(chan result, 1)
		go func() {
			ended <- runCommand(ctx, l.environment(), nil, filepath.Join(l.bin, "mctl"), "export", "--release", "--with-secrets", dir, name)
		}()
		kills := []struct {
			what string
			kill func()
		}{
			{"mctl", cancel}, {"controller", l.killController},
			{"agent", func() {
				h.run("systemctl kill -s KILL mctl-agent 2>/dev/null; pkill -KILL -f 'mctl-agent [a-z]'; true")
			}},
			{"dockerd", func() { h.run("pkill -KILL dockerd; true") }},
		}
		for {
			moment := time.NewTimer(time.Duration(random.Int64N(int64(1500 * time.Millisecond))))
			select {
			case r := <-ended:
				moment.Stop()
				return r
			case <-moment.C:
			}
			if killed == mostKills {
				return <-ended
			}
			one := kills[killed%len(kills)]
			killed++
			t.Logf("killed: %s", one.what)
			one.kill()
		}
	}
	for range 12 {
		if r := release(); r.code == 0 {
			break
		} else if !strings.Contains(r.stderr, "killed") {
			t.Log(r)
		}
	}
	if r := l.run("export", "--release", "--with-secrets", dir, name); r.code != 0 {
		t.Fatalf("after %d kills: %s", killed, r)
	}
	if left := l.must("ls", "-q"); left != "" {
		t.Errorf("it is still known: %s", left)
	}
	h.released(dir, name, before)
	if dropIn := h.run("cat " + machinesDropInPath); !strings.Contains(dropIn, "--label tier=web --label provider=generic --live-restore=true \n") {
		t.Errorf("the drop-in is %q", dropIn)
	}
}
