package e2e

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// load keeps a machine's engine busy: one stream of events, one container that echoes, ten new requests a second.
type load struct {
	lab      *lab
	name     string
	cancel   context.CancelFunc
	wait     sync.WaitGroup
	requests atomic.Int64
	mu       sync.Mutex
	errors   []string
	events   *exec.Cmd
	stdin    io.WriteCloser
	echo     *bufio.Reader
}

func startLoad(t *testing.T, l *lab, name string) *load {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	w := &load{lab: l, name: name, cancel: cancel}
	environment := l.environment(l.dockerEnv(name)...)

	w.events = exec.CommandContext(ctx, "docker", "events")
	w.events.Env = environment
	if err := w.events.Start(); err != nil {
		t.Fatal(err)
	}
	w.wait.Go(func() {
		if err := w.events.Wait(); ctx.Err() == nil {
			w.fail("docker events ended: %v", err)
		}
	})
	cat := exec.CommandContext(ctx, "docker", "run", "-i", "--rm", "--name", "echo", "busybox", "cat")
	cat.Env = environment
	stdin, err := cat.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cat.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cat.Start(); err != nil {
		t.Fatal(err)
	}
	w.stdin, w.echo = stdin, bufio.NewReader(stdout)
	w.ping(t)

	address := strings.TrimPrefix(strings.TrimSpace(l.must("url", name)), "tcp://")
	config := l.tlsConfig(name)
	w.wait.Go(func() {
		ticker := time.NewTicker(100 * time.Millisecond)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
			client := http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{TLSClientConfig: config.Clone(), DisableKeepAlives: true}}
			response, err := client.Get("https://" + address + "/_ping")
			if err != nil {
				w.fail("request: %v", err)
				continue
			}
			response.Body.Close()
			w.requests.Add(1)
		}
	})
	t.Cleanup(func() {
		cancel()
		w.wait.Wait()
		_ = cat.Wait()
	})
	return w
}

func (w *load) fail(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.errors = append(w.errors, fmt.Sprintf(format, args...))
}

// ping sends a line through the container that echoes.
func (w *load) ping(t *testing.T) {
	t.Helper()
	if _, err := io.WriteString(w.stdin, "ping\n"); err != nil {
		t.Fatalf("the container's standard input: %v", err)
	}
	if line, err := w.echo.ReadString('\n'); err != nil || line != "ping\n" {
		t.Fatalf("the container answered %q, %v", line, err)
	}
}

func (w *load) mustBeUnharmed(t *testing.T) {
	t.Helper()
	w.ping(t)
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.errors) > 0 {
		t.Errorf("%d errors, the first: %s", len(w.errors), w.errors[0])
	}
	t.Logf("%d requests without an error", w.requests.Load())
}

func TestANewCertificateDropsNoConnection(t *testing.T) {
	l := newLab(t)
	l.must("create", "--driver", "nspawn", "web")
	l.importBusybox("web")
	w := startLoad(t, l, "web")
	dockerd, container := l.ssh("web", "pgrep", "-x", "dockerd"), l.mustDocker("web", nil, "ps", "-q", "--no-trunc")
	before := l.servedCertificate("web").SerialNumber

	l.must("regenerate-certs", "-f", "web")
	after := l.servedCertificate("web").SerialNumber
	if after.Cmp(before) == 0 {
		t.Error("new connections still see the old certificate")
	}
	w.mustBeUnharmed(t)

	l.ssh("web", "systemctl", "kill", "-s", "KILL", "--kill-who=main", "mctl-agent")
	l.must("regenerate-certs", "-f", "web")
	if l.servedCertificate("web").SerialNumber.Cmp(after) == 0 {
		t.Error("after the agent was killed: new connections still see the old certificate")
	}
	w.mustBeUnharmed(t)
	if now := l.ssh("web", "pgrep", "-x", "dockerd"); now != dockerd {
		t.Errorf("dockerd was %s, is %s", dockerd, now)
	}
	if now := l.mustDocker("web", nil, "ps", "-q", "--no-trunc"); now != container {
		t.Errorf("the container was %s, is %s", container, now)
	}
}

func TestADifferentAddressAfterAStart(t *testing.T) {
	l := newLab(t)
	l.must("create", "--driver", "nspawn", "web")
	before := strings.TrimSpace(l.must("ip", "web"))
	l.must("stop", "web")
	if state := l.must("status", "web"); state != "Stopped\n" {
		t.Errorf("state %q", state)
	}
	if r := l.run("url", "web"); r.code != 1 || !strings.Contains(r.stderr, "Host is not running") {
		t.Errorf("url of a stopped machine: %s", r)
	}
	l.must("start", "web")
	after := strings.TrimSpace(l.must("ip", "web"))
	if after == before {
		t.Fatalf("the address is %s still", after)
	}
	for _, command := range []string{"ls", "url", "env", "config"} {
		output := l.must(append([]string{command}, map[string][]string{"url": {"web"}, "env": {"web"}, "config": {"web"}}[command]...)...)
		if !strings.Contains(output, after) || strings.Contains(output, before+":") {
			t.Errorf("%s does not follow to %s:\n%s", command, after, output)
		}
	}
	l.mustDocker("web", nil, "version")
	if certificate := l.servedCertificate("web"); certificate.VerifyHostname(after) != nil {
		t.Errorf("the certificate covers %v", certificate.IPAddresses)
	}
	if r := l.run("start", "web"); r.code != 1 || !strings.Contains(r.stderr, `Machine "web" is already running.`) {
		t.Errorf("start of a running machine: %s", r)
	}
}
