package frame_test

import (
	"bytes"
	"context"
	"net"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/experimental"

	"mctl/internal/frame"
	controllerv1 "mctl/proto/mctl/controller/v1"
	tunnelv1 "mctl/proto/mctl/tunnel/v1"
)

// poison is a pool that spoils what is given back, and notices what is given back twice.
type poison struct {
	t    *testing.T
	mu   sync.Mutex
	out  map[*[]byte]bool
	gone int
}

func (p *poison) Get(length int) *[]byte {
	buffer := make([]byte, length)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.out[&buffer] = true
	return &buffer
}

func (p *poison) Put(buffer *[]byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.out[buffer] {
		p.t.Error("a buffer is given back that is not out")
	}
	delete(p.out, buffer)
	p.gone++
	whole := (*buffer)[:cap(*buffer)]
	for i := range whole {
		whole[i] = 0xdb
	}
}

// Streams are sent on side by side, some to their end and some cut off in the midst, while data are under way both ways.
func TestBuffersAreGivenBackOnceAndNotUsedAfterwards(t *testing.T) {
	pool := &poison{t: t, out: map[*[]byte]bool{}}
	server := grpc.NewServer(grpc.ForceServerCodecV2(frame.Codec()), grpc.WaitForHandlers(true), experimental.BufferPool(pool))
	controllerv1.RegisterSessionServiceServer(server, echo{})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(listener) })
	conn, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()), experimental.WithBufferPool(pool))
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	for i := range 12 {
		group.Go(func() { converse(t, conn, byte(i+1), 7+i*5000, i%3 == 0) })
	}
	group.Wait()
	conn.Close()
	server.Stop()
	serving.Wait()
	pool.mu.Lock()
	defer pool.mu.Unlock()
	if pool.gone == 0 {
		t.Error("nothing was ever given back")
	}
}

func converse(t *testing.T, conn *grpc.ClientConn, mark byte, size int, cut bool) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stream, err := controllerv1.NewSessionServiceClient(conn).OpenTunnel(ctx, grpc.ForceCodecV2(frame.Codec()))
	if err != nil {
		t.Error(err)
		return
	}
	if err := stream.Send(&controllerv1.OpenTunnelRequest{}); err != nil {
		t.Error(err)
		return
	}
	var group sync.WaitGroup
	defer group.Wait()
	group.Go(func() {
		text := bytes.Repeat([]byte{mark}, size)
		for range 40 {
			if frame.Send(stream, frame.Elsewhere, &tunnelv1.Frame{Kind: &tunnelv1.Frame_Data{Data: text}}) != nil {
				return
			}
		}
		_ = stream.CloseSend()
	})
	receiver := frame.Receiver{Stream: stream, Field: frame.ToOperator}
	for i := range 40 {
		got, err := receiver.Recv()
		if err != nil || !bytes.Equal(got.GetData(), bytes.Repeat([]byte{mark}, size)) {
			t.Errorf("stream %d, frame %d: %d bytes that begin with %.4x, %v", mark, i, len(got.GetData()), got.GetData(), err)
			cancel()
			return
		}
		if cut && i == 5 {
			cancel()
			return
		}
	}
}
