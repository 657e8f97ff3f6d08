package tunnel

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"time"

	"mctl/internal/frame"
	"mctl/internal/mctl/dial"
	tunnelv1 "mctl/proto/mctl/tunnel/v1"
)

// Conn is a connection to the host's loopback address. It implements net.Conn without deadlines. The ends of both directions
// are apart.
type Conn struct {
	tunnel *Tunnel
	name   string
	rest   []byte
	end    error
}

// errReset says that the host's connection did not end in peace.
var errReset = errors.New("the host ended the connection")

// Dial connects to a port of the host's loopback address, or to where it serves Docker. A port that nobody serves is
// fault.Unavailable. The connection ends with ctx.
func Dial(ctx context.Context, client *dial.Client, machine string, to *tunnelv1.Forward) (*Conn, error) {
	t, err := Open(ctx, client, machine, &tunnelv1.Work{What: &tunnelv1.Work_Forward{Forward: to}})
	if err != nil {
		return nil, err
	}
	return &Conn{tunnel: t, name: machine}, nil
}

// Read implements net.Conn.
func (c *Conn) Read(p []byte) (int, error) {
	for len(c.rest) == 0 {
		if c.end != nil {
			return 0, c.end
		}
		said, err := c.tunnel.Recv()
		if err != nil {
			c.end = err
			return 0, err
		}
		switch kind := said.GetKind().(type) {
		case *tunnelv1.Frame_Data:
			c.rest = kind.Data
		case *tunnelv1.Frame_End:
			c.end = io.EOF
		case *tunnelv1.Frame_Exit:
			c.end = errReset
		}
	}
	n := copy(p, c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

// Write implements net.Conn.
func (c *Conn) Write(p []byte) (int, error) {
	n, err := c.tunnel.Write(p)
	if errors.Is(err, io.EOF) {
		err = errReset
	}
	return n, err
}

// CloseWrite says that no more will be written.
func (c *Conn) CloseWrite() error { return c.tunnel.End() }

// Close implements net.Conn.
func (c *Conn) Close() error {
	c.tunnel.Close()
	return nil
}

// LocalAddr implements net.Conn.
func (c *Conn) LocalAddr() net.Addr { return address("mctl") }

// RemoteAddr implements net.Conn.
func (c *Conn) RemoteAddr() net.Addr { return address(c.name) }

// SetDeadline implements net.Conn; there are none.
func (*Conn) SetDeadline(time.Time) error { return os.ErrNoDeadline }

// SetReadDeadline implements net.Conn; there are none.
func (*Conn) SetReadDeadline(time.Time) error { return os.ErrNoDeadline }

// SetWriteDeadline implements net.Conn; there are none.
func (*Conn) SetWriteDeadline(time.Time) error { return os.ErrNoDeadline }

type address string

func (address) Network() string  { return "tunnel" }
func (a address) String() string { return string(a) }

// duplex is a connection whose directions end apart.
type duplex interface {
	io.ReadWriteCloser
	CloseWrite() error
}

// Splice copies bytes both ways until both directions have ended, or one has failed, and closes both ends.
func Splice(a, b duplex) {
	over := make(chan struct{})
	go func() {
		defer close(over)
		pass(a, b)
	}()
	pass(b, a)
	<-over
	_ = a.Close()
	_ = b.Close()
}

// pass copies one way. An end is passed on as such; a failure ends all.
func pass(dst, src duplex) {
	_, err := io.CopyBuffer(onlyWriter{dst}, onlyReader{src}, make([]byte, frame.MaxData))
	if err == nil {
		err = dst.CloseWrite()
	}
	if err != nil {
		_ = dst.Close()
		_ = src.Close()
	}
}

// onlyWriter and onlyReader hide methods that would take buffers of their own.
type onlyWriter struct{ io.Writer }
type onlyReader struct{ io.Reader }
