package frame_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"mctl/internal/frame"
	agentv1 "mctl/proto/mctl/agent/v1"
	controllerv1 "mctl/proto/mctl/controller/v1"
	tunnelv1 "mctl/proto/mctl/tunnel/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func data(text string) *tunnelv1.Frame {
	return &tunnelv1.Frame{Kind: &tunnelv1.Frame_Data{Data: []byte(text)}}
}

func errorData(text string) *tunnelv1.Frame {
	return &tunnelv1.Frame{Kind: &tunnelv1.Frame_ErrorData{ErrorData: []byte(text)}}
}

// frames are one of each kind, and of data one of each length that is written in another way.
func frames() []*tunnelv1.Frame {
	all := []*tunnelv1.Frame{
		{}, data(""), errorData(""), data("x"), errorData(strings.Repeat("e", 127)), data(strings.Repeat("d", 128)), data(strings.Repeat("m", 1<<14)),
		errorData(strings.Repeat("l", frame.MaxData)), data(strings.Repeat("t", 3*frame.MaxData)),
		{Kind: &tunnelv1.Frame_End{End: &tunnelv1.End{}}},
		{Kind: &tunnelv1.Frame_Size{Size: &tunnelv1.Size{Rows: 24, Columns: 80}}},
		{Kind: &tunnelv1.Frame_Signal{Signal: "INT"}},
		{Kind: &tunnelv1.Frame_Opened{Opened: &tunnelv1.Opened{}}},
		{Kind: &tunnelv1.Frame_Exit{Exit: &tunnelv1.Exit{Code: 3, Signal: "KILL"}}},
		{Kind: &tunnelv1.Frame_Failure{Failure: &tunnelv1.Failure{Kind: "quota", Message: "full", Hint: "wait"}}},
	}
	return all
}

// message is the generated one that has a frame in it.
func message(field frame.Field, f *tunnelv1.Frame) proto.Message {
	if field == frame.ToOperator {
		return &controllerv1.OpenTunnelResponse{Frame: f}
	}
	return &controllerv1.OpenTunnelRequest{Message: &controllerv1.OpenTunnelRequest_Frame{Frame: f}}
}

func TestFieldsAreThoseOfTheMessages(t *testing.T) {
	for m, want := range map[proto.Message]frame.Field{
		&controllerv1.OpenTunnelResponse{}: frame.ToOperator, &controllerv1.OpenTunnelRequest{}: frame.Elsewhere,
		&agentv1.OpenRequest{}: frame.Elsewhere, &agentv1.OpenResponse{}: frame.Elsewhere,
	} {
		name := m.ProtoReflect().Descriptor()
		if got := name.Fields().ByName("frame").Number(); got != protoreflect.FieldNumber(want) {
			t.Errorf("%s has its frame in %d, want %d", name.FullName(), got, want)
		}
	}
}

func marshal(t *testing.T, m any) []byte {
	t.Helper()
	text, err := frame.Codec().Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	defer text.Free()
	return text.Materialize()
}

// receive has a message begin in buffers of some length, and arrive in one more.
func receive(t *testing.T, field frame.Field, text []byte, piece int) *frame.Message {
	t.Helper()
	var pieces mem.BufferSlice
	for len(text) > piece && len(pieces) < 12 {
		pieces, text = append(pieces, mem.SliceBuffer(text[:piece])), text[piece:]
	}
	m := &frame.Message{Field: field}
	if err := frame.Codec().Unmarshal(append(pieces, mem.SliceBuffer(text)), m); err != nil {
		t.Fatal(err)
	}
	return m
}

func TestWhatIsSentIsWhatGRPCItselfWouldSend(t *testing.T) {
	for _, field := range []frame.Field{frame.ToOperator, frame.Elsewhere} {
		for _, f := range frames() {
			want, err := proto.Marshal(message(field, f))
			if got := marshal(t, &frame.Message{Field: field, Frame: f}); err != nil || !bytes.Equal(got, want) {
				t.Errorf("%.60v is %.40x, want %.40x, %v", f, got, want, err)
			}
		}
	}
}

func TestWhatArrivesIsReadAndSentOnHoweverItIsCut(t *testing.T) {
	for _, piece := range []int{1, 2, 5, 7, 16 << 10, 1 << 20} {
		for _, f := range frames() {
			text, err := proto.Marshal(message(frame.Elsewhere, f))
			if err != nil {
				t.Fatal(err)
			}
			m := receive(t, frame.Elsewhere, text, piece)
			got, err := m.Open(make([]byte, 100))
			if err != nil || !proto.Equal(got, f) {
				t.Errorf("in pieces of %d: %.60v is read as %.60v, %v", piece, f, got, err)
			}
			size, ofErrors, isData := m.Data()
			if wanted := f.GetData() != nil || f.GetErrorData() != nil; isData != wanted || isData && (size != len(f.GetData())+len(f.GetErrorData()) || ofErrors != (f.GetErrorData() != nil)) {
				t.Errorf("%.60v: %d bytes of data, of errors %v, %v", f, size, ofErrors, isData)
			}
			if !isData {
				m.Frame = got
			}
			m.Field = frame.ToOperator
			want, _ := proto.Marshal(message(frame.ToOperator, f))
			if sent := marshal(t, m); !bytes.Equal(sent, want) {
				t.Errorf("in pieces of %d: %.60v is sent on as %.40x, want %.40x", piece, f, sent, want)
			}
			m.Free()
			m.Free()
		}
	}
}

