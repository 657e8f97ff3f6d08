package forward_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"mctl/internal/fault"
	"mctl/internal/mctl/cli"
	"mctl/internal/mctl/controllertest"
	"mctl/internal/mctl/forward"
	"mctl/internal/mctl/hosttest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// said takes what a command says, line by line.
type said struct {
	mu    sync.Mutex
	text  bytes.Buffer
	lines chan string
}

func (s *said) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.text.Write(p)
	for {
		line, err := s.text.ReadString('\n')
		if err != nil {
			s.text.WriteString(line)
			return len(p), nil
		}
		s.lines <- strings.TrimSuffix(line, "\n")
	}
}

// run runs `mctl forward` until the test ends; stop ends it earlier and returns its error.
func run(t *testing.T, c *controllertest.Controller, args ...string) (out, complaints chan string, stop func() error) {
	t.Helper()
	env := c.Env()
	o, e := &said{lines: make(chan string, 100)}, &said{lines: make(chan string, 100)}
	env.Out, env.Err = o, e
	command := forward.Commands(env)[0]
	command.SetArgs(args)
	command.SilenceErrors, command.SilenceUsage = true, true
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- command.ExecuteContext(ctx) }()
	stop = sync.OnceValue(func() error { cancel(); return <-ended })
	t.Cleanup(func() { _ = stop() })
	return o.lines, e.lines, stop
}

// take waits for a line.
func take(t *testing.T, lines chan string) string {
	t.Helper()
	select {
	case line := <-lines:
		return line
	case <-time.After(10 * time.Second):
		t.Fatal("nothing is said")
	}
	return ""
}

func TestAPortIsForwardedUntilItIsInterrupted(t *testing.T) {
	c := controllertest.New(t)
	c.Put(controllertest.Running("web", "192.0.2.1"))
	c.Tunnel = hosttest.Host{}.Serve
	echo, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer echo.Close()
	go func() {
		for {
			conn, err := echo.Accept()
			if err != nil {
				return
			}
			text, _ := io.ReadAll(conn)
			_, _ = conn.Write(bytes.ToUpper(text))
			conn.Close()
		}
	}()
	_, port, _ := net.SplitHostPort(echo.Addr().String())
	out, complaints, stop := run(t, c, "web", "0:"+port, "0:1")
	first, second := strings.Fields(take(t, out)), strings.Fields(take(t, out))
	for range 3 {
		conn, err := net.Dial("tcp", first[1])
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write([]byte("half-close")); err != nil {
			t.Fatal(err)
		}
		if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if text, err := io.ReadAll(conn); err != nil || string(text) != "HALF-CLOSE" {
			t.Errorf("%q, %v", text, err)
		}
		conn.Close()
	}
	conn, err := net.Dial("tcp", second[1])
	if err == nil { // it may be reset before it was told that it is there
		_, err = conn.Read(make([]byte, 1))
		conn.Close()
	}
	if err == nil {
		t.Error("somebody answers")
	}
	if line := take(t, complaints); line != "web: nobody listens on port 1 of the host" {
		t.Errorf("told %q", line)
	}
	var exit cli.Exit
	if err := stop(); !errors.As(err, &exit) || exit.Code != cli.ExitInterrupted {
		t.Errorf("%v", err)
	}
	if conn, err := net.Dial("tcp", first[1]); err == nil {
		conn.Close()
		t.Error("it still listens")
	}
}

func TestPortsThatAreNoneAreRefused(t *testing.T) {
	c := controllertest.New(t)
	c.Put(controllertest.Running("web", "192.0.2.1"))
	for _, args := range [][]string{{"web"}, {"web", "x:1"}, {"web", "1:0"}, {"web", "1:65536"}, {"web", "1:2:3"}, {"web", "-1:2"}, {}} {
		_, _, stop := run(t, c, append(args, "--docker=false")...)
		if err := stop(); err == nil || errors.Is(err, context.Canceled) || fault.HintOf(err) == "" && !strings.Contains(err.Error(), "shorthand") {
			t.Errorf("%q: %v", args, err)
		}
	}
}

func TestDockerIsServedAtASocketOfTheCallersOwn(t *testing.T) {
	c := controllertest.New(t)
	m := controllertest.Running("web", "192.0.2.1") // which nobody can reach
	c.Put(m)
	url := c.Authority().Engine(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "hello "+r.TLS.PeerCertificates[0].Subject.CommonName)
	})
	port, _ := strconv.Atoi(url[strings.LastIndexByte(url, ':')+1:])
	c.Tunnel = hosttest.Host{Docker: uint32(port)}.Serve
	out, _, _ := run(t, c, "--docker", "web")
	path := strings.TrimPrefix(strings.Fields(take(t, out))[1], "unix://")
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 || len(path) > 90 {
		t.Errorf("%s: %v, %v", path, info, err)
	}
	ask := func() (int, string) {
		t.Helper()
		conn, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := io.WriteString(conn, "GET /_ping HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		response, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		text, _ := io.ReadAll(response.Body)
		return response.StatusCode, string(text)
	}
	if code, text := ask(); code != 200 || text != "hello client" {
		t.Errorf("%d %q", code, text)
	}
	before := c.Calls()
	conn, err := net.Dial("unix", path) // who says nothing costs nothing
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	// The authority is another one now: certificates are replaced without a word.
	c.Use(controllertest.NewAuthority(t))
	url = c.Authority().Engine(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "anew") })
	port, _ = strconv.Atoi(url[strings.LastIndexByte(url, ':')+1:])
	c.Tunnel = hosttest.Host{Docker: uint32(port)}.Serve
	if code, text := ask(); code != 200 || text != "anew" {
		t.Errorf("%d %q, calls before %v", code, text, before)
	}
	c.Remove("web")
	c.Tunnel = hosttest.Host{}.Serve // port 0: nobody
	code, text := ask()
	var told struct{ Message string }
	if err := json.Unmarshal([]byte(text), &told); code != http.StatusServiceUnavailable || err != nil || !strings.Contains(told.Message, "nobody listens") {
		t.Errorf("%d %q, %v", code, text, err)
	}
}

func TestTheSocketComesBackWhenItsFileIsTidiedAway(t *testing.T) {
	c := controllertest.New(t)
	c.Put(controllertest.Running("web", "192.0.2.1"))
	c.Tunnel = hosttest.Host{}.Serve
	out, _, stop := run(t, c, "--docker", "web")
	path := strings.TrimPrefix(strings.Fields(take(t, out))[1], "unix://")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	ticker, limit := time.NewTicker(20*time.Millisecond), time.After(10*time.Second)
	defer ticker.Stop()
	for {
		if conn, err := net.Dial("unix", path); err == nil {
			conn.Close()
			break
		}
		select {
		case <-ticker.C:
		case <-limit:
			t.Fatal("it does not come back")
		}
	}
	_ = stop()
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file outlives its process: %v", err)
	}
}
