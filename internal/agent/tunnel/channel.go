package tunnel

import (
	"context"
	"io"
	"sync"
	"time"

	"mctl/internal/fault"
	"mctl/internal/frame"
	tunnelv1 "mctl/proto/mctl/tunnel/v1"
)

const (
	lookAfter   = time.Second     // for how long data may find no taker before we look whether the tunnel is still there
	finishLimit = 5 * time.Second // for the controller to take the last word
)

// channel is the stream of one tunnel. ctx ends with it.
type channel struct {
	stream *stream
	ctx    context.Context //nolint:containedctx // the stream's
	sender sync.Mutex
	over   bool // the last word was said
	// listening is set, and heard has one, once somebody takes what the operator says.
	listening bool
	heard     sync.WaitGroup
}

func newChannel(s *stream) *channel { return &channel{stream: s, ctx: s.ctx} }

// end ends the tunnel at once.
func (c *channel) end() { c.stream.cancel() }

// send says a frame. It may be called at the same time; an error says that the tunnel is over.
func (c *channel) send(said *tunnelv1.Frame) error {
	c.sender.Lock()
	defer c.sender.Unlock()
	if c.over {
		return io.ErrClosedPipe
	}
	c.over = said.GetExit() != nil || said.GetFailure() != nil
	return frame.Send(c.stream, frame.Elsewhere, said)
}

func (c *channel) opened() error {
	return c.send(&tunnelv1.Frame{Kind: &tunnelv1.Frame_Opened{Opened: &tunnelv1.Opened{}}})
}

func (c *channel) exit(code uint32, signal string) {
	_ = c.send(&tunnelv1.Frame{Kind: &tunnelv1.Frame_Exit{Exit: &tunnelv1.Exit{Code: code, Signal: signal}}})
}

func (c *channel) fail(err error) {
	_ = c.send(&tunnelv1.Frame{Kind: &tunnelv1.Frame_Failure{Failure: &tunnelv1.Failure{
		Kind: string(fault.KindOf(err)), Message: err.Error(), Hint: fault.HintOf(err),
	}}})
}

// finish waits until the controller has taken the last word, so that ending the stream does not overtake it.
func (c *channel) finish() {
	limit := time.AfterFunc(finishLimit, c.end)
	defer limit.Stop()
	c.sender.Lock()
	_ = c.stream.CloseSend()
	c.sender.Unlock()
	if !c.listening {
		c.listen(input{})
	}
	c.heard.Wait()
}

// pump sends all that a reader has, as what wrap makes of it, until it ends or the tunnel does. It returns why, io.EOF for the
// reader's end.
func (c *channel) pump(r io.Reader, wrap func([]byte) *tunnelv1.Frame) error {
	buffer := make([]byte, frame.MaxData)
	for {
		n, err := r.Read(buffer)
		if n > 0 {
			if err := c.send(wrap(buffer[:n])); err != nil {
				c.end()
				return err
			}
		}
		if err != nil {
			return err
		}
	}
}

func output(data []byte) *tunnelv1.Frame {
	return &tunnelv1.Frame{Kind: &tunnelv1.Frame_Data{Data: data}}
}

func complaint(data []byte) *tunnelv1.Frame {
	return &tunnelv1.Frame{Kind: &tunnelv1.Frame_ErrorData{ErrorData: data}}
}

// input is where what the operator says goes.
type input struct {
	data   io.Writer
	closed func() // there is no more data
	size   func(*tunnelv1.Size)
	signal func(name string)
}

// listen hands on what the operator says until the tunnel ends, and then ends its context.
func (c *channel) listen(in input) {
	c.listening = true
	c.heard.Go(func() { c.receive(in) })
}

// receive drops data that is not taken, since whoever shall read it has ended.
func (c *channel) receive(in input) {
	defer c.end()
	deaf := in.data == nil
	said := frame.Receiver{Stream: c.stream, Field: frame.Elsewhere}
	for {
		next, err := said.Recv()
		if err != nil {
			return
		}
		switch kind := next.GetKind().(type) {
		case *tunnelv1.Frame_Data:
			if !deaf && c.write(in.data, kind.Data) != nil {
				deaf = true
				in.closed()
			}
		case *tunnelv1.Frame_End:
			if in.closed != nil {
				in.closed()
			}
		case *tunnelv1.Frame_Size:
			if in.size != nil {
				in.size(kind.Size)
			}
		case *tunnelv1.Frame_Signal:
			if in.signal != nil {
				in.signal(kind.Signal)
			}
		}
	}
}

// write waits for a taker. Nothing is received meanwhile, not even the end, so the controller is asked for it.
func (c *channel) write(w io.Writer, data []byte) error {
	taken := make(chan struct{})
	look := time.AfterFunc(lookAfter, func() { c.look(taken) })
	defer look.Stop()
	defer close(taken)
	_, err := w.Write(data)
	return err
}

// look ends the tunnel when the controller has ended it, until something happens.
func (c *channel) look(until <-chan struct{}) {
	again := time.NewTicker(lookAfter)
	defer again.Stop()
	for {
		if c.stream.over() {
			c.end()
			return
		}
		select {
		case <-again.C:
		case <-until:
			return
		case <-c.ctx.Done():
			return
		}
	}
}
