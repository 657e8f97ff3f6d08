// Package dial finds the controller and connects to it: the caller's own over a unix socket, started where none answers,
// or another one over TLS. Its errors are faults, whatever went over the wire.
package dial

import (
	"context"
	"errors"
	"net"
	"os"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"

	controllerv1 "mctl/proto/mctl/controller/v1"
)

const (
	// callLimit bounds a call whose context has no limit of its own: the longest, a create's pre-check, may take 30 s.
	callLimit = 60 * time.Second
	// reconnectLimit bounds one attempt to get a lost connection back, a start of the controller included.
	reconnectLimit = 25 * time.Second
	// keepaliveTime and keepaliveTimeout are how soon a controller is missed; the controller bears a ping every 3 s.
	keepaliveTime    = 10 * time.Second
	keepaliveTimeout = 5 * time.Second
	// greetLimit is how long a controller that took a connection may say nothing. The kernel takes connections for a process that
	// was stopped, too.
	greetLimit = 8 * time.Second
	// maxMessage is room for a page of 1,000 machines, of which each has a few kB.
	maxMessage = 32 << 20
	// window lets such a page through without a pause for acknowledgements.
	window = 4 << 20
)

// Client is a connection to a controller. Calls on it return faults. It must be closed.
type Client struct {
	Machines controllerv1.MachineServiceClient
	Drivers  controllerv1.DriverServiceClient
	Events   controllerv1.EventServiceClient
	Sessions controllerv1.SessionServiceClient
	Access   controllerv1.AccessServiceClient
	System   controllerv1.SystemServiceClient
	// Credentials are the clouds' that have names.
	Credentials controllerv1.CredentialServiceClient
	// PID is the controller's process where it is local and the kernel tells; else zero.
	PID int

	conn  *grpc.ClientConn
	first *firstConn
}

// dialer makes one connection.
type dialer func(ctx context.Context) (net.Conn, error)

// newClient makes a client of a connection that stands; again gets a new one when it breaks, and the calls under way are
// made once more. Without again they fail. wait has calls wait for a controller that does not come back at once. where names
// the controller in errors.
func newClient(conn net.Conn, again dialer, wait bool, where string) (*Client, error) {
	first := &firstConn{}
	first.conn = &greeted{Conn: conn, where: where, note: first.note}
	faults := translator{where: where, patient: again != nil, lost: first.failure}
	cc, err := grpc.NewClient("passthrough:///controller",
		grpc.WithTransportCredentials(insecure.NewCredentials()), // the dialer has secured what needs it
		grpc.WithNoProxy(),
		grpc.WithDisableServiceConfig(),
		grpc.WithDisableHealthCheck(),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			if conn := first.take(); conn != nil {
				return conn, nil
			}
			if again == nil {
				return nil, errNobody
			}
			conn, err := again(ctx)
			if err != nil {
				first.note(err)
				return nil, err
			}
			return &greeted{Conn: conn, where: where, note: first.note}, nil
		}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage), grpc.WaitForReady(wait)),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 2 * time.Second},
			MinConnectTimeout: reconnectLimit,
		}),
		// Who stopped answering is found out by streams too, which have no limit.
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: keepaliveTime, Timeout: keepaliveTimeout}),
		grpc.WithInitialWindowSize(window),
		grpc.WithInitialConnWindowSize(window),
		grpc.WithUnaryInterceptor(faults.unary),
		grpc.WithStreamInterceptor(faults.stream),
	)
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return &Client{
		Machines: controllerv1.NewMachineServiceClient(cc), Drivers: controllerv1.NewDriverServiceClient(cc),
		Events: controllerv1.NewEventServiceClient(cc), Sessions: controllerv1.NewSessionServiceClient(cc),
		Access: controllerv1.NewAccessServiceClient(cc), System: controllerv1.NewSystemServiceClient(cc),
		Credentials: controllerv1.NewCredentialServiceClient(cc),
		conn:        cc, first: first,
	}, nil
}

// Close ends the connection.
func (c *Client) Close() error {
	err := c.conn.Close()
	if conn := c.first.take(); conn != nil {
		_ = conn.Close()
	}
	return err
}

// greeted is a connection on which the controller has to say something soon. note is told how that went.
type greeted struct {
	net.Conn
	where string
	note  func(error)
	heard bool
}

// Read implements net.Conn.
func (g *greeted) Read(p []byte) (int, error) {
	if g.heard {
		return g.Conn.Read(p)
	}
	if err := g.SetReadDeadline(time.Now().Add(greetLimit)); err != nil {
		return 0, err
	}
	n, err := g.Conn.Read(p)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = mute{g.where}
		g.note(err)
	}
	if err != nil {
		return n, err
	}
	g.heard = true
	g.note(nil)
	return n, g.SetReadDeadline(time.Time{})
}

// firstConn hands out the connection that was made before there was a client, once. It also keeps why the newest attempt at
// another one failed, which gRPC does not pass on.
type firstConn struct {
	mu   sync.Mutex
	conn net.Conn
	err  error
}

func (f *firstConn) note(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = err
}

func (f *firstConn) failure() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

func (f *firstConn) take() net.Conn {
	f.mu.Lock()
	defer f.mu.Unlock()
	conn := f.conn
	f.conn = nil
	return conn
}
