package tunnel

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"mctl/internal/fault"
	"mctl/internal/frame"
	"mctl/internal/host"
	agentv1 "mctl/proto/mctl/agent/v1"
	controllerv1 "mctl/proto/mctl/controller/v1"
	tunnelv1 "mctl/proto/mctl/tunnel/v1"
)

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
	m := frame.Message{Field: frame.Elsewhere}
	defer m.Free()
	for ended := false; !ended; {
		err := p.operator.RecvMsg(&m)
		if errors.Is(err, io.EOF) {
			m.Frame, err, ended = &tunnelv1.Frame{Kind: &tunnelv1.Frame_End{End: &tunnelv1.End{}}}, nil, true
		} else if err == nil {
			err = p.take(&m)
		}
		if err != nil {
			p.end(err)
			return
		}
		if stream.SendMsg(&m) != nil {
			p.end(errHost)
			return
		}
		m.Free()
	}
}

// downstream passes the host's frames to the operator, up to the last.
func (p *pair) downstream(stream agentv1.TunnelService_OpenServer) {
	m := frame.Message{Field: frame.Elsewhere}
	defer m.Free()
	for {
		m.Field = frame.Elsewhere
		if stream.RecvMsg(&m) != nil {
			p.end(errHost)
			return
		}
		size, _, isData := m.Data()
		if !isData {
			var err error
			if m.Frame, err = m.Open(nil); err != nil {
				p.end(errHost)
				return
			}
			size = len(m.Frame.GetData()) + len(m.Frame.GetErrorData())
			m.Free() // what it says is in Frame; nothing is kept while we wait for the next
		}
		if f := m.Frame.GetFailure(); f != nil {
			p.end(fault.New("tunnel", fault.ParseKind(f.GetKind()), "", host.Line(f.GetMessage())).WithHint(host.Line(f.GetHint())))
			return
		}
		if !isData && m.Frame.GetKind() == nil { // of a later version
			continue
		}
		p.down.Add(int64(size))
		m.Field = frame.ToOperator
		if err := p.operator.SendMsg(&m); err != nil {
			p.end(err)
			return
		}
		m.Free()
		if m.Frame.GetExit() != nil {
			p.end(errOver)
			return
		}
	}
}

// take refuses what an operator has no business to say, and counts the rest.
func (p *pair) take(m *frame.Message) error {
	const op = "tunnel.take"
	size, ofErrors, isData := m.Data()
	if !isData && m.Frame == nil {
		var err error
		if m.Frame, err = m.Open(nil); err != nil {
			return fault.E(op, fault.Invalid, "", err)
		}
	}
	switch kind := m.Frame.GetKind().(type) {
	case *tunnelv1.Frame_End, *tunnelv1.Frame_Size, *tunnelv1.Frame_Signal:
		return nil
	case *tunnelv1.Frame_Data:
		size, isData = len(kind.Data), true
	}
	if !isData || ofErrors {
		return fault.New(op, fault.Invalid, "", "a frame that only a host may send, or none that is known")
	}
	if size > frame.MaxData {
		return fault.E(op, fault.Invalid, "", fmt.Errorf("%d bytes in a frame, the limit is %d", size, frame.MaxData))
	}
	p.up.Add(int64(size))
	return nil
}
