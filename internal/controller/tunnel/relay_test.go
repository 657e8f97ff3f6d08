package tunnel

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	"mctl/internal/fault"
	"mctl/internal/frame"
	agentv1 "mctl/proto/mctl/agent/v1"
	controllerv1 "mctl/proto/mctl/controller/v1"
	tunnelv1 "mctl/proto/mctl/tunnel/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a relay behind a real server, where callers and machines say who they are.
type world struct {
	controllerv1.UnimplementedSessionServiceServer
	t       *testing.T
	relay   *Relay
	conn    *grpc.ClientConn
	asked   chan string // ids, of the machine u1
	results chan error  // how the operators' calls ended
	deaf    bool        // the machine has no session

	mu     sync.Mutex
	opened []string
}

func newWorld(t *testing.T, change ...func(*Config)) *world {
	t.Helper()
	w := &world{t: t, asked: make(chan string, 1000), results: make(chan error, 1000)}
	config := Config{
		Logger: hclog.NewNullLogger(), Now: time.Now,
		Find: func(_ context.Context, name string) (Machine, error) {
			switch name {
			case "web":
				return Machine{UID: "u1", Name: "web", User: "deploy", EnginePort: 2377}, nil
			case "new":
				return Machine{UID: "u2", Name: "new"}, nil
			}
			return Machine{}, fault.New("test", fault.NotFound, name, "no such machine")
		},
		Ask: func(_ string, id []byte) bool {
			if !w.deaf {
				w.asked <- string(id)
			}
			return !w.deaf
		},
		Identify: func(ctx context.Context) (string, error) {
			incoming, _ := metadata.FromIncomingContext(ctx)
			if uid := incoming.Get("uid"); len(uid) == 1 {
				return uid[0], nil
			}
			return "", fault.New("test", fault.Denied, "", "no machine")
		},
		Opened: func(m Machine, caller, what string) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.opened = append(w.opened, fmt.Sprintf("%s %s %s", m.Name, caller, what))
		},
	}
	for _, f := range change {
		f(&config)
	}
	w.relay = New(config)
	server := grpc.NewServer(grpc.WaitForHandlers(true), grpc.ForceServerCodecV2(frame.Codec()))
	controllerv1.RegisterSessionServiceServer(server, w)
	agentv1.RegisterTunnelServiceServer(server, w.relay)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() { defer close(served); _ = server.Serve(listener) }()
	if w.conn, err = grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials())); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		w.conn.Close()
		server.Stop()
		<-served
		w.relay.mu.Lock()
		defer w.relay.mu.Unlock()
		if n := len(w.relay.waiting) + len(w.relay.open) + len(w.relay.machine) + len(w.relay.caller); n != 0 {
			t.Errorf("%d things are kept for tunnels that are over", n)
		}
	})
	return w
}

// OpenTunnel implements controllerv1.SessionServiceServer.
func (w *world) OpenTunnel(stream controllerv1.SessionService_OpenTunnelServer) error {
	err := w.relay.Serve(stream, "user:ann")
	w.results <- err
	return err
}

type operator struct {
	controllerv1.SessionService_OpenTunnelClient
	cancel context.CancelFunc
}

func (w *world) operator(machine string, work *tunnelv1.Work) operator {
	w.t.Helper()
	ctx, cancel := context.WithCancel(w.t.Context())
	w.t.Cleanup(cancel)
	stream, err := controllerv1.NewSessionServiceClient(w.conn).OpenTunnel(ctx)
	if err != nil {
		w.t.Fatal(err)
	}
	start := &controllerv1.TunnelStart{Machine: machine, Work: work}
	if err := stream.Send(&controllerv1.OpenTunnelRequest{Message: &controllerv1.OpenTunnelRequest_Start{Start: start}}); err != nil {
		w.t.Fatal(err)
	}
	return operator{stream, cancel}
}

func (o operator) say(frame *tunnelv1.Frame) error {
	return o.Send(&controllerv1.OpenTunnelRequest{Message: &controllerv1.OpenTunnelRequest_Frame{Frame: frame}})
}

type hostEnd struct {
	agentv1.TunnelService_OpenClient
	cancel context.CancelFunc
	order  *agentv1.Order
}

