package tunnel

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"mctl/internal/fault"
	"mctl/internal/host"
	agentv1 "mctl/proto/mctl/agent/v1"
	controllerv1 "mctl/proto/mctl/controller/v1"
	tunnelv1 "mctl/proto/mctl/tunnel/v1"
)

// maxFrame is how much of the bytes one frame may hold.
const maxFrame = 64 << 10

// pair is one tunnel: two streams with one context and one cause of their end.
type pair struct {
	ctx         context.Context //nolint:containedctx // both streams have it
	end         context.CancelCauseFunc
	uid, caller string
	order       *agentv1.Order
	operator    controllerv1.SessionService_OpenTunnelServer
	joined      chan agentv1.TunnelService_OpenServer // the agent's stream comes here, once
	up, down    atomic.Int64                          // bytes
}

var (
	errOver = errors.New("the tunnel is over")
	errHost = fault.New("tunnel", fault.Unavailable, "", "the connection to the host broke").WithHint("`mctl ls` shows how the machines are")
)

// run passes frames on until either side ends. Sending and receiving can't be interrupted but by the return of both handlers,
// so this goroutine and that of Open are the ones that wait; the flow control of each stream slows down the other.
func (p *pair) run(stream agentv1.TunnelService_OpenServer) error {
	go p.upstream(stream)
	go p.downstream(stream)
	<-p.ctx.Done()
	if cause := context.Cause(p.ctx); !errors.Is(cause, errOver) {
		return cause
	}
	return nil
}

// upstream passes the operator's frames to the host. An operator who closes its side says that there is no more data.
func (p *pair) upstream(stream agentv1.TunnelService_OpenServer) {
	for ended := false; !ended; {
		message, err := p.operator.Recv()
		frame := message.GetFrame()
		if errors.Is(err, io.EOF) {
			frame, err, ended = &tunnelv1.Frame{Kind: &tunnelv1.Frame_End{End: &tunnelv1.End{}}}, nil, true
		}
		if err == nil {
			err = checkFrame(frame)
		}
		if err != nil {
			p.end(err)
			return
		}
		p.up.Add(int64(len(frame.GetData())))
		if stream.Send(&agentv1.OpenResponse{Message: &agentv1.OpenResponse_Frame{Frame: frame}}) != nil {
			p.end(errHost)
			return
		}
	}
}

// downstream passes the host's frames to the operator, up to the last.
func (p *pair) downstream(stream agentv1.TunnelService_OpenServer) {
	for {
		message, err := stream.Recv()
		if err != nil {
			p.end(errHost)
			return
		}
		frame := message.GetFrame()
		if f := frame.GetFailure(); f != nil {
			p.end(fault.New("tunnel", fault.ParseKind(f.GetKind()), "", host.Line(f.GetMessage())).WithHint(host.Line(f.GetHint())))
			return
		}
		if frame.GetKind() == nil { // the host looks whether we are still there
			continue
		}
		p.down.Add(int64(len(frame.GetData()) + len(frame.GetErrorData())))
		if err := p.operator.Send(&controllerv1.OpenTunnelResponse{Frame: frame}); err != nil {
			p.end(err)
			return
		}
		if frame.GetExit() != nil {
			p.end(errOver)
			return
		}
	}
}

// checkFrame refuses what an operator has no business to say.
func checkFrame(frame *tunnelv1.Frame) error {
	switch kind := frame.GetKind().(type) {
	case *tunnelv1.Frame_Data:
		if len(kind.Data) > maxFrame {
			return fault.E("tunnel.checkFrame", fault.Invalid, "", fmt.Errorf("%d bytes in a frame, the limit is %d", len(kind.Data), maxFrame))
		}
		return nil
	case *tunnelv1.Frame_End, *tunnelv1.Frame_Size, *tunnelv1.Frame_Signal:
		return nil
	}
	return fault.New("tunnel.checkFrame", fault.Invalid, "", "a frame that only a host may send, or none that is known")
}
