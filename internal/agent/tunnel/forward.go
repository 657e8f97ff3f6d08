package tunnel

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"time"

	"mctl/internal/fault"
	tunnelv1 "mctl/proto/mctl/tunnel/v1"
)

const dialLimit = 5 * time.Second

// forward connects the tunnel to a port of the host's loopback address. The end of one direction is passed on as a half-close
// and the other goes on.
func (s *Server) forward(c *channel, port uint16) error {
	conn, err := dialLoopback(c.ctx, port)
	if err != nil {
		return err
	}
	defer conn.Close()
	unhook := context.AfterFunc(c.ctx, func() { conn.Close() })
	defer unhook()
	if err := c.opened(); err != nil {
		c.end()
	}
	ended := make(chan struct{})
	c.listen(input{data: conn, closed: sync.OnceFunc(func() { _ = conn.CloseWrite(); close(ended) })})
	if errors.Is(c.pump(conn, output), io.EOF) {
		_ = c.send(&tunnelv1.Frame{Kind: &tunnelv1.Frame_End{End: &tunnelv1.End{}}})
		select {
		case <-ended:
		case <-c.ctx.Done():
		}
	}
	c.exit(0, "")
	return nil
}

func dialLoopback(ctx context.Context, port uint16) (*net.TCPConn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialLimit)
	defer cancel()
	var d net.Dialer
	var failed error
	for _, address := range []string{"127.0.0.1", "::1"} {
		conn, err := d.DialContext(ctx, "tcp", net.JoinHostPort(address, strconv.Itoa(int(port))))
		if err == nil {
			return conn.(*net.TCPConn), nil
		}
		failed = errors.Join(failed, err)
	}
	if ctx.Err() != nil {
		return nil, fault.E("tunnel.forward", fault.Unavailable, "", fmt.Errorf("port %d of the host does not accept connections", port))
	}
	return nil, fault.E("tunnel.forward", fault.Unavailable, "", fmt.Errorf("nobody listens on port %d of the host", port)).
		WithHint("only what listens on the host's loopback address or on all of its addresses can be reached")
}
