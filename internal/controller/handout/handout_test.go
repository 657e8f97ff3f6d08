package handout

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type agents struct{ size int }

func (a agents) Agent(arch string) (string, []byte, error) {
	if arch != "amd64" {
		return "", nil, errors.New("not built")
	}
	return "digest", []byte(strings.Repeat("x", a.size)), nil
}

// world is a server and clients over pipes.
type world struct {
	t      *testing.T
	server *Server
	stop   func()
}

func newWorld(t *testing.T, a agents) *world {
	t.Helper()
	w := &world{t: t, server: New(a, hclog.NewNullLogger())}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.server.Run(ctx) }()
	var once sync.Once
	w.stop = func() {
		once.Do(func() {
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	}
	t.Cleanup(w.stop)
	return w
}

// client is somebody who makes one connection for each request.
func (w *world) client() *http.Client { return w.clientFrom("192.0.2.1") }

func (w *world) clientFrom(address string) *http.Client {
	return &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(context.Context, string, string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		go w.server.Take(pretended{theirs, address})
		return ours, nil
	}}}
}

// pretended is a connection from an address.
type pretended struct {
	net.Conn
	from string
}

func (p pretended) RemoteAddr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(p.from), 4711))
}

func (w *world) get(path string) (int, string) {
	w.t.Helper()
	response, err := w.client().Get("http://controller" + path)
	if err != nil {
		w.t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return response.StatusCode, string(body)
}

func TestAgentsAreGivenAndNothingElse(t *testing.T) {
	w := newWorld(t, agents{size: 1 << 20})
	if code, body := w.get("/agent/linux-amd64.gz"); code != http.StatusOK || len(body) != 1<<20 {
		t.Errorf("the agent: %d, %d bytes", code, len(body))
	}
	for _, path := range []string{"/", "/agent/", "/agent/linux-arm64.gz", "/agent/linux-amd64", "/agent/../store.db", "/agent/linux-mips.gz"} {
		if code, body := w.get(path); code != http.StatusNotFound {
			t.Errorf("%s: %d, %q", path, code, body)
		}
	}
	response, err := w.client().Post("http://controller/agent/linux-amd64.gz", "text/plain", strings.NewReader("x"))
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("a write: %d", response.StatusCode)
	}
}

func TestNobodyTakesAllDownloadsFromOthers(t *testing.T) {
	w := newWorld(t, agents{size: 1 << 20})
	ask := func(from string) (*http.Response, bool) {
		t.Helper()
		response, err := w.clientFrom(from).Get("http://controller/agent/linux-amd64.gz")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { response.Body.Close() })
		if response.StatusCode == http.StatusOK {
			return response, true // who reads nothing takes a place
		}
		if response.StatusCode != http.StatusServiceUnavailable || response.Header.Get("Retry-After") == "" {
			t.Errorf("%d, %v", response.StatusCode, response.Header)
		}
		return response, false
	}
	first, _ := ask("192.0.2.1")
	for range mostOfOrigin - 1 {
		if _, given := ask("192.0.2.1"); !given {
			t.Fatal("one address has less than its share")
		}
	}
	if _, given := ask("192.0.2.1"); given {
		t.Fatal("one address has more than its share")
	}
	for n := range maxDownloads - mostOfOrigin {
		if _, given := ask(fmt.Sprintf("192.0.2.%d", 2+n)); !given {
			t.Fatalf("download %d is refused", n)
		}
	}
	if _, given := ask("192.0.2.200"); given {
		t.Error("there is no end")
	}
	first.Body.Close()
	ticker, limit := time.NewTicker(10*time.Millisecond), time.After(10*time.Second)
	defer ticker.Stop()
	for {
		if _, given := ask("192.0.2.1"); given {
			return
		}
		select {
		case <-ticker.C:
		case <-limit:
			t.Fatal("a place is not given back")
		}
	}
}

func TestTheOldestConnectionGoesOfWhoeverHasTheMost(t *testing.T) {
	s := New(agents{}, hclog.NewNullLogger())
	taken := make(chan struct{})
	go func() { // nobody serves: connections stay
		for range maxConnections + 1 {
			<-s.conns
		}
		close(taken)
	}()
	var many, one net.Conn
	for n := range maxConnections + 1 {
		from := "192.0.2.1"
		if n == 0 {
			from = "192.0.2.2"
		}
		ours, theirs := net.Pipe()
		t.Cleanup(func() { ours.Close(); theirs.Close() })
		s.Take(pretended{theirs, from})
		switch n {
		case 0:
			one = ours
		case 1:
			many = ours
		}
	}
	<-taken
	if _, err := many.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("the oldest of many: %v", err)
	}
	_ = one.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if _, err := one.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("another's: %v", err)
	}
}

func TestAConnectionAfterTheEndIsClosed(t *testing.T) {
	w := newWorld(t, agents{})
	w.stop()
	ours, theirs := net.Pipe()
	w.server.Take(theirs)
	if _, err := ours.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("it is open: %v", err)
	}
	ours.Close()
}
