package frame_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"mctl/internal/frame"
	controllerv1 "mctl/proto/mctl/controller/v1"
	tunnelv1 "mctl/proto/mctl/tunnel/v1"
)

// A message is either a frame or what a stream begins with, and what comes last is what it is.
func TestAFrameThatIsTakenBackIsNone(t *testing.T) {
	start := protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), nil)
	for name, frames := range map[string][2]*tunnelv1.Frame{
		"data":         {data("abc"), nil},
		"then another": {data("abc"), {Kind: &tunnelv1.Frame_Signal{Signal: "INT"}}},
		"in parts":     {{Kind: &tunnelv1.Frame_Failure{Failure: &tunnelv1.Failure{Kind: "quota"}}}, {Kind: &tunnelv1.Frame_Failure{Failure: &tunnelv1.Failure{Message: "full"}}}},
	} {
		text, _ := proto.Marshal(message(frame.Elsewhere, frames[0]))
		text = append(text, start...)
		if frames[1] != nil {
			more, _ := proto.Marshal(message(frame.Elsewhere, frames[1]))
			text = append(text, more...)
		}
		var want controllerv1.OpenTunnelRequest
		if err := proto.Unmarshal(text, &want); err != nil {
			t.Fatal(err)
		}
		m := receive(t, frame.Elsewhere, text, 7)
		if got, err := m.Open(nil); err != nil || (got == nil) != (want.GetFrame() == nil) || !proto.Equal(got, want.GetFrame()) {
			t.Errorf("%s: %v, %v, want %v", name, got, err, want.GetFrame())
		}
		m.Free()
	}
}

// Each piece takes dozens of bytes, and a message may wait long until it is taken.
func TestWhatArrivesInCrumbsIsNotKeptInCrumbs(t *testing.T) {
	f := data(strings.Repeat("c", frame.MaxData))
	text, err := proto.Marshal(message(frame.Elsewhere, f))
	if err != nil {
		t.Fatal(err)
	}
	for piece, most := range map[int]int{1: 2, 100: 2, 1 << 10: 70, 16 << 10: 6} {
		var pieces mem.BufferSlice
		for one := range slices.Chunk(text, piece) {
			pieces = append(pieces, mem.SliceBuffer(one))
		}
		m := &frame.Message{Field: frame.Elsewhere}
		if err := frame.Codec().Unmarshal(pieces, m); err != nil {
			t.Fatal(err)
		}
		m.Field = frame.ToOperator
		sent, err := frame.Codec().Marshal(m)
		if err != nil || len(sent) > most {
			t.Errorf("%d bytes in pieces of %d are sent in %d, %v", len(text), piece, len(sent), err)
		}
		m.Free()
		want, _ := proto.Marshal(message(frame.ToOperator, f))
		if !bytes.Equal(sent.Materialize(), want) {
			t.Errorf("in pieces of %d something else is sent", piece)
		}
		sent.Free()
	}
}

func TestOneLargeFrameDoesNotMakeThoseAfterItLarge(t *testing.T) {
	codec := frame.Codec()
	for range 20 { // the pool drops what it has now and then
		for _, size := range []int{16 * frame.MaxData, frame.MaxData} {
			sent, err := codec.Marshal(&frame.Message{Field: frame.Elsewhere, Frame: data(strings.Repeat("l", size))})
			if err != nil {
				t.Fatal(err)
			}
			if took := cap(sent[1].ReadOnlyData()); took > 2*size {
				t.Fatalf("%d bytes are sent from a buffer of %d", size, took)
			}
			sent.Free()
		}
	}
}