// What is not exactly one frame of data is decoded as gRPC would, so that nobody can hide one frame behind another.
func TestWhatIsWrittenInAnotherWayIsDecoded(t *testing.T) {
	wrap := func(field protowire.Number, content []byte) []byte {
		return protowire.AppendBytes(protowire.AppendTag(nil, field, protowire.BytesType), content)
	}
	exit := wrap(7, protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), 9))
	for name, text := range map[string][]byte{
		"data, then an exit":      wrap(2, append(wrap(1, []byte("abc")), exit...)),
		"two frames":              append(wrap(2, wrap(1, []byte("abc"))), wrap(2, exit)...),
		"another field behind":    append(wrap(2, wrap(1, []byte("abc"))), wrap(15, []byte("later"))...),
		"another field before":    append(wrap(15, []byte("later")), wrap(2, wrap(1, []byte("abc")))...),
		"a field within":          wrap(2, append(wrap(1, []byte("abc")), wrap(99, []byte("later"))...)),
		"a long way to write one": {2<<3 | 2, 0x85, 0x80, 0x00, 1<<3 | 2, 3, 'a', 'b', 'c'},
		"nothing":                 {},
		"another field":           wrap(3, []byte("abc")),
		"another type":            protowire.AppendVarint(protowire.AppendTag(nil, 2, protowire.VarintType), 7),
	} {
		var want controllerv1.OpenTunnelRequest
		if err := proto.Unmarshal(text, &want); err != nil {
			t.Fatal(err)
		}
		m := receive(t, frame.Elsewhere, text, 4)
		if got, err := m.Open(nil); err != nil || (got == nil) != (want.GetFrame() == nil) || !proto.Equal(got.GetExit(), want.GetFrame().GetExit()) || string(got.GetData()) != string(want.GetFrame().GetData()) {
			t.Errorf("%s: %v, %v, want %v", name, got, err, want.GetFrame())
		}
	}
}

func FuzzOpen(f *testing.F) {
	for _, one := range frames() {
		if text, err := proto.Marshal(message(frame.Elsewhere, one)); err == nil && len(text) < 1000 {
			f.Add(text)
		}
	}
	f.Add([]byte("\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"))
	f.Add([]byte("\x12\x05\x0a\x03abc\x0a\x00"))
	f.Add([]byte("\x12\x85\x80\x00\x8a\x00\x83\x00abc"))
	f.Fuzz(func(t *testing.T, text []byte) {
		var want controllerv1.OpenTunnelRequest
		bad := proto.Unmarshal(text, &want)
		m := receive(t, frame.Elsewhere, text, 6)
		got, err := m.Open(nil)
		if bad == nil && (err != nil || (got == nil) != (want.GetFrame() == nil) || !proto.Equal(got, want.GetFrame())) {
			t.Errorf("%v, %v, want %v", got, err, want.GetFrame())
		}
		if _, _, isData := m.Data(); isData {
			m.Field = frame.ToOperator
			again, _ := proto.Marshal(message(frame.ToOperator, want.GetFrame()))
			if sent := marshal(t, m); bad != nil || !bytes.Equal(sent, again) {
				t.Errorf("%x is sent on as %x, want %x, %v", text, sent, again, bad)
			}
		}
	})
}

// echo sends back what it gets, without looking into it.
type echo struct {
	controllerv1.UnimplementedSessionServiceServer
}

func (echo) OpenTunnel(stream controllerv1.SessionService_OpenTunnelServer) error {
	if _, err := stream.Recv(); err != nil {
		return err
	}
	m := frame.Message{Field: frame.Elsewhere}
	for {
		m.Field = frame.Elsewhere
		if err := stream.RecvMsg(&m); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if _, _, isData := m.Data(); !isData {
			m.Frame, _ = m.Open(nil)
		}
		m.Field = frame.ToOperator
		if err := stream.SendMsg(&m); err != nil {
			return err
		}
		m.Free()
	}
}

func TestStreamsCarryFramesAndOtherMessages(t *testing.T) {
	server := grpc.NewServer(grpc.ForceServerCodecV2(frame.Codec()), grpc.WaitForHandlers(true))
	controllerv1.RegisterSessionServiceServer(server, echo{})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	defer group.Wait()
	group.Go(func() { _ = server.Serve(listener) })
	defer server.Stop()
	conn, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	stream, err := controllerv1.NewSessionServiceClient(conn).OpenTunnel(t.Context(), grpc.ForceCodecV2(frame.Codec()))
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&controllerv1.OpenTunnelRequest{}); err != nil {
		t.Fatal(err)
	}
	group.Go(func() {
		text := bytes.Repeat([]byte("x"), frame.MaxData)
		for i := range 200 {
			for j := range text {
				text[j] = byte(i)
			}
			_ = frame.Send(stream, frame.Elsewhere, &tunnelv1.Frame{Kind: &tunnelv1.Frame_Data{Data: text}}) // changed as soon as it is sent
		}
		_ = frame.Send(stream, frame.Elsewhere, &tunnelv1.Frame{Kind: &tunnelv1.Frame_Signal{Signal: "INT"}})
		_ = stream.CloseSend()
	})
	receiver := frame.Receiver{Stream: stream, Field: frame.ToOperator}
	for i := range 200 {
		got, err := receiver.Recv()
		if err != nil || !bytes.Equal(got.GetData(), bytes.Repeat([]byte{byte(i)}, frame.MaxData)) {
			t.Fatalf("frame %d: %.20v, %v", i, got, err)
		}
	}
	if got, err := receiver.Recv(); err != nil || got.GetSignal() != "INT" {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := receiver.Recv(); !errors.Is(err, io.EOF) {
		t.Error(err)
	}
}
