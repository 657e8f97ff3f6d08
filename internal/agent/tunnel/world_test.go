package tunnel

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"mctl/internal/fault"
	agentv1 "mctl/proto/mctl/agent/v1"
	tunnelv1 "mctl/proto/mctl/tunnel/v1"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "copy" { // as our program does
		os.Exit(Copy(os.Args[2:], os.Stdin, os.Stdout, os.Stderr))
	}
	goleak.VerifyTestMain(m)
}

// world is a host with a pretended controller.
type world struct {
	agentv1.UnimplementedTunnelServiceServer
	t       *testing.T
	server  *Server
	user    string
	home    string
	streams chan *operator
	stop    context.CancelFunc
	stopped chan struct{}
	dials   chan struct{}
	last    atomic.Pointer[operator]
}

// operator is the controller's end of one tunnel.
type operator struct {
	agentv1.TunnelService_OpenServer
	t    *testing.T
	id   string
	over chan struct{} // closed to end the stream, as a controller does whose operator is gone
}

func newWorld(t *testing.T) *world {
	t.Helper()
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	w := &world{t: t, user: "deploy", home: filepath.Join(root, "home"), streams: make(chan *operator, 300), stopped: make(chan struct{}), dials: make(chan struct{}, 300)}
	for _, directory := range []string{"etc", "home"} {
		if err := os.Mkdir(filepath.Join(root, directory), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range map[string]string{
		"passwd":      "root:x:0:0::/root:/bin/sh\ndeploy:x:" + me.Uid + ":" + me.Gid + "::" + w.home + ":/bin/sh\n",
		"group":       "tty:x:5:\nextra:x:4242:other,deploy\n",
		"environment": "# comment\nSITE=\"north\"\n",
	} {
		if err := os.WriteFile(filepath.Join(root, "etc", name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	grpcServer := grpc.NewServer()
	agentv1.RegisterTunnelServiceServer(grpcServer, w)
	served := make(chan struct{})
	go func() { defer close(served); _ = grpcServer.Serve(listener) }()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	w.server = New(Config{
		Logger: hclog.NewNullLogger(), Program: program, Root: root,
		Dial: func(context.Context) (*grpc.ClientConn, error) {
			w.dials <- struct{}{}
			return grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithUnaryInterceptor(faults))
		},
	})
	ctx, cancel := context.WithCancel(context.Background())
	w.stop = cancel
	go func() { defer close(w.stopped); _ = w.server.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		<-w.stopped
		grpcServer.Stop()
		<-served
	})
	return w
}

// faults has calls fail as those of the agent's own connection do.
func faults(ctx context.Context, method string, request, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, options ...grpc.CallOption) error {
	err := invoke(ctx, method, request, reply, conn, options...)
	if status.Code(err) == codes.NotFound {
		return fault.E("test", fault.NotFound, "", err)
	}
	return err
}

// Check implements agentv1.TunnelServiceServer.
func (w *world) Check(_ context.Context, request *agentv1.CheckRequest) (*agentv1.CheckResponse, error) {
	o := w.last.Load()
	select {
	case <-o.over:
		return nil, status.Error(codes.NotFound, "over")
	default:
	}
	if o.id != string(request.GetId()) {
		return nil, status.Error(codes.NotFound, "another")
	}
	return &agentv1.CheckResponse{}, nil
}

// Open implements agentv1.TunnelServiceServer.
func (w *world) Open(stream agentv1.TunnelService_OpenServer) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	o := &operator{stream, w.t, string(first.GetId()), make(chan struct{})}
	w.last.Store(o)
	w.streams <- o
	select {
	case <-o.over:
	case <-stream.Context().Done():
	}
	return nil
}

// open has the host begin some work.
func (w *world) open(work *tunnelv1.Work) *operator {
	w.t.Helper()
	w.server.Open([]byte("0123456789abcdef"))
	select {
	case o := <-w.streams:
		if o.id != "0123456789abcdef" {
			w.t.Fatalf("id %q", o.id)
		}
		order := &agentv1.Order{Work: work, User: w.user}
		if err := o.Send(&agentv1.OpenResponse{Message: &agentv1.OpenResponse_Order{Order: order}}); err != nil {
			w.t.Fatal(err)
		}
		return o
	case <-time.After(10 * time.Second):
		w.t.Fatal("the host does not come")
	}
	return nil
}

func (w *world) exec(command string) *operator {
	w.t.Helper()
	return w.open(&tunnelv1.Work{What: &tunnelv1.Work_Exec{Exec: &tunnelv1.Exec{Command: command}}})
}

func (w *world) terminal(command string, rows, columns uint32) *operator {
	w.t.Helper()
	return w.open(&tunnelv1.Work{What: &tunnelv1.Work_Exec{Exec: &tunnelv1.Exec{Command: command, Terminal: &tunnelv1.Terminal{
		Type: "vt100", Size: &tunnelv1.Size{Rows: rows, Columns: columns},
	}}}})
}

func (o *operator) say(frame *tunnelv1.Frame) {
	o.t.Helper()
	if err := o.Send(&agentv1.OpenResponse{Message: &agentv1.OpenResponse_Frame{Frame: frame}}); err != nil {
		o.t.Error(err)
	}
}

func (o *operator) data(text string) {
	o.say(&tunnelv1.Frame{Kind: &tunnelv1.Frame_Data{Data: []byte(text)}})
}
func (o *operator) end()    { o.say(&tunnelv1.Frame{Kind: &tunnelv1.Frame_End{End: &tunnelv1.End{}}}) }
func (o *operator) hangUp() { close(o.over) }

// heard is what the host said until its last word.
type heard struct {
	out, err string
	opened   bool
	ended    bool
	exit     *tunnelv1.Exit
	failure  *tunnelv1.Failure
}

// listen takes all that the host says; until, if any, may stop it early.
func (o *operator) listen(until func(heard) bool) heard {
	o.t.Helper()
	var h heard
	for {
		message, err := o.Recv()
		if errors.Is(err, io.EOF) {
			return h
		}
		if err != nil {
			o.t.Fatalf("after %+v: %v", h, err)
		}
		switch kind := message.GetFrame().GetKind().(type) {
		case *tunnelv1.Frame_Opened:
			h.opened = true
		case *tunnelv1.Frame_Data:
			h.out += string(kind.Data)
		case *tunnelv1.Frame_ErrorData:
			h.err += string(kind.ErrorData)
		case *tunnelv1.Frame_End:
			h.ended = true
		case *tunnelv1.Frame_Exit:
			h.exit = kind.Exit
			o.hangUp()
			return h
		case *tunnelv1.Frame_Failure:
			h.failure = kind.Failure
			o.hangUp()
			return h
		}
		if until != nil && until(h) {
			return h
		}
	}
}

// says waits until the host has said a text.
func (o *operator) says(text string) heard {
	o.t.Helper()
	return o.listen(func(h heard) bool { return strings.Contains(h.out, text) })
}

// eventually polls what has no event of its own.
func eventually(t *testing.T, what string, met func() bool) {
	t.Helper()
	ticker, limit := time.NewTicker(10*time.Millisecond), time.After(15*time.Second)
	defer ticker.Stop()
	for !met() {
		select {
		case <-ticker.C:
		case <-limit:
			t.Fatalf("not within 15 s: %s", what)
		}
	}
}
