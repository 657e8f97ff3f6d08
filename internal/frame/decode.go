package frame

import (
	"errors"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	tunnelv1 "mctl/proto/mctl/tunnel/v1"
)

// The fields of tunnelv1.Frame that hold data.
const (
	fieldData      = 1
	fieldErrorData = 2
)

// maxHead is the most that comes before the data: two tags and two lengths.
const maxHead = 4 * 5

var errNonsense = errors.New("a message of a tunnel is no message")

// data describes a received message that is a frame of data and nothing else, as those are that we send: where they begin
// and which field they are. Whatever is written in another way is for Open.
func (m *Message) data() (start int, field protowire.Number, ok bool) {
	var head [maxHead]byte
	rest, total := head[:min(m.received.CopyTo(head[:]), len(head))], m.received.Len()
	for depth := range 2 {
		number, kind, n := protowire.ConsumeTag(rest)
		if n < 0 || kind != protowire.BytesType {
			return 0, 0, false
		}
		size, k := protowire.ConsumeVarint(rest[n:])
		if k < 0 {
			return 0, 0, false
		}
		start, rest, field = start+n+k, rest[n+k:], number
		if size != uint64(total-start) || depth == 0 && number != protowire.Number(m.from) {
			return 0, 0, false
		}
	}
	return start, field, field == fieldData || field == fieldErrorData
}

// Data is how many bytes of data a received message holds; false when it may hold something else.
func (m *Message) Data() (size int, errorData, ok bool) {
	start, field, ok := m.data()
	return m.received.Len() - start, field == fieldErrorData, ok
}

// Open returns the frame of a received message, nil when it has none. Data are put into buffer where they fit, and are good for
// as long as that is not changed.
func (m *Message) Open(buffer []byte) (*tunnelv1.Frame, error) {
	start, field, ok := m.data()
	if !ok {
		return m.open()
	}
	size := m.received.Len() - start
	if size > cap(buffer) {
		buffer = make([]byte, size)
	}
	buffer = buffer[:size]
	copyFrom(buffer, m.received, start)
	if field == fieldErrorData {
		return &tunnelv1.Frame{Kind: &tunnelv1.Frame_ErrorData{ErrorData: buffer}}, nil
	}
	return &tunnelv1.Frame{Kind: &tunnelv1.Frame_Data{Data: buffer}}, nil
}

// copyFrom fills a slice from some byte on.
func copyFrom(dst []byte, src mem.BufferSlice, start int) {
	for _, b := range src {
		text := b.ReadOnlyData()
		skipped := min(start, len(text))
		start -= skipped
		dst = dst[copy(dst, text[skipped:]):]
	}
}

// open decodes a message of any kind. What it has besides the frame is passed over, as that of a later version.
func (m *Message) open() (*tunnelv1.Frame, error) {
	rest := m.received.Materialize()
	var frame *tunnelv1.Frame
	for len(rest) > 0 {
		number, kind, n := protowire.ConsumeTag(rest)
		if n < 0 {
			return nil, errNonsense
		}
		k := protowire.ConsumeFieldValue(number, kind, rest[n:])
		if k < 0 {
			return nil, errNonsense
		}
		value := rest[n : n+k]
		rest = rest[n+k:]
		if m.from == Elsewhere && number == protowire.Number(first) && kind == protowire.BytesType {
			frame = nil // a message is one or the other, the last that it has
			continue
		}
		if number != protowire.Number(m.from) || kind != protowire.BytesType {
			continue
		}
		if frame == nil {
			frame = &tunnelv1.Frame{}
		}
		content, _ := protowire.ConsumeBytes(value)
		if err := (proto.UnmarshalOptions{Merge: true}).Unmarshal(content, frame); err != nil {
			return nil, errNonsense
		}
	}
	return frame, nil
}