// host opens the stream for an id as a machine.
func (w *world) host(uid, id string) (hostEnd, error) {
	w.t.Helper()
	ctx, cancel := context.WithCancel(metadata.AppendToOutgoingContext(w.t.Context(), "uid", uid))
	w.t.Cleanup(cancel)
	stream, err := agentv1.NewTunnelServiceClient(w.conn).Open(ctx)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := stream.Send(&agentv1.OpenRequest{Message: &agentv1.OpenRequest_Id{Id: []byte(id)}}); err != nil {
		w.t.Fatal(err)
	}
	first, err := stream.Recv()
	return hostEnd{stream, cancel, first.GetOrder()}, err
}

func (h hostEnd) say(frame *tunnelv1.Frame) error {
	return h.Send(&agentv1.OpenRequest{Message: &agentv1.OpenRequest_Frame{Frame: frame}})
}

func data(text string) *tunnelv1.Frame {
	return &tunnelv1.Frame{Kind: &tunnelv1.Frame_Data{Data: []byte(text)}}
}

func execWork(command string) *tunnelv1.Work {
	return &tunnelv1.Work{What: &tunnelv1.Work_Exec{Exec: &tunnelv1.Exec{Command: command}}}
}

// join opens both ends.
func (w *world) join(work *tunnelv1.Work) (operator, hostEnd) {
	w.t.Helper()
	o := w.operator("web", work)
	h, err := w.host("u1", <-w.asked)
	if err != nil {
		w.t.Fatal(err)
	}
	return o, h
}

func TestFramesPassBothWaysUntilTheLast(t *testing.T) {
	w := newWorld(t)
	o, h := w.join(execWork("cat"))
	if h.order.GetUser() != "deploy" || h.order.GetWork().GetExec().GetCommand() != "cat" {
		t.Errorf("order %v", h.order)
	}
	if err := errors.Join(o.say(data("in")), o.CloseSend()); err != nil {
		t.Fatal(err)
	}
	first, err := h.Recv()
	second, secondErr := h.Recv()
	if string(first.GetFrame().GetData()) != "in" || second.GetFrame().GetEnd() == nil || err != nil || secondErr != nil {
		t.Errorf("the host heard %v, %v, %v, %v", first, second, err, secondErr)
	}
	exit := &tunnelv1.Frame{Kind: &tunnelv1.Frame_Exit{Exit: &tunnelv1.Exit{Code: 3}}}
	if err := errors.Join(h.say(&tunnelv1.Frame{}), h.say(data("out")), h.say(exit)); err != nil {
		t.Fatal(err)
	}
	said, err := o.Recv()
	last, lastErr := o.Recv()
	if string(said.GetFrame().GetData()) != "out" || last.GetFrame().GetExit().GetCode() != 3 || err != nil || lastErr != nil {
		t.Errorf("the operator heard %v, %v, %v, %v", said, last, err, lastErr)
	}
	if _, err := o.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("after the last word: %v", err)
	}
	if _, err := h.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("the host after the last word: %v", err)
	}
	if err := <-w.results; err != nil {
		t.Error(err)
	}
	if got := strings.Join(w.opened, "; "); got != "web user:ann command" {
		t.Errorf("told: %s", got)
	}
}

func TestTheEndOfOneSideIsTheEndOfTheOther(t *testing.T) {
	flood := func(say func(*tunnelv1.Frame) error) { // more than any window, with nobody to take it
		for chunk := data(strings.Repeat("x", frame.MaxData)); say(chunk) == nil; {
		}
	}
	for name, c := range map[string]struct {
		end   func(*world, operator, hostEnd)
		flood bool
		kind  fault.Kind
	}{
		"the operator goes away":              {func(_ *world, o operator, _ hostEnd) { o.cancel() }, false, ""},
		"the host goes away":                  {func(_ *world, _ operator, h hostEnd) { h.cancel() }, false, fault.Unavailable},
		"the machine is removed":              {func(w *world, _ operator, _ hostEnd) { w.relay.Forget("u1") }, false, fault.NotFound},
		"the operator goes away amid a flood": {func(_ *world, o operator, _ hostEnd) { o.cancel() }, true, ""},
		"the host goes away amid a flood":     {func(_ *world, _ operator, h hostEnd) { h.cancel() }, true, fault.Unavailable},
		"the machine is removed amid a flood": {func(w *world, _ operator, _ hostEnd) { w.relay.Forget("u1") }, true, fault.NotFound},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			o, h := w.join(execWork("x"))
			var floods sync.WaitGroup
			if c.flood {
				floods.Go(func() { flood(o.say) })
				floods.Go(func() { flood(h.say) })
			}
			w.relay.Forget("another")
			c.end(w, o, h)
			if err := <-w.results; err == nil || c.kind != "" && fault.KindOf(err) != c.kind {
				t.Errorf("it ended with %v", err)
			}
			floods.Wait()
			for _, recv := range []func() error{func() error { _, err := o.Recv(); return err }, func() error { _, err := h.Recv(); return err }} {
				for recv() == nil { // what was under way
				}
			}
		})
	}
}

