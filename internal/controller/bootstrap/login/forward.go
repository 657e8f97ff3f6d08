package login

import (
	"context"
	"fmt"
	"net"

	"mctl/internal/fault"
)

// ListenUnix has the host's sshd listen on a unix socket, which it makes as the user that is logged in, and forward what
// connects there to us. fault.Precondition when it refuses. The listener ends with the connection.
func (c *Connection) ListenUnix(path string) (net.Listener, error) {
	listener, err := c.client.ListenUnix(path)
	if err != nil {
		return nil, c.unforwarded(err)
	}
	return listener, nil
}

// ListenLoopback has the host's sshd listen on a free TCP port of its loopback address, and forward what connects there to
// us. fault.Precondition when it refuses. The listener ends with the connection.
func (c *Connection) ListenLoopback() (listener net.Listener, port uint16, err error) {
	listener, err = c.client.Listen("tcp", net.JoinHostPort(net.IPv4(127, 0, 0, 1).String(), "0"))
	if err != nil {
		return nil, 0, c.unforwarded(err)
	}
	address, ok := listener.Addr().(*net.TCPAddr)
	if !ok || address.Port <= 0 || address.Port > 65535 {
		listener.Close()
		return nil, 0, c.unforwarded(fmt.Errorf("it says that it listens at %s", Clean(listener.Addr().String())))
	}
	return listener, uint16(address.Port), nil
}

// unforwarded is the fault of a forwarding that was not granted.
func (c *Connection) unforwarded(err error) error {
	if context.Cause(c.ctx) != nil {
		return c.broken(err)
	}
	return fault.E("login.forward", fault.Precondition, c.Machine, fmt.Errorf("the SSH server at %s forwards nothing to us: %s", c.Address, Clean(err.Error()))).
		WithHint("allow it in the host's sshd_config: AllowStreamLocalForwarding yes, or AllowTcpForwarding yes")
}

// Ended is closed when the connection is over.
func (c *Connection) Ended() <-chan struct{} { return c.ctx.Done() }

// Err tells why the connection is over; fault.Unavailable.
func (c *Connection) Err() error { return c.broken(context.Canceled) }
