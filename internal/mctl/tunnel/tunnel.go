// Package tunnel works on machines' hosts through their agents, where nothing of a host can be reached from here: it runs
// commands, copies trees of files and carries connections.
package tunnel

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"google.golang.org/grpc"

	"mctl/internal/fault"
	"mctl/internal/frame"
	"mctl/internal/mctl/dial"
	controllerv1 "mctl/proto/mctl/controller/v1"
	tunnelv1 "mctl/proto/mctl/tunnel/v1"
)

// openLimit is how long a host may take to begin.
const openLimit = 15 * time.Second

// Tunnel is some work on a host that is under way. Send and Recv may each be called by one goroutine at a time, Close by any.
type Tunnel struct {
	stream controllerv1.SessionService_OpenTunnelClient
	said   frame.Receiver
	cancel context.CancelFunc
	sender sync.Mutex
}

// Open has a machine's host begin some work and returns when it has begun. The tunnel ends with ctx, and must be closed.
// Whatever hinders the work is a fault.
func Open(ctx context.Context, client *dial.Client, machine string, work *tunnelv1.Work) (*Tunnel, error) {
	ctx, cancel := context.WithCancel(ctx)
	stream, err := client.Sessions.OpenTunnel(ctx, grpc.ForceCodecV2(frame.Codec()))
	if err != nil {
		cancel()
		return nil, err
	}
	t := &Tunnel{stream: stream, said: frame.Receiver{Stream: stream, Field: frame.ToOperator}, cancel: cancel}
	start := &controllerv1.TunnelStart{Machine: machine, Work: work}
	// Where sending fails, receiving tells why.
	if err := stream.Send(&controllerv1.OpenTunnelRequest{Message: &controllerv1.OpenTunnelRequest_Start{Start: start}}); err != nil && !errors.Is(err, io.EOF) {
		cancel()
		return nil, err
	}
	late := time.AfterFunc(openLimit, cancel)
	first, err := t.Recv()
	if !late.Stop() {
		err = fault.New("tunnel.Open", fault.Unavailable, machine, "the host did not begin within "+openLimit.String()).
			WithHint("`mctl ls` shows how the machines are; `mctl ssh --via direct " + machine + "` does without the agent")
	}
	if err == nil && first.GetOpened() == nil {
		err = fault.New("tunnel.Open", fault.Internal, machine, "the host did not say that the work has begun")
	}
	if err != nil {
		cancel()
		return nil, err
	}
	return t, nil
}

// Recv returns what the host says next; it is good until the next call.
func (t *Tunnel) Recv() (*tunnelv1.Frame, error) {
	said, err := t.said.Recv()
	if errors.Is(err, io.EOF) {
		return nil, fault.New("tunnel.Recv", fault.Unavailable, "", "the tunnel to the host ended early").WithHint("`mctl ls` shows how the machines are")
	}
	return said, err
}

// Send says something to the host. io.EOF means that the tunnel has ended; Recv tells how.
func (t *Tunnel) Send(said *tunnelv1.Frame) error {
	t.sender.Lock()
	defer t.sender.Unlock()
	return frame.Send(t.stream, frame.Elsewhere, said)
}

// End says that there is no more data for the host.
func (t *Tunnel) End() error {
	return t.Send(&tunnelv1.Frame{Kind: &tunnelv1.Frame_End{End: &tunnelv1.End{}}})
}

// Write implements io.Writer: data for the host.
func (t *Tunnel) Write(p []byte) (int, error) {
	for written := 0; written < len(p); {
		chunk := p[written:min(written+frame.MaxData, len(p))]
		if err := t.Send(&tunnelv1.Frame{Kind: &tunnelv1.Frame_Data{Data: chunk}}); err != nil {
			return written, err
		}
		written += len(chunk)
	}
	return len(p), nil
}

// Close ends the tunnel, and with it what goes on at the host. May be repeated.
func (t *Tunnel) Close() { t.cancel() }
