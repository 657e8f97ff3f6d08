package e2e

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// machinesHost is a host that docker-machine made, with containers.
type machinesHost struct {
	*bareHost
	certs string // ca.pem, cert.pem and key.pem of its users
}

// machinesDropIn is what docker-machine writes for --engine-label tier=web with the generic driver.
const machinesDropIn = "[Service]\nExecStart=\nExecStart=/usr/bin/dockerd -H tcp://0.0.0.0:2376 -H unix:///var/run/docker.sock " +
	"--storage-driver overlay2 --tlsverify --tlscacert /etc/docker/ca.pem --tlscert /etc/docker/server.pem --tlskey /etc/docker/server-key.pem " +
	"--label tier=web --label provider=generic \nEnvironment=\n"

const machinesDropInPath = "/etc/systemd/system/docker.service.d/10-machine.conf"

func newMachinesHost(t *testing.T, name string) *machinesHost {
	t.Helper()
	return newCertifiedHost(t, name, (*machinesHost).certify)
}

// newCertifiedHost is newMachinesHost with certificates of somebody's choice.
func newCertifiedHost(t *testing.T, name string, certify func(*machinesHost)) *machinesHost {
	t.Helper()
	image, err := dockerImage()
	if err != nil {
		t.Fatal(err)
	}
	h := &machinesHost{newBareHost(t, name, image), t.TempDir()}
	h.bootedAsByDocker()
	h.run("mkdir -p /etc/docker " + filepath.Dir(machinesDropInPath))
	certify(h)
	h.write(machinesDropInPath, machinesDropIn)
	h.run("systemctl -f stop docker && systemctl daemon-reload && systemctl -f start docker && systemctl -f enable docker")
	h.startContainers()
	return h
}

// bootedAsByDocker waits until the host is up, and puts dockerd where Docker's own packages have it and docker-machine looks for it.
func (h *machinesHost) bootedAsByDocker() {
	h.t.Helper()
	h.run("systemctl is-system-running --wait; systemctl is-active docker && ln -s /usr/sbin/dockerd /usr/bin/dockerd")
}

// startContainers starts one, which a stop of the engine ends, and two, which comes back.
func (h *machinesHost) startContainers() {
	h.t.Helper()
	archive := exec.Command("ssh", h.sshArgs("docker import - busybox:latest")...)
	archive.Stdin = strings.NewReader(string(busybox(h.t)))
	if output, err := archive.CombinedOutput(); err != nil {
		h.t.Fatalf("import: %v\n%s", err, output)
	}
	h.run("docker run -d --name one busybox sleep 100000; docker run -d --name two --restart always -p 8080:80 busybox sleep 100000")
}

// write puts a file on the host, readable for everybody, as docker-machine does.
func (h *machinesHost) write(path, content string) {
	h.t.Helper()
	command := exec.Command("ssh", h.sshArgs("umask 022; cat >"+path)...)
	command.Stdin = strings.NewReader(content)
	if output, err := command.CombinedOutput(); err != nil {
		h.t.Fatalf("%s: %v\n%s", path, err, output)
	}
}

// certify makes certificates as docker-machine does, for the host and for its user.
func (h *machinesHost) certify() {
	h.t.Helper()
	root, rootKey := h.sign(&x509.Certificate{
		Subject: pkix.Name{Organization: []string{"user"}}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment | x509.KeyUsageKeyAgreement | x509.KeyUsageCertSign,
	}, nil, nil)
	server, serverKey := h.sign(&x509.Certificate{
		Subject: pkix.Name{Organization: []string{"user.old"}}, IPAddresses: []net.IP{net.ParseIP(h.address)}, DNSNames: []string{"localhost"},
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment | x509.KeyUsageKeyAgreement,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, root, rootKey)
	client, clientKey := h.sign(&x509.Certificate{
		Subject:  pkix.Name{Organization: []string{"user.<bootstrap>"}},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, root, rootKey)
	block := func(kind string, der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	key := func(k *rsa.PrivateKey) string { return block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(k)) }
	h.write("/etc/docker/ca.pem", block("CERTIFICATE", root.Raw))
	h.write("/etc/docker/server.pem", block("CERTIFICATE", server.Raw))
	h.write("/etc/docker/server-key.pem", key(serverKey))
	for name, content := range map[string]string{
		"ca.pem": block("CERTIFICATE", root.Raw), "cert.pem": block("CERTIFICATE", client.Raw), "key.pem": key(clientKey),
	} {
		if err := os.WriteFile(filepath.Join(h.certs, name), []byte(content), 0o600); err != nil {
			h.t.Fatal(err)
		}
	}
}

// sign returns a certificate with a key of its own; parent nil makes a root.
func (h *machinesHost) sign(template, parent *x509.Certificate, parentKey *rsa.PrivateKey) (*x509.Certificate, *rsa.PrivateKey) {
	h.t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		h.t.Fatal(err)
	}
	if parent == nil {
		parent, parentKey = template, key
	}
	if template.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 128)); err != nil {
		h.t.Fatal(err)
	}
	template.NotBefore, template.NotAfter = time.Now().Add(-5*time.Minute), time.Now().AddDate(0, 0, 1080)
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, parentKey)
	if err != nil {
		h.t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		h.t.Fatal(err)
	}
	return certificate, key
}

