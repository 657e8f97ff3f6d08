package wire

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/rpc"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// RPCServerDriver answers as little as a plugin can.
type RPCServerDriver struct{ version int }

func (d *RPCServerDriver) GetVersion(_ *struct{}, version *int) error {
	*version = d.version
	return nil
}

func (*RPCServerDriver) Create(_, _ *struct{}) error { return errors.New("no room\nat all") }

func (*RPCServerDriver) GetIP(_ *struct{}, text *string) error {
	*text = strings.Repeat("x", maxReceived+1)
	return nil
}

// GetURL answers with as much as a config may be at most.
func (*RPCServerDriver) GetURL(_ *struct{}, text *string) error {
	*text = strings.Repeat("x", maxReceived/2)
	return nil
}

// GetSSHPort answers with another type than it should.
func (*RPCServerDriver) GetSSHPort(_ *struct{}, text *string) error { *text = "22"; return nil }

// serve returns the address of a server of the protocol.
func serve(t *testing.T, version int) string {
	t.Helper()
	server := rpc.NewServer()
	if err := server.Register(&RPCServerDriver{version}); err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewUnstartedServer(server)
	web.Listener.Close()
	web.Listener = listener
	web.Start()
	t.Cleanup(web.Close)
	return listener.Addr().String()
}

func TestOneThatSpeaksTheProtocolIsAsked(t *testing.T) {
	c, err := Dial(t.Context(), serve(t, 1))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var answer DriverError
	if err := c.Do(t.Context(), "Create"); !errors.As(err, &answer) || answer != "no room\nat all" {
		t.Errorf("the driver's own error: %v", err)
	}
	if err := c.Do(t.Context(), "Upgrade"); !errors.As(err, &answer) || !strings.Contains(string(answer), "can't find method") {
		t.Errorf("a method that is not served: %v", err)
	}
}

func TestWhatOneAnswerMayBeTheNextMayBeToo(t *testing.T) {
	c, err := Dial(t.Context(), serve(t, 1))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for range 4 {
		if text, err := c.Text(t.Context(), "GetURL"); err != nil || len(text) != maxReceived/2 {
			t.Fatalf("%d bytes, %v", len(text), err)
		}
	}
	if _, err := c.Text(t.Context(), "GetIP"); err == nil || !strings.Contains(err.Error(), "it sent more than 16 MiB") {
		t.Errorf("more than that: %v", err)
	}
}

func TestAnAnswerThatCannotBeReadEndsTheConnection(t *testing.T) {
	for name, ask := range map[string]func(*Client) error{
		"another type": func(c *Client) error { _, err := c.SSHPort(t.Context()); return err },
		"too much":     func(c *Client) error { _, err := c.Text(t.Context(), "GetIP"); return err },
	} {
		c, err := Dial(t.Context(), serve(t, 1))
		if err != nil {
			t.Fatal(err)
		}
		if err := ask(c); !errors.Is(err, ErrNoPlugin) {
			t.Errorf("%s: %v", name, err)
		}
		if err := c.Do(t.Context(), "Create"); !errors.Is(err, ErrGone) && !errors.Is(err, ErrNoPlugin) {
			t.Errorf("after %s: %v", name, err)
		}
		c.Close()
	}
}

func TestWhatDoesNotSpeakTheProtocolIsSaid(t *testing.T) {
	web := httptest.NewServer(http.NotFoundHandler())
	defer web.Close()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	free.Close()
	for address, want := range map[string]error{
		serve(t, 2): ErrVersion, web.Listener.Addr().String(): ErrNoPlugin, free.Addr().String(): ErrNoPlugin,
		"192.0.2.1:80": ErrNoPlugin, "localhost:80": ErrNoPlugin, "127.0.0.1:0": ErrNoPlugin, "": ErrNoPlugin, "Usage: x": ErrNoPlugin,
	} {
		if _, err := Dial(t.Context(), address); !errors.Is(err, want) {
			t.Errorf("%q: %v, want %v", address, err, want)
		}
	}
}

// due is a context whose deadline has come, and that has not said so yet.
type due struct{ context.Context }

func (due) Deadline() (time.Time, bool) { return time.Now().Add(-time.Millisecond), true }

func TestADialThatIsCutShortSaysNothingOfThePlugin(t *testing.T) {
	if _, err := Dial(due{t.Context()}, serve(t, 1)); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ErrNoPlugin) {
		t.Errorf("%v", err)
	}
}

func TestOneThatIsSilentIsLeftWhenTheContextEnds(t *testing.T) {
	deaf, err := net.Listen("tcp", "127.0.0.1:0") // the kernel takes the connection, and nobody answers
	if err != nil {
		t.Fatal(err)
	}
	defer deaf.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := Dial(ctx, deaf.Addr().String()); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
}