func TestAnIDIsForOneMachineAndOnce(t *testing.T) {
	w := newWorld(t)
	w.operator("web", execWork("x"))
	id := <-w.asked
	for name, c := range map[string][2]string{"another machine": {"u2", id}, "a guess": {"u1", strings.Repeat("x", idSize)}, "none": {"u1", ""}} {
		if _, err := w.host(c[0], c[1]); err == nil || !strings.Contains(err.Error(), "no tunnel waits") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := w.host("u1", id); err != nil {
		t.Errorf("its own: %v", err)
	}
	if _, err := w.host("u1", id); err == nil {
		t.Error("used twice")
	}
}

func TestAHostMayAskWhetherATunnelIsOver(t *testing.T) {
	w := newWorld(t)
	o := w.operator("web", execWork("x"))
	id := <-w.asked
	h, err := w.host("u1", id)
	if err != nil {
		t.Fatal(err)
	}
	check := func(uid, id string) bool {
		ctx := metadata.AppendToOutgoingContext(t.Context(), "uid", uid)
		_, err := agentv1.NewTunnelServiceClient(w.conn).Check(ctx, &agentv1.CheckRequest{Id: []byte(id)})
		return err == nil
	}
	if !check("u1", id) || check("u2", id) || check("u1", "another") || check("", id) {
		t.Errorf("its own %v, another machine's %v, another %v, a stranger's %v", check("u1", id), check("u2", id), check("u1", "another"), check("", id))
	}
	var flood sync.WaitGroup
	flood.Go(func() { // which the host does not take, so that the end of its stream stands behind it
		for chunk := data(strings.Repeat("x", frame.MaxData)); o.say(chunk) == nil; {
		}
	})
	o.cancel()
	flood.Wait()
	if err := <-w.results; err == nil {
		t.Error("it ended well")
	}
	if check("u1", id) {
		t.Error("it is over, and the host is not told")
	}
	h.cancel()
}

func TestAHostIsWaitedForWithALimit(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Wait = 10 * time.Millisecond })
	w.operator("web", execWork("x"))
	if err := <-w.results; !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "within 10ms") {
		t.Errorf("%v", err)
	}
	if _, err := w.host("u1", <-w.asked); err == nil {
		t.Error("it came too late and was taken")
	}
	w.deaf = true
	w.operator("web", execWork("x"))
	if err := <-w.results; !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "not connected") {
		t.Errorf("%v", err)
	}
}

func TestAnAgentThatIsOnItsWayIsWaitedFor(t *testing.T) {
	tries := 0
	w := newWorld(t, func(c *Config) {
		ask := c.Ask
		c.Ask = func(uid string, id []byte) bool { tries++; return tries == 3 && ask(uid, id) }
		c.Awaited = func(string) bool { return tries < 3 }
	})
	w.operator("web", execWork("x"))
	if _, err := w.host("u1", <-w.asked); err != nil || tries != 3 {
		t.Errorf("after %d tries: %v", tries, err)
	}
	w.operator("web", execWork("x")) // it had a session since, and lost it
	if err := <-w.results; !fault.Is(err, fault.Unavailable) || tries != 4 {
		t.Errorf("after %d tries: %v", tries, err)
	}
}

func TestWhatAHostFailsWithIsTheOperatorsFault(t *testing.T) {
	w := newWorld(t)
	_, h := w.join(execWork("x"))
	failure := &tunnelv1.Failure{Kind: "precondition", Message: "no such user\x1b[2J" + strings.Repeat("!", 100_000), Hint: "make one\n2026 forged"}
	if err := h.say(&tunnelv1.Frame{Kind: &tunnelv1.Frame_Failure{Failure: failure}}); err != nil {
		t.Fatal(err)
	}
	if err := <-w.results; !fault.Is(err, fault.Precondition) || !strings.HasPrefix(err.Error(), "no such user [2J!!") ||
		len(err.Error()) > 1000 || fault.HintOf(err) != "make one 2026 forged" {
		t.Errorf("%v", err)
	}
}

