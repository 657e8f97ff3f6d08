// Package wire is the client's side of docker-machine's plugin protocol: Go's net/rpc over HTTP on a loopback port, with gob.
// It knows methods, types and the names that they have on the wire, and nothing of processes or machines.
package wire

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/rpc"
	"strings"
	"sync/atomic"
	"time"
)

// Version is the version of the protocol that is spoken.
const Version = 1

const (
	// dialLimit bounds the way to a port of this computer, and the greeting.
	dialLimit = 10 * time.Second
	// maxReceived bounds what a plugin may say until it is asked the next time: a config and some flags are kilobytes.
	maxReceived = 16 << 20
	service     = "RPCServerDriver"
	oldService  = "RpcServerDriver" // before docker-machine 0.5.1
	heartbeat   = "Heartbeat"
)

// Errors that say whose fault it is. Anything else that a method returns is the driver's own text.
var (
	// ErrNoPlugin is returned for something that does not speak the protocol.
	ErrNoPlugin = errors.New("it does not speak docker-machine's plugin protocol")
	// ErrVersion is returned for another version of it.
	ErrVersion = errors.New("it speaks another version of docker-machine's plugin protocol")
	// ErrGone is returned when the plugin ended or hung up before it answered.
	ErrGone = errors.New("it ended before it answered")
)

var errTooMuch = errors.New("too much was received")

// DriverError is what the plugin's driver answered instead of a result: text from outside.
type DriverError string

// Error returns the text as it came.
func (e DriverError) Error() string { return string(e) }

// Client is one connection to a plugin. It is safe for use at the same time. Close it.
type Client struct {
	client  *rpc.Client
	conn    *bounded
	service string
}

// Dial connects to a plugin at host:port of this computer and asks for its version: ErrNoPlugin, ErrVersion, or ctx's error.
func Dial(ctx context.Context, address string) (*Client, error) {
	register()
	bounded, cancel := context.WithTimeout(ctx, dialLimit)
	defer cancel()
	c, err := dial(bounded, address)
	if reason := over(ctx); err != nil && reason != nil {
		return nil, reason
	}
	return c, err
}

// over is why a context has ended, or ends right now: a dialer gives up at its deadline, a moment before the context says so.
func over(ctx context.Context) error {
	if deadline, ok := ctx.Deadline(); ok && !time.Now().Before(deadline) {
		return context.DeadlineExceeded
	}
	return ctx.Err()
}

func dial(ctx context.Context, address string) (*Client, error) {
	if end, err := netip.ParseAddrPort(address); err != nil || !end.Addr().IsLoopback() || end.Port() == 0 {
		return nil, fmt.Errorf("%w: it named no port of this computer", ErrNoPlugin)
	}
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("%w: nobody listens at the port that it named", ErrNoPlugin)
	}
	// The greeting has no context of its own.
	hangUp := context.AfterFunc(ctx, func() { conn.Close() })
	if err := greet(conn); err != nil || !hangUp() {
		conn.Close()
		return nil, fmt.Errorf("%w: it did not answer the greeting", ErrNoPlugin)
	}
	limited := &bounded{Conn: conn}
	limited.left.Store(maxReceived)
	c := &Client{client: rpc.NewClient(limited), conn: limited, service: service}
	if err := c.version(ctx); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

func greet(conn net.Conn) error {
	if _, err := io.WriteString(conn, "CONNECT "+rpc.DefaultRPCPath+" HTTP/1.0\n\n"); err != nil {
		return err
	}
	// Nothing follows the answer before a call is made, so the buffer keeps nothing back.
	response, err := http.ReadResponse(bufio.NewReader(io.LimitReader(conn, 4096)), &http.Request{Method: http.MethodConnect})
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return errors.New(response.Status)
	}
	return nil
}

// version finds the service by the name that the plugin gave it, and its version.
func (c *Client) version(ctx context.Context) error {
	number, err := ask[int](ctx, c, "GetVersion")
	if err != nil && ctx.Err() == nil && !errors.Is(err, ErrGone) {
		c.service = oldService
		number, err = ask[int](ctx, c, "GetVersion")
	}
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("%w: it did not say which version", ErrNoPlugin)
	case errors.Is(err, ErrGone):
		return err
	case err != nil:
		return ErrNoPlugin
	case number != Version:
		return fmt.Errorf("%w: %d instead of %d", ErrVersion, number, Version)
	}
	return nil
}

// Close hangs up. Calls under way return ErrGone.
func (c *Client) Close() { _ = c.client.Close() }

// call makes one call. It ends with ctx, though the plugin may go on then.
func (c *Client) call(ctx context.Context, method string, argument, reply any) error {
	if method != heartbeat { // which goes on however long an answer takes
		c.conn.left.Store(maxReceived)
	}
	call := c.client.Go(c.service+"."+method, argument, reply, make(chan *rpc.Call, 1))
	select {
	case <-call.Done:
	case <-ctx.Done():
		return ctx.Err()
	}
	var answered rpc.ServerError
	switch {
	case call.Error == nil:
		return nil
	case errors.As(call.Error, &answered):
		return DriverError(answered)
	case strings.HasSuffix(call.Error.Error(), errTooMuch.Error()): // net/rpc keeps the text alone
		return fmt.Errorf("%w: it sent more than %d MiB", ErrNoPlugin, maxReceived>>20)
	case strings.HasPrefix(call.Error.Error(), "reading body") && !strings.HasSuffix(call.Error.Error(), "EOF"):
		return fmt.Errorf("%w: its answer to %s can't be read", ErrNoPlugin, method)
	}
	return ErrGone
}

// bounded is a connection that ends when too much has come over it.
type bounded struct {
	net.Conn
	left atomic.Int64
}

func (b *bounded) Read(p []byte) (int, error) {
	left := b.left.Load()
	if left <= 0 {
		return 0, errTooMuch
	}
	n, err := b.Conn.Read(p[:min(int64(len(p)), left)])
	b.left.Add(-int64(n))
	return n, err
}

func ask[T any](ctx context.Context, c *Client, method string) (T, error) {
	reply := new(T)
	if err := c.call(ctx, method, struct{}{}, reply); err != nil {
		var none T // a call that was given up may still write its reply
		return none, err
	}
	return *reply, nil
}
