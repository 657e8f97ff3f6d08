// Package frame carries frames of tunnels over gRPC. Data stay in the buffers that they arrive in and leave from buffers that
// are used again: what passes by the gigabyte must not be work for the garbage collector.
package frame

import (
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"

	tunnelv1 "mctl/proto/mctl/tunnel/v1"
)

// MaxData is how many bytes of data one frame may hold.
const MaxData = 64 << 10

// A piece of a message takes dozens of bytes beside those that it holds, and a message may wait long until it is taken: one that
// arrived in more than mostPieces pieces of less than crumb bytes is put together.
const (
	mostPieces = 16
	crumb      = 512
)

// Field is which of a message's fields is the frame.
type Field protowire.Number

// The fields of the messages that frames travel in.
const (
	ToOperator Field = 1 // of controllerv1.OpenTunnelResponse
	Elsewhere  Field = 2 // of controllerv1.OpenTunnelRequest, agentv1.OpenRequest and agentv1.OpenResponse, instead of first
	// first is what streams of Elsewhere begin with.
	first Field = 1
)

// Message is one message of a tunnel's stream that has a frame in it: either one that was received, which may be sent on as
// it is, or Frame to be sent. One that was received must be freed.
type Message struct {
	// Field is set by who receives or sends.
	Field Field
	// Frame is to be sent. Its data may be changed once it is.
	Frame *tunnelv1.Frame

	received mem.BufferSlice
	from     Field // of what was received
}

// Free gives the buffers back that a message was received in. May be repeated.
func (m *Message) Free() {
	m.received.Free()
	m.received = nil
}

// Codec is gRPC's own, but for a *Message. Both ends of a stream may have either. Streams on which a *Message is received or
// sent need it: see grpc.ForceCodecV2 and grpc.ForceServerCodecV2.
func Codec() encoding.CodecV2 { return codec{encoding.GetCodecV2(proto.Name), &pool{}} }

type codec struct {
	encoding.CodecV2
	outgoing *pool
}

// Marshal implements encoding.CodecV2.
func (c codec) Marshal(v any) (mem.BufferSlice, error) {
	if m, ours := v.(*Message); ours {
		return m.marshal(c.outgoing)
	}
	return c.CodecV2.Marshal(v)
}

// Unmarshal implements encoding.CodecV2.
func (c codec) Unmarshal(data mem.BufferSlice, v any) error {
	m, ours := v.(*Message)
	if !ours {
		return c.CodecV2.Unmarshal(data, v)
	}
	m.Free()
	if len(data) > mostPieces && data.Len() < len(data)*crumb {
		data = mem.BufferSlice{data.MaterializeToBuffer(mem.DefaultBufferPool())}
	} else {
		data.Ref()
	}
	m.received, m.from, m.Frame = data, m.Field, nil
	return nil
}
