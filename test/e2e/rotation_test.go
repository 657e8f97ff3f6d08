package e2e

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// load keeps a machine's engine busy: a stream of events, a container that echoes, ten new connections a second, and one
// connection that is used all the time.
type load struct {
	lab      *lab
	name     string
	wait     sync.WaitGroup
	began    time.Time
	requests atomic.Int64 // on new connections
	reuses   atomic.Int64 // of the one
	events   chan string
	marks    int
	stdin    io.WriteCloser
	echo     *bufio.Reader

	mu     sync.Mutex
	errors []string
}

func startLoad(t *testing.T, l *lab, name string) *load {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	w := &load{lab: l, name: name, began: time.Now(), events: make(chan string, 1000)}
	environment := l.environment(l.dockerEnv(name)...)
	t.Cleanup(func() {
		cancel()
		w.wait.Wait()
	})
	start := func(args ...string) (io.WriteCloser, *bufio.Reader) {
		command := exec.CommandContext(ctx, "docker", args...)
		command.Env = environment
		stdin, err := command.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		stdout, err := command.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := command.Start(); err != nil {
			t.Fatal(err)
		}
		w.wait.Go(func() {
			if err := command.Wait(); ctx.Err() == nil {
				w.fail("docker %s ended: %v", args[0], err)
			}
		})
		return stdin, bufio.NewReader(stdout)
	}
	_, events := start("events")
	w.wait.Go(func() {
		for {
			line, err := events.ReadString('\n')
			if err != nil {
				return
			}
			select {
			case w.events <- line:
			case <-ctx.Done():
				return
			}
		}
	})
	w.stdin, w.echo = start("run", "-i", "--rm", "--name", "echo", "busybox", "cat")

	url := "https://" + strings.TrimPrefix(strings.TrimSpace(l.must("url", name)), "tcp://") + "/_ping"
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
			w.wait.Go(func() {
				client := http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{TLSClientConfig: config.Clone(), DisableKeepAlives: true}}
				if w.get(ctx, &client, url) {
					w.requests.Add(1)
				}
			})
		}
	})
	w.wait.Go(func() {
		transport := &http.Transport{TLSClientConfig: config.Clone()}
		defer transport.CloseIdleConnections()
		client, connections := http.Client{Timeout: 20 * time.Second, Transport: transport}, 0
		traced := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) {
			if !info.Reused {
				connections++
			}
		}})
		ticker := time.NewTicker(20 * time.Millisecond)
		defer ticker.Stop()
		for ctx.Err() == nil && connections <= 1 {
			if w.get(traced, &client, url) {
				w.reuses.Add(1)
			}
			<-ticker.C
		}
		if connections > 1 {
			w.fail("the connection that was kept was dropped")
		}
	})
	w.mustBeUnharmed(t)
	return w
}

func (w *load) get(ctx context.Context, client *http.Client, url string) bool {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		w.fail("%v", err)
		return false
	}
	response, err := client.Do(request)
	if err == nil {
		_, err = io.Copy(io.Discard, response.Body)
		response.Body.Close()
	}
	switch {
	case ctx.Err() != nil:
		return false
	case err != nil:
		w.fail("request: %v", err)
		return false
	case response.StatusCode != http.StatusOK:
		w.fail("request: %s", response.Status)
		return false
	}
	return true
}

func (w *load) fail(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.errors = append(w.errors, fmt.Sprintf(format, args...))
}

// mustBeUnharmed sees the container echo, the stream of events tell what happens now, and ten more requests of each kind
// answered, all without an error since the beginning.
func (w *load) mustBeUnharmed(t *testing.T) {
	t.Helper()
	if _, err := io.WriteString(w.stdin, "ping\n"); err != nil {
		t.Fatalf("the container's standard input: %v", err)
	}
	if line, err := w.echo.ReadString('\n'); err != nil || line != "ping\n" {
		t.Fatalf("the container answered %q, %v", line, err)
	}
	w.marks++
	mark := fmt.Sprintf("mark:%d", w.marks)
	w.lab.within(t).mustDocker(w.name, nil, "tag", "busybox", mark)
	limit := time.NewTimer(10 * time.Second)
	defer limit.Stop()
	for told := false; !told; {
		select {
		case line := <-w.events:
			told = strings.Contains(line, mark)
		case <-limit.C:
			t.Fatalf("docker events does not tell of %s", mark)
		}
	}
	requests, reuses := w.requests.Load(), w.reuses.Load()
	eventually(t, 30*time.Second, "ten more requests", func() bool { return w.requests.Load() >= requests+10 && w.reuses.Load() >= reuses+10 })
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.errors) > 0 {
		t.Fatalf("%d errors, the first: %s", len(w.errors), w.errors[0])
	}
	took := time.Since(w.began)
	t.Logf("in %.1f s %d new connections, %.1f a second, and %d requests on one, without an error", took.Seconds(), w.requests.Load(),
		float64(w.requests.Load())/took.Seconds(), w.reuses.Load())
}