func TestAMachineHasSoManyTunnelsAndNoMore(t *testing.T) {
	w := newWorld(t)
	for range mostOfMachine {
		w.operator("web", execWork("x"))
		<-w.asked
	}
	one := w.operator("web", execWork("x"))
	if err := <-w.results; !fault.Is(err, fault.Quota) {
		t.Errorf("one too many: %v", err)
	}
	one.cancel()
	w.relay.Forget("u1")
	for range mostOfMachine {
		if err := <-w.results; !fault.Is(err, fault.NotFound) {
			t.Errorf("it ended with %v", err)
		}
	}
	w.operator("web", execWork("x"))
	<-w.asked // there is room again
}

func TestNonsenseIsRefused(t *testing.T) {
	w := newWorld(t)
	long := strings.Repeat("x", maxCommand+1)
	forward := func(port uint32, docker bool) *tunnelv1.Work {
		return &tunnelv1.Work{What: &tunnelv1.Work_Forward{Forward: &tunnelv1.Forward{Port: port, Docker: docker}}}
	}
	lines := uint32(maxLines + 1)
	for name, c := range map[string]struct {
		machine string
		work    *tunnelv1.Work
		kind    fault.Kind
	}{
		"no work":                     {"web", nil, fault.Invalid},
		"empty work":                  {"web", &tunnelv1.Work{}, fault.Invalid},
		"a long command":              {"web", execWork(long), fault.Invalid},
		"a zero byte":                 {"web", execWork("a\x00b"), fault.Invalid},
		"a variable":                  {"web", &tunnelv1.Work{What: &tunnelv1.Work_Exec{Exec: &tunnelv1.Exec{Env: []string{"A B=c"}}}}, fault.Invalid},
		"a terminal":                  {"web", &tunnelv1.Work{What: &tunnelv1.Work_Exec{Exec: &tunnelv1.Exec{Terminal: &tunnelv1.Terminal{Type: "x\x1b"}}}}, fault.Invalid},
		"no port":                     {"web", forward(0, false), fault.Invalid},
		"a port too high":             {"web", forward(65536, false), fault.Invalid},
		"a port and Docker":           {"web", forward(80, true), fault.Invalid},
		"a path":                      {"web", &tunnelv1.Work{What: &tunnelv1.Work_Copy{Copy: &tunnelv1.Copy{Path: "a\x00"}}}, fault.Invalid},
		"a unit":                      {"web", &tunnelv1.Work{What: &tunnelv1.Work_Logs{Logs: &tunnelv1.Logs{Units: []tunnelv1.Unit{99}}}}, fault.Invalid},
		"lines":                       {"web", &tunnelv1.Work{What: &tunnelv1.Work_Logs{Logs: &tunnelv1.Logs{Lines: &lines}}}, fault.Invalid},
		"no such machine":             {"nosuch", execWork("x"), fault.NotFound},
		"a machine with no login yet": {"new", execWork("x"), fault.Precondition},
	} {
		w.operator(c.machine, c.work)
		if err := <-w.results; fault.KindOf(err) != c.kind {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, frame := range map[string]*tunnelv1.Frame{
		"too much at once": data(strings.Repeat("x", frame.MaxData+1)), "nothing": {}, "none": nil,
		"an exit": {Kind: &tunnelv1.Frame_Exit{Exit: &tunnelv1.Exit{}}},
	} {
		o, _ := w.join(execWork("x"))
		if err := o.say(frame); err != nil {
			t.Fatal(err)
		}
		if err := <-w.results; !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestDockersPortIsTheControllersToKnow(t *testing.T) {
	w := newWorld(t)
	_, h := w.join(&tunnelv1.Work{What: &tunnelv1.Work_Forward{Forward: &tunnelv1.Forward{Docker: true}}})
	if port := h.order.GetWork().GetForward().GetPort(); port != 2377 {
		t.Errorf("port %d", port)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.opened) != 0 {
		t.Errorf("told: %v", w.opened)
	}
}
