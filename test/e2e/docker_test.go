package e2e

import (
	"archive/tar"
	"bufio"
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// busybox is an image made of the static busybox that is installed here, so that no registry is needed.
func busybox(t *testing.T) []byte {
	t.Helper()
	path, err := exec.LookPath("busybox")
	if err != nil {
		t.Fatal("busybox is missing; test/packages.sh installs it")
	}
	binary, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	applets, err := exec.Command(path, "--list").Output()
	if err != nil {
		t.Fatal(err)
	}
	var image bytes.Buffer
	w := tar.NewWriter(&image)
	add := func(header tar.Header, content []byte) {
		header.Size = int64(len(content))
		if err := w.WriteHeader(&header); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(content); err != nil {
			t.Fatal(err)
		}
	}
	for _, directory := range []string{"bin/", "tmp/", "www/", "etc/"} {
		add(tar.Header{Name: directory, Mode: 0o755, Typeflag: tar.TypeDir}, nil)
	}
	add(tar.Header{Name: "bin/busybox", Mode: 0o755, Typeflag: tar.TypeReg}, binary)
	for _, applet := range strings.Fields(string(applets)) {
		if applet != "busybox" {
			add(tar.Header{Name: "bin/" + applet, Linkname: "busybox", Mode: 0o777, Typeflag: tar.TypeSymlink}, nil)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return image.Bytes()
}

func (l *lab) importBusybox(name string) {
	l.t.Helper()
	l.mustDocker(name, busybox(l.t), "import", "-", "busybox:latest")
}

func TestFourCreatesAtOnceWhileAFifthIsRemoved(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.must("create", "--driver", "nspawn", "fifth")
	var creates sync.WaitGroup
	results, since, done := make([]result, 4), time.Now(), make(chan struct{})
	for i := range results {
		creates.Go(func() { results[i] = l.run("create", "--driver", "nspawn", fmt.Sprintf("host%d", i+1)) })
	}
	go func() { creates.Wait(); close(done) }()
	// The moment at which the old tool spoils its files: hosts are there, their certificates not yet.
	eventually(t, time.Minute, "a host installs", func() bool {
		return strings.Contains(l.eventsSince(since, "", "PHASE_CHANGED"), "installing")
	})
	removed := l.run("rm", "-y", "fifth")
	select {
	case <-done:
		t.Error("the creates were over before the fifth was removed")
	default:
	}
	<-done
	for _, r := range append(results, removed) {
		if r.code != 0 || r.stderr != "" || strings.Contains(r.stdout, "x509") {
			t.Fatal(r)
		}
	}
	keys, authorities := map[string]bool{}, map[string]bool{}
	for i := range results {
		name := fmt.Sprintf("host%d", i+1)
		if version := l.mustDocker(name, nil, "version", "--format", "{{.Server.Version}}"); strings.TrimSpace(version) == "" {
			t.Errorf("%s: no version", name)
		}
		served := l.servedCertificate(name)
		if address := strings.TrimSpace(l.must("ip", name)); served.VerifyHostname(address) != nil || served.VerifyHostname(name) != nil {
			t.Errorf("%s at %s shows a certificate for %v %v", name, address, served.IPAddresses, served.DNSNames)
		}
		keys[string(served.RawSubjectPublicKeyInfo)] = true
		ca, err := os.ReadFile(filepath.Join(l.state, "machines", name, "ca.pem"))
		if err != nil {
			t.Fatal(err)
		}
		authorities[string(ca)] = true
	}
	if len(keys) != 4 || len(authorities) != 1 {
		t.Errorf("%d keys and %d authorities, want 4 and 1", len(keys), len(authorities))
	}
	if listed := l.must("ls", "-q"); listed != "host1\nhost2\nhost3\nhost4\n" {
		t.Errorf("ls -q: %q", listed)
	}
}

// tlsConfig is what the machine's folder gives the docker CLI.
func (l *lab) tlsConfig(name string) *tls.Config {
	l.t.Helper()
	folder := filepath.Join(l.state, "machines", name)
	pair, err := tls.LoadX509KeyPair(filepath.Join(folder, "cert.pem"), filepath.Join(folder, "key.pem"))
	if err != nil {
		l.t.Fatal(err)
	}
	ca, err := os.ReadFile(filepath.Join(folder, "ca.pem"))
	if err != nil {
		l.t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	return &tls.Config{Certificates: []tls.Certificate{pair}, RootCAs: pool, MinVersion: tls.VersionTLS12}
}

func (l *lab) dialEngine(name string) *tls.Conn {
	l.t.Helper()
	address := strings.TrimPrefix(strings.TrimSpace(l.must("url", name)), "tcp://")
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: 10 * time.Second}, "tcp", address, l.tlsConfig(name))
	if err != nil {
		l.t.Fatalf("%s: %v", name, err)
	}
	l.t.Cleanup(func() { conn.Close() })
	return conn
}

func (l *lab) servedCertificate(name string) *x509.Certificate {
	conn := l.dialEngine(name)
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0]
}

func TestDockerThroughTheFront(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.must("create", "--driver", "nspawn", "web")
	l.provesDocker(t)
}

// provesDocker does with the machine web what people do with Docker, by the lab's way to it.
func (l *lab) provesDocker(t *testing.T) {
	l.importBusybox("web")
	t.Run("run", func(t *testing.T) {
		l := l.within(t)
		if got := l.mustDocker("web", nil, "run", "--rm", "busybox", "echo", "hello"); got != "hello\n" {
			t.Errorf("got %q", got)
		}
	})
	t.Run("build with 100 MB of context", func(t *testing.T) {
		l := l.within(t)
		context := t.TempDir()
		random(t, filepath.Join(context, "blob"), 100_000_000)
		dockerfile := "FROM busybox\nCOPY blob /blob\nRUN stat -c %s /blob > /size\n"
		if err := os.WriteFile(filepath.Join(context, "Dockerfile"), []byte(dockerfile), 0o600); err != nil {
			t.Fatal(err)
		}
		r := l.execEnv(append(l.dockerEnv("web"), "DOCKER_BUILDKIT=0"), nil, "docker", "build", "-q", "-t", "big", context)
		if r.code != 0 {
			t.Fatal(r)
		}
		if got := l.mustDocker("web", nil, "run", "--rm", "big", "cat", "/size"); got != "100000000\n" {
			t.Errorf("got %q", got)
		}
	})
	t.Run("attach", func(t *testing.T) {
		l := l.within(t)
		l.mustDocker("web", nil, "run", "-d", "-i", "--name", "attached", "busybox", "sh", "-c", "read line; echo got $line")
		// Standard input stays open: dockerd drops output that is under way when it ends (with or without a front).
		attach := exec.Command("docker", "attach", "attached")
		attach.Env = l.environment(l.dockerEnv("web")...)
		stdin, err := attach.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(stdin, "ping\n"); err != nil { // the pipe holds it until docker reads
			t.Fatal(err)
		}
		if got, err := attach.CombinedOutput(); err != nil || string(got) != "got ping\n" {
			t.Errorf("got %q, %v", got, err)
		}
	})
	t.Run("exec with stdin closed early", func(t *testing.T) {
		l := l.within(t)
		l.mustDocker("web", nil, "run", "-d", "--name", "sleeper", "busybox", "sleep", "1000")
		// wc answers only after its standard input has ended: half-close has to come through, and the other half go on.
		if got := l.mustDocker("web", []byte("12345"), "exec", "-i", "sleeper", "sh", "-c", "wc -c; sleep 1; echo after"); got != "5\nafter\n" {
			t.Errorf("got %q", got)
		}
	})
	t.Run("logs -f", func(t *testing.T) {
		l := l.within(t)
		l.mustDocker("web", nil, "run", "-d", "--name", "talker", "busybox", "sh", "-c", "echo first; until [ -e /go ]; do sleep 0.1; done; echo last")
		logs := exec.Command("docker", "logs", "-f", "talker")
		logs.Env = l.environment(l.dockerEnv("web")...)
		stdout, err := logs.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := logs.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewReader(stdout)
		if got, err := lines.ReadString('\n'); err != nil || got != "first\n" {
			t.Fatalf("got %q, %v", got, err)
		}
		l.mustDocker("web", nil, "exec", "talker", "touch", "/go") // only now is there more to say
		if got, err := lines.ReadString('\n'); err != nil || got != "last\n" {
			t.Fatalf("got %q, %v", got, err)
		}
		if err := logs.Wait(); err != nil {
			t.Errorf("docker logs -f: %v", err)
		}
	})
	t.Run("cp of 200 MB there and back", func(t *testing.T) {
		l := l.within(t)
		folder := t.TempDir()
		there, back := filepath.Join(folder, "there"), filepath.Join(folder, "back")
		random(t, there, 200_000_000)
		l.mustDocker("web", nil, "cp", "-q", there, "sleeper:/tmp/blob")
		l.mustDocker("web", nil, "cp", "-q", "sleeper:/tmp/blob", back)
		if digest(t, there) != digest(t, back) {
			t.Error("what came back is something else")
		}
	})
	t.Run("events of containers", func(t *testing.T) { containerEvents(l.within(t), "web") })
	t.Run("session upgraded to h2c", func(t *testing.T) {
		l := l.within(t)
		var conn net.Conn
		if host := l.dockerEnv("web")[0]; l.via == "" {
			conn = l.dialEngine("web")
		} else {
			var err error
			if conn, err = net.Dial("unix", strings.TrimPrefix(host, "DOCKER_HOST=unix://")); err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
		}
		if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(conn, "POST /session HTTP/1.1\r\nHost: docker\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n"+
			"X-Docker-Expose-Session-Uuid: e2e\r\nX-Docker-Expose-Session-Name: e2e\r\nX-Docker-Expose-Session-Sharedkey: e2e\r\n\r\n")
		reader := bufio.NewReader(conn)
		response, err := http.ReadResponse(reader, nil)
		if err != nil || response.StatusCode != http.StatusSwitchingProtocols || response.Header.Get("Upgrade") != "h2c" {
			t.Fatalf("answer %+v, %v", response, err)
		}
		// From here on dockerd is the client of a gRPC server on our side.
		preface := make([]byte, len(http2.ClientPreface))
		if _, err := io.ReadFull(reader, preface); err != nil || string(preface) != http2.ClientPreface {
			t.Fatalf("dockerd begins with %q, %v", preface, err)
		}
		framer := http2.NewFramer(conn, reader)
		if err := framer.WriteSettings(); err != nil {
			t.Fatal(err)
		}
		for acknowledged := false; !acknowledged; {
			frame, err := framer.ReadFrame()
			if err != nil {
				t.Fatalf("our settings were not acknowledged: %v", err)
			}
			settings, ok := frame.(*http2.SettingsFrame)
			acknowledged = ok && settings.IsAck()
		}
	})
}

func random(t *testing.T, path string, size int64) {
	t.Helper()
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := io.CopyN(file, rand.Reader, size); err != nil {
		t.Fatal(err)
	}
}

func digest(t *testing.T, path string) [sha256.Size]byte {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	hash := sha256.New()
	if _, err := io.Copy(hash, file); err != nil {
		t.Fatal(err)
	}
	return [sha256.Size]byte(hash.Sum(nil))
}