// docker is the CLI of somebody who uses the host as docker-machine left it.
func (h *machinesHost) docker(args ...string) *exec.Cmd {
	command := exec.CommandContext(h.t.Context(), "docker", args...)
	command.Env = append(os.Environ(), "DOCKER_HOST=tcp://"+net.JoinHostPort(h.address, "2376"), "DOCKER_TLS_VERIFY=1", "DOCKER_CERT_PATH="+h.certs)
	return command
}

// ownListener checks whether dockerd itself has the port, and serves who has docker-machine's certificates.
func (h *machinesHost) ownListener(when string, want bool) {
	h.t.Helper()
	if got := strings.Contains(h.run("ss -Hltnp sport = :2376"), `"dockerd"`); got != want {
		h.t.Errorf("%s: dockerd itself has the port: %t", when, got)
	}
	output, err := h.docker("ps", "-q").CombinedOutput()
	if (err == nil) != want {
		h.t.Errorf("%s: docker-machine's client: %v\n%s", when, err, output)
	}
}

// containers are the processes of the containers, and since when they run.
func (h *machinesHost) containers() string {
	h.t.Helper()
	return h.run("docker inspect -f '{{.Name}} {{.State.Pid}} {{.State.StartedAt}}' one two && kill -0 $(docker inspect -f '{{.State.Pid}}' one two)")
}

func (h *machinesHost) dockerd() string { h.t.Helper(); return h.run("pidof dockerd") }

// adopt creates a machine of the host, which may fail.
func (h *machinesHost) adopt(l *lab, name string, args ...string) result {
	h.t.Helper()
	return l.run(append([]string{"create", "--driver", "generic", "--generic-ip-address", h.address, "--generic-ssh-key", h.key, name}, args...)...)
}

func (h *machinesHost) mustAdopt(l *lab, name string, args ...string) string {
	h.t.Helper()
	r := h.adopt(l, name, args...)
	if r.code != 0 || r.stderr != "" {
		h.t.Fatal(r)
	}
	return r.stdout
}

func TestAHostOfDockerMachineIsTakenOverAndGivenBackWithItsContainersRunning(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	h := newMachinesHost(t, "machines")
	h.ownListener("before", true)
	same, before, dockerd := h.containers(), h.snapshot(), h.dockerd()
	following := h.docker("events") // somebody who is connected
	if err := following.Start(); err != nil {
		t.Fatal(err)
	}

	h.mustAdopt(l, "adopted")
	if now := h.containers(); now != same {
		t.Errorf("containers were %s, are %s", same, now)
	}
	h.ownListener("taken over", false)
	if err := following.Wait(); err == nil {
		t.Error("docker events over the former listener went on after dockerd restarted")
	}
	if names := l.mustDocker("adopted", nil, "ps", "--format", "{{.Names}}"); names != "two\none\n" {
		t.Errorf("docker ps through the front: %q", names)
	}
	has := strings.Fields(l.mustDocker("adopted", nil, "info", "--format", "{{range .Labels}}{{.}} {{end}}{{.LiveRestoreEnabled}}"))
	if slices.Sort(has); !slices.Equal(has, []string{"false", "provider=generic", "tier=web"}) { // dockerd has its labels in no order
		t.Errorf("the engine has labels and live-restore: %s", has)
	}
	// Once to take it over, and never again.
	if restarted := h.dockerd(); restarted == dockerd || h.run("journalctl -u docker -o cat | grep -c 'Starting up'") != "3" {
		t.Errorf("dockerd was %s, is %s:\n%s", dockerd, restarted, h.run("journalctl -u docker -o cat | grep 'Starting up'"))
	}
	dockerd = h.dockerd()
	l.must("provision", "adopted")
	l.must("regenerate-certs", "-f", "adopted")
	if h.dockerd() != dockerd || h.containers() != same {
		t.Error("provision of a host that was taken over restarts something")
	}
	if out := l.must("ls", "--format", "{{.Error}}"); strings.TrimSpace(out) != "" {
		t.Errorf("ls says %q", out)
	}
	l.must("rm", "-y", "adopted")
	if now := h.containers(); now != same {
		t.Errorf("after rm: containers were %s, are %s", same, now)
	}
	h.ownListener("given back", true)
	for _, line := range differences(before, h.snapshot()) {
		t.Errorf("after rm: %s", line)
	}
}

