package frame

import (
	"sync"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	tunnelv1 "mctl/proto/mctl/tunnel/v1"
)

// marshal leaves what was received where it is, and writes what comes before it anew.
func (m *Message) marshal(outgoing *pool) (mem.BufferSlice, error) {
	switch kind := m.Frame.GetKind().(type) {
	case *tunnelv1.Frame_Data:
		return m.encode(fieldData, kind.Data, outgoing), nil
	case *tunnelv1.Frame_ErrorData:
		return m.encode(fieldErrorData, kind.ErrorData, outgoing), nil
	}
	if start, field, ok := m.data(); ok && m.Frame == nil {
		return m.resend(field, start), nil
	}
	content, err := proto.Marshal(m.Frame)
	if err != nil {
		return nil, err
	}
	text := protowire.AppendTag(nil, protowire.Number(m.Field), protowire.BytesType)
	return mem.BufferSlice{mem.SliceBuffer(protowire.AppendBytes(text, content))}, nil
}

// head is what comes before data.
func (m *Message) head(field protowire.Number, size int) mem.SliceBuffer {
	inner := protowire.SizeTag(field) + protowire.SizeBytes(size)
	head := make([]byte, 0, maxHead)
	head = protowire.AppendTag(head, protowire.Number(m.Field), protowire.BytesType)
	head = protowire.AppendVarint(head, uint64(inner))
	head = protowire.AppendTag(head, field, protowire.BytesType)
	return protowire.AppendVarint(head, uint64(size))
}

func (m *Message) encode(field protowire.Number, data []byte, outgoing *pool) mem.BufferSlice {
	return mem.BufferSlice{m.head(field, len(data)), mem.Copy(data, outgoing)}
}

func (m *Message) resend(field protowire.Number, start int) mem.BufferSlice {
	out := make(mem.BufferSlice, 1, len(m.received)+1)
	out[0] = m.head(field, m.received.Len()-start)
	for _, b := range m.received {
		skipped := min(start, b.Len())
		start -= skipped
		if skipped < b.Len() {
			out = append(out, b.Slice(skipped, b.Len()))
		}
	}
	return out
}

// pool has the buffers of data that were sent. gRPC's own would clear them before each use, the larger ones a megabyte.
type pool struct{ buffers sync.Pool }

// Get implements mem.BufferPool.
func (p *pool) Get(length int) *[]byte {
	buffer, ok := p.buffers.Get().(*[]byte)
	if !ok || cap(*buffer) < length {
		made := make([]byte, length, max(length, MaxData))
		buffer = &made
	}
	*buffer = (*buffer)[:length]
	return buffer
}

// Put implements mem.BufferPool. Larger ones are rare, and would stay for data that need less.
func (p *pool) Put(buffer *[]byte) {
	if cap(*buffer) == MaxData {
		p.buffers.Put(buffer)
	}
}
