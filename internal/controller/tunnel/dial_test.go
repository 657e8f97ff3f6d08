package tunnel

import (
	"errors"
	"io"
	"net"
	"testing"

	"mctl/internal/fault"
	tunnelv1 "mctl/proto/mctl/tunnel/v1"
)

// dial opens a connection of the controller's own, and the machine's end of it.
func (w *world) dial() (net.Conn, hostEnd) {
	w.t.Helper()
	conn := w.relay.Dial(w.t.Context(), "web")
	w.t.Cleanup(func() { conn.Close() })
	h, err := w.host("u1", <-w.asked)
	if err != nil {
		w.t.Fatal(err)
	}
	return conn, h
}

func TestTheControllerTalksToAHostsEngineItself(t *testing.T) {
	w := newWorld(t)
	conn, h := w.dial()
	if f := h.order.GetWork().GetForward(); !f.GetDocker() || f.GetPort() != 2377 {
		t.Errorf("the host is told %v", f)
	}
	if _, err := conn.Write([]byte("question")); err != nil {
		t.Fatal(err)
	}
	message, err := h.Recv()
	if err != nil || string(message.GetFrame().GetData()) != "question" {
		t.Fatalf("%v, %v", message, err)
	}
	if err := h.say(data("answer")); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 6)
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != "answer" {
		t.Fatalf("%q, %v", got, err)
	}
	if err := h.say(&tunnelv1.Frame{Kind: &tunnelv1.Frame_Exit{Exit: &tunnelv1.Exit{}}}); err != nil {
		t.Fatal(err)
	}
	if n, err := conn.Read(got); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("at the end %d bytes and %v", n, err)
	}
}

func TestAConnectionThatIsClosedEndsItsTunnel(t *testing.T) {
	w := newWorld(t)
	conn, h := w.dial()
	conn.Close()
	for {
		if message, err := h.Recv(); err != nil {
			break
		} else if message.GetFrame().GetEnd() == nil {
			t.Errorf("the host is told %v", message)
		}
	}
}

func TestWhyThereIsNoTunnelIsWhatTheReaderIsTold(t *testing.T) {
	w := newWorld(t)
	w.deaf = true
	for machine, kind := range map[string]fault.Kind{"web": fault.Unavailable, "nosuch": fault.NotFound, "new": fault.Precondition} {
		conn := w.relay.Dial(t.Context(), machine)
		if _, err := conn.Read(make([]byte, 1)); !fault.Is(err, kind) {
			t.Errorf("%s: %v", machine, err)
		}
		conn.Close()
	}
}