func TestAnAgentThatIsKilledAmidstATakeoverLosesNoContainer(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	h := newMachinesHost(t, "killed")
	same, before := h.containers(), h.snapshot()
	random := newRandom(t)
	// harass kills the agent, and the removal that it starts, while something is done.
	harass := func(what string, do func() result) {
		ended := make(chan result, 1)
		go func() { ended <- do() }()
		ticker := time.NewTicker(time.Second)
		defer ticker.Stop()
		kills := 0
		for {
			select {
			case r := <-ended:
				if r.code != 0 {
					t.Fatalf("%s: %s", what, r)
				}
				t.Logf("%s: the agent was killed %d times", what, kills)
				return
			case <-ticker.C:
				if kills < 10 {
					pass(time.Duration(random.Int64N(int64(500 * time.Millisecond))))
					h.run("systemctl kill -s KILL mctl-agent mctl-release 2>/dev/null; pkill -KILL -f 'mctl-agent (install|uninstall)'; true")
					kills++
				}
			}
		}
	}
	harass("create", func() result {
		r := h.adopt(l, "adopted")
		for range 5 { // a create that lost its login is gone on with
			if r.code == 0 {
				break
			}
			r = l.run("retry", "adopted")
		}
		return r
	})
	if now := h.containers(); now != same {
		t.Errorf("containers were %s, are %s", same, now)
	}
	h.ownListener("taken over", false)
	harass("rm", func() result {
		r := l.run("rm", "-y", "adopted")
		for range 5 {
			if r.code == 0 {
				break
			}
			r = l.run("rm", "-y", "adopted")
		}
		return r
	})
	if now := h.containers(); now != same {
		t.Errorf("after rm: containers were %s, are %s", same, now)
	}
	h.ownListener("given back", true)
	for _, line := range differences(before, h.snapshot()) {
		t.Errorf("after rm: %s", line)
	}
}

func TestADockerdThatDoesNotComeBackWithin30SecondsIsUndone(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	h := newMachinesHost(t, "broken")
	same, before := h.containers(), h.snapshot()
	// It hangs without its own listener.
	const broken = "rm /usr/bin/dockerd; printf '#!/bin/sh\\ncase \"$*\" in *tcp://*) exec /usr/sbin/dockerd \"$@\";; esac\\nexec sleep 1000\\n' >/usr/bin/dockerd; chmod +x /usr/bin/dockerd"
	h.run(broken)
	start := time.Now()
	if r := h.adopt(l, "adopted"); r.code != 1 || !strings.Contains(r.stderr, "docker does not start") || !strings.Contains(r.stderr, "listens itself") {
		t.Fatal(r)
	}
	if took := time.Since(start); took < 30*time.Second || took > 75*time.Second {
		t.Errorf("undone after %s", took)
	}
	if now := h.containers(); now != same {
		t.Errorf("containers were %s, are %s", same, now)
	}
	h.ownListener("undone", true)
	if left := h.run("ls /etc/docker/daemon.json /etc/systemd/system/docker.service.d/20-mctl.conf 2>&1; docker info -f '{{.LiveRestoreEnabled}}'"); strings.Count(left, "No such file") != 2 || !strings.HasSuffix(left, "false") {
		t.Errorf("left behind: %s", left)
	}
	// Mended, it goes on where it was.
	h.run("rm /usr/bin/dockerd; ln -s /usr/sbin/dockerd /usr/bin/dockerd")
	l.must("retry", "adopted")
	h.ownListener("retried", false)
	h.run(broken)
	l.must("rm", "-y", "adopted")
	h.run("rm /usr/bin/dockerd; ln -s /usr/sbin/dockerd /usr/bin/dockerd")
	if now := h.containers(); now != same {
		t.Errorf("containers were %s, are %s", same, now)
	}
	h.ownListener("given back", true)
	for _, line := range differences(before, h.snapshot()) {
		t.Errorf("after rm: %s", line)
	}
}

