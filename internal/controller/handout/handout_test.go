package handout

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

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
func (w *world) client() *http.Client {
	return &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(context.Context, string, string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		go w.server.Take(theirs)
		return ours, nil
	}}}
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

func TestStrangersGetFewDownloadsAndFewConnections(t *testing.T) {
	w := newWorld(t, agents{size: 1 << 20})
	var slow []*http.Response // who reads nothing takes a place
	for range maxDownloads {
		response, err := w.client().Get("http://controller/agent/linux-amd64.gz")
		if err != nil {
			t.Fatal(err)
		}
		slow = append(slow, response)
	}
	response, err := w.client().Get("http://controller/agent/linux-amd64.gz")
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusServiceUnavailable || response.Header.Get("Retry-After") == "" {
		t.Errorf("one more: %d, %v", response.StatusCode, response.Header)
	}
	for _, r := range slow {
		r.Body.Close()
	}
	w.stop()

	full := New(agents{}, hclog.NewNullLogger()) // nobody serves: connections stay
	for range maxConnections {
		full.open <- struct{}{}
	}
	ours, theirs := net.Pipe()
	full.Take(theirs)
	if _, err := ours.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("one connection too many: %v", err)
	}
	ours.Close()
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
	if len(w.server.open) != 0 {
		t.Error("it takes a place")
	}
}
