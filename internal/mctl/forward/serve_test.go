package forward

import (
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"

	"mctl/internal/mctl/controllertest"
)

// short is a listener of a process that has no descriptor left for its first connection.
type short struct {
	net.Listener
	conns []net.Conn
	tries int
}

func (s *short) Accept() (net.Conn, error) {
	if s.tries++; s.tries == 1 {
		return nil, &net.OpError{Op: "accept", Err: syscall.EMFILE}
	}
	if len(s.conns) == 0 {
		return nil, net.ErrClosed
	}
	conn := s.conns[0]
	s.conns = s.conns[1:]
	return conn, nil
}

func TestAPortIsServedOnAfterAConnectionThatCouldNotBeTaken(t *testing.T) {
	c := controllertest.New(t)
	env := c.Env()
	var complaints strings.Builder
	env.Err = &complaints
	client, err := env.Client(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	caller, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer caller.Close()
	taken, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	f := forwarder{env: env, client: client, machine: "nobody"}
	f.serve(t.Context(), &short{conns: []net.Conn{taken}}, 80)
	f.group.Wait()
	if _, err := caller.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) || !strings.Contains(complaints.String(), "nobody") {
		t.Errorf("%v, told %q", err, complaints.String())
	}
}