func TestAnEngineThatIsNotRestartedForAnAdoptionKeepsItsListenerUntilItIs(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	h := newMachinesHost(t, "never")
	before, dockerd, same := h.snapshot(), h.dockerd(), h.containers()
	// waits checks that all is as it was, and that this is said.
	waits := func(why string) {
		t.Helper()
		h.ownListener(why, true)
		if h.dockerd() != dockerd || h.containers() != same {
			t.Errorf("%s: dockerd or a container was restarted", why)
		}
		said := fmt.Sprintf("dockerd listens on tcp://0.0.0.0:2376 itself until it restarts (%s)", why)
		if out := l.must("ls"); !strings.Contains(out, said+"; `mctl provision adopted` restarts it") || !strings.Contains(out, "Running") {
			t.Errorf("ls says\n%s", out)
		}
		if out := l.must("inspect", "-f", "{{.AwaitsRestart}}", "adopted"); strings.TrimSpace(out) != said {
			t.Errorf("inspect says %q", out)
		}
	}
	taken := func(how string) {
		t.Helper()
		eventually(t, 20*time.Second, how+": ls has nothing to say", func() bool { return strings.TrimSpace(l.must("ls", "--format", "{{.Error}}")) == "" })
		h.ownListener(how, false)
		l.mustDocker("adopted", nil, "ps")
	}
	back := func() {
		t.Helper()
		l.must("rm", "-y", "adopted")
		h.ownListener("given back", true)
	}

	h.mustAdopt(l, "adopted", "--adopt-restart", "never")
	waits("--adopt-restart never")
	back()
	if h.dockerd() != dockerd || h.containers() != same {
		t.Error("rm of a host that was never taken over restarts something")
	}
	for _, line := range differences(before, h.snapshot()) {
		t.Errorf("after rm: %s", line)
	}

	h.mustAdopt(l, "adopted", "--adopt-restart", "never")
	l.must("provision", "adopted")
	taken("provisioned")
	if now := h.containers(); now != same {
		t.Errorf("provisioned: containers were %s, are %s", same, now)
	}
	back()
	if now := h.containers(); now != same {
		t.Errorf("after rm: containers were %s, are %s", same, now)
	}

	h.mustAdopt(l, "adopted", "--adopt-restart", "never")
	h.run("systemctl restart docker") // whoever does it
	taken("restarted on the host")
	back()
	same, dockerd = h.containers(), h.dockerd()

	// A member of a swarm can't have live-restore.
	h.run("docker swarm init --advertise-addr 127.0.0.1 && docker service create -q --detach --name svc --publish mode=host,target=80,published=8081 busybox sleep 100000")
	h.mustAdopt(l, "adopted")
	waits("containers of a swarm's member would stop")
	l.must("provision", "adopted")
	taken("provisioned")
	if out := h.run("docker node ls -q | wc -l; docker service ls --format '{{.Name}}'"); out != "1\nsvc" {
		t.Errorf("the swarm has %q", out)
	}
	l.must("rm", "-y", "adopted")
	if out := h.run("systemctl restart docker; docker node ls -q | wc -l"); out != "1" {
		t.Errorf("the swarm has %q nodes", out)
	}
	h.ownListener("a swarm's member, given back and restarted", true)

	h.mustAdopt(l, "adopted", "--adopt-restart", "now")
	taken("now")
	l.must("rm", "-y", "adopted")
}

func TestAForeignListenerIsTheOnlyOneThatIsRefused(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	h := newMachinesHost(t, "elsewhere")
	same, dockerd := h.containers(), h.dockerd()
	h.mustAdopt(l, "adopted", "--generic-engine-port", "3376")
	if h.dockerd() != dockerd || h.containers() != same {
		t.Error("a listener that is in nobody's way costs a restart")
	}
	h.ownListener("the front has another port", true)
	l.mustDocker("adopted", nil, "ps")
	l.must("rm", "-y", "adopted")
	before := h.snapshot()
	h.run("docker run -d --name three -p 4376:80 busybox httpd -f")
	if r := h.adopt(l, "adopted", "--generic-engine-port", "4376"); r.code != 3 || !strings.Contains(r.stderr, "port 4376 on "+h.address+" is taken by docker-proxy") {
		t.Error(r)
	}
	h.run("docker rm -f three")
	if found := slices.DeleteFunc(differences(before, h.snapshot()), func(line string) bool { return strings.Contains(line, "/run/") }); len(found) > 0 {
		t.Errorf("a host that was refused: %q", found)
	}
}