func TestANewCertificateDropsNoConnection(t *testing.T) {
	l := newLab(t)
	l.create("web")
	l.importBusybox("web")
	w := startLoad(t, l, "web")
	engine := func() string {
		return l.ssh("web", "pgrep", "-x", "dockerd") + " " + l.mustDocker("web", nil, "inspect", "-f", "{{.Id}} {{.State.Pid}} {{.State.StartedAt}}", "echo")
	}
	same, serials := engine(), map[string]bool{l.servedCertificate("web").SerialNumber.String(): true}
	rotated := func(t *testing.T) {
		t.Helper()
		if serial := l.servedCertificate("web").SerialNumber.String(); serials[serial] {
			t.Error("new connections still see an old certificate")
		} else {
			serials[serial] = true
		}
		w.mustBeUnharmed(t)
		if now := engine(); now != same {
			t.Errorf("dockerd and container were %s, are %s", same, now)
		}
	}
	t.Run("regenerate-certs", func(t *testing.T) {
		l.within(t).must("regenerate-certs", "-f", "web")
		rotated(t)
	})
	t.Run("regenerate-certs right after kill -9 of the agent", func(t *testing.T) {
		l := l.within(t)
		l.ssh("web", "systemctl", "kill", "-s", "KILL", "--kill-who=main", "mctl-agent")
		l.must("regenerate-certs", "-f", "web")
		rotated(t)
	})
	t.Run("kill -9 of the agent during regenerate-certs", func(t *testing.T) {
		l := l.within(t)
		killed := make(chan result)
		go func() {
			killed <- l.run("ssh", "--via", "direct", "web", "for i in 1 2 3 4 5 6 7 8; do systemctl kill -s KILL --kill-who=main mctl-agent; sleep 0.2; done")
		}()
		l.must("regenerate-certs", "-f", "web")
		if r := <-killed; r.code != 0 {
			t.Fatal(r)
		}
		rotated(t)
	})
}

func TestADifferentAddressAfterAStart(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.create("web")
	before := strings.TrimSpace(l.must("ip", "web"))
	pinned := before[:strings.LastIndexByte(before, '.')] + ".200"
	l.create("--nspawn-ip", pinned, "--nspawn-memory", "512", "small")
	l.must("stop", "web", "small")
	if state := l.must("status", "web"); state != "Stopped\n" {
		t.Errorf("state %q", state)
	}
	if r := l.run("url", "web"); r.code != 1 || !strings.Contains(r.stderr, "Host is not running") {
		t.Errorf("url of a stopped machine: %s", r)
	}
	l.must("start", "web", "small")
	after := strings.TrimSpace(l.must("ip", "web"))
	if after == before {
		t.Fatalf("the address is %s still", after)
	}
	for _, command := range [][]string{{"ls"}, {"url", "web"}, {"env", "web"}, {"config", "web"}, {"inspect", "web"}} {
		output := l.must(command...)
		if !strings.Contains(output, after) || strings.Contains(output, before+":") {
			t.Errorf("%v does not follow to %s:\n%s", command, after, output)
		}
	}
	l.mustDocker("web", nil, "version")
	if certificate := l.servedCertificate("web"); certificate.VerifyHostname(after) != nil {
		t.Errorf("the certificate covers %v", certificate.IPAddresses)
	}
	if r := l.run("start", "web"); r.code != 1 || !strings.Contains(r.stderr, `Machine "web" is already running.`) {
		t.Errorf("start of a running machine: %s", r)
	}

	if now := strings.TrimSpace(l.must("ip", "small")); now != pinned {
		t.Errorf("pinned at %s, it has %s", pinned, now)
	}
	l.mustDocker("small", nil, "version")
	held := func(bytes string) string {
		return strings.TrimSpace(l.run("ssh", "small", "head -c "+bytes+" /dev/zero | tail -c "+bytes+" | wc -c").stdout)
	}
	if got := held("600000000"); got == "600000000" {
		t.Error("600 MB were held in a host of 512 MB")
	}
	if restarts := l.ssh("small", "systemctl show --property NRestarts --value mctl-agent"); restarts != "0" {
		t.Errorf("the agent that ran it was restarted %s times", restarts)
	}
	if got := held("100000000"); got != "100000000" {
		t.Errorf("of 100 MB were held %s in a host of 512 MB", got)
	}
}
