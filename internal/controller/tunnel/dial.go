package tunnel

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net"
	"sync"

	"mctl/internal/frame"
	controllerv1 "mctl/proto/mctl/controller/v1"
	tunnelv1 "mctl/proto/mctl/tunnel/v1"
)

// ourselves is the caller of tunnels that the controller itself opens.
const ourselves = "controller"

// Dial opens a tunnel of the controller's own to where a machine's host serves Docker over TLS. It returns at once; what prevents
// the tunnel is told by the first Read. Closing the connection ends the tunnel, and so does the end of ctx.
func (r *Relay) Dial(ctx context.Context, machine string) net.Conn {
	ctx, end := context.WithCancel(ctx)
	near, far := net.Pipe()
	conn := &dialed{Conn: near, end: end}
	stream := &inner{ctx: ctx, conn: far, first: &controllerv1.TunnelStart{
		Machine: machine, Work: &tunnelv1.Work{What: &tunnelv1.Work_Forward{Forward: &tunnelv1.Forward{Docker: true}}},
	}}
	unhook := context.AfterFunc(ctx, func() { far.Close() })
	go func() { //nolint:contextcheck // the stream has it
		defer unhook()
		err := r.Serve(stream, ourselves)
		conn.mu.Lock()
		conn.err = err
		conn.mu.Unlock()
		end()
		far.Close()
	}()
	return conn
}

// dialed is the controller's end of a tunnel.
type dialed struct {
	net.Conn
	end context.CancelFunc

	mu  sync.Mutex
	err error // why there is no tunnel
}

// Read implements net.Conn.
func (d *dialed) Read(p []byte) (int, error) {
	n, err := d.Conn.Read(p)
	if err != nil {
		d.mu.Lock()
		defer d.mu.Unlock()
		err = cmp.Or(d.err, err)
	}
	return n, err
}

// Close implements net.Conn.
func (d *dialed) Close() error {
	d.end()
	return d.Conn.Close()
}

// inner is an operator's stream within this process.
type inner struct {
	controllerv1.SessionService_OpenTunnelServer
	ctx   context.Context //nolint:containedctx // as every stream has it
	conn  net.Conn
	first *controllerv1.TunnelStart
	// buffer is for what goes to the host.
	buffer []byte
}

func (i *inner) Context() context.Context { return i.ctx }

// Recv returns the first message.
func (i *inner) Recv() (*controllerv1.OpenTunnelRequest, error) {
	return &controllerv1.OpenTunnelRequest{Message: &controllerv1.OpenTunnelRequest_Start{Start: i.first}}, nil
}

// RecvMsg takes what the controller says.
func (i *inner) RecvMsg(message any) error {
	if i.buffer == nil {
		i.buffer = make([]byte, frame.MaxData/2)
	}
	n, err := i.conn.Read(i.buffer)
	if n == 0 && err != nil {
		if errors.Is(err, io.ErrClosedPipe) {
			err = io.EOF
		}
		return err
	}
	message.(*frame.Message).Frame = &tunnelv1.Frame{Kind: &tunnelv1.Frame_Data{Data: i.buffer[:n]}}
	return nil
}

// SendMsg passes on what the host says.
func (i *inner) SendMsg(message any) error {
	said := message.(*frame.Message).Frame
	if said == nil {
		var err error
		if said, err = message.(*frame.Message).Open(nil); err != nil {
			return err
		}
	}
	if len(said.GetData()) == 0 {
		return nil
	}
	_, err := i.conn.Write(said.GetData())
	return err
}
