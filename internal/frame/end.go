package frame

import tunnelv1 "mctl/proto/mctl/tunnel/v1"

// Stream is what a tunnel's end has of a stream.
type Stream interface {
	SendMsg(m any) error
	RecvMsg(m any) error
}

// Receiver is the receiving half of a tunnel's end, for one goroutine at a time.
type Receiver struct {
	Stream Stream
	Field  Field
	buffer []byte
}

// Recv returns the next frame, which is good until the next call; nil for a message without one.
func (r *Receiver) Recv() (*tunnelv1.Frame, error) {
	m := Message{Field: r.Field}
	if err := r.Stream.RecvMsg(&m); err != nil {
		return nil, err
	}
	defer m.Free()
	if size, _, ok := m.Data(); ok && size > cap(r.buffer) {
		r.buffer = make([]byte, size)
	}
	return m.Open(r.buffer)
}

// Send sends a frame, whose data may be changed afterwards.
func Send(s Stream, field Field, frame *tunnelv1.Frame) error {
	return s.SendMsg(&Message{Field: field, Frame: frame})
}
