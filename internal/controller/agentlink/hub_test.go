package agentlink

import (
	"context"
	"net"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/types/known/timestamppb"

	"mctl/internal/controller/event"
	"mctl/internal/fault"
	"mctl/internal/host"
	agentv1 "mctl/proto/mctl/agent/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// stage is a hub behind a server; callers say who they are in metadata.
type stage struct {
	t      testing.TB
	hub    *Hub
	conn   *grpc.ClientConn
	ctx    context.Context
	server *grpc.Server

	mu      sync.Mutex
	events  []host.Event
	ends    []error // what Connect returned
	notes   int
	reports int
	gone    map[string]bool // uids whose right was taken away
	onEmit  func()          // may be nil
}

func newStage(t testing.TB) *stage {
	t.Helper()
	s := &stage{t: t}
	ctx, cancel := context.WithCancel(context.Background())
	s.ctx = ctx
	s.hub = New(Config{
		Logger: hclog.NewNullLogger(), Now: time.Now, Signer: nil,
		Identify: func(ctx context.Context) (string, error) {
			values, _ := metadata.FromIncomingContext(ctx)
			s.mu.Lock()
			defer s.mu.Unlock()
			if found := values.Get("uid"); len(found) == 1 && !s.gone[found[0]] {
				return found[0], nil
			}
			return "", fault.New("stage", fault.Denied, "", "only an agent may call this")
		},
		Notify:   func(string) { s.mu.Lock(); defer s.mu.Unlock(); s.notes++ },
		Reported: func(string) { s.mu.Lock(); defer s.mu.Unlock(); s.reports++ },
		Emit: func(_ string, e host.Event) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.events = append(s.events, e)
			if s.onEmit != nil {
				s.onEmit()
			}
		},
	})
	s.server = grpc.NewServer(grpc.StreamInterceptor(
		func(server any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
			err := handle(server, stream)
			s.mu.Lock()
			defer s.mu.Unlock()
			s.ends = append(s.ends, err)
			return err
		}))
	agentv1.RegisterLinkServiceServer(s.server, s.hub)
	listener := bufconn.Listen(256 << 10)
	go s.server.Serve(listener) //nolint:errcheck // ends with Stop
	conn, err := grpc.NewClient("passthrough:///hub", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	s.conn = conn
	t.Cleanup(func() {
		cancel()
		conn.Close() //nolint:errcheck // nothing to save
		s.server.Stop()
	})
	return s
}

// open begins a stream of a machine; with an instance it says Hello, too.
func (s *stage) open(uid, instance string) agentv1.LinkService_ConnectClient {
	s.t.Helper()
	stream, err := agentv1.NewLinkServiceClient(s.conn).Connect(metadata.AppendToOutgoingContext(s.ctx, "uid", uid))
	if err != nil {
		s.t.Fatal(err)
	}
	if instance != "" {
		send(stream, &agentv1.ConnectRequest{Message: &agentv1.ConnectRequest_Hello{Hello: &agentv1.Hello{Protocol: 1, Instance: instance}}})
	}
	return stream
}

// send ignores errors: a stream that has ended is what many tests wait for.
func send(stream agentv1.LinkService_ConnectClient, m *agentv1.ConnectRequest) { _ = stream.Send(m) }

func fact(message string) *agentv1.ConnectRequest {
	return &agentv1.ConnectRequest{Message: &agentv1.ConnectRequest_Fact{Fact: &agentv1.Fact{Type: host.EventProgress, Message: message}}}
}

func heartbeat() *agentv1.ConnectRequest {
	return &agentv1.ConnectRequest{Message: &agentv1.ConnectRequest_Health{Health: &agentv1.Health{Delta: true}}}
}

func (s *stage) lastEnd() (error, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.ends) == 0 {
		return nil, false
	}
	return s.ends[len(s.ends)-1], true
}

func (s *stage) saw(kind string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, e := range s.events {
		if e.Type == kind {
			n++
		}
	}
	return n
}

func pass(d time.Duration) { <-time.After(d); synctest.Wait() }

func TestMisbehaviourEndsASessionWithItsReason(t *testing.T) {
	for name, c := range map[string]struct {
		act  func(agentv1.LinkService_ConnectClient)
		want fault.Kind
	}{
		"no Hello first": {func(stream agentv1.LinkService_ConnectClient) { send(stream, heartbeat()) }, fault.Invalid},
		"another age": {func(stream agentv1.LinkService_ConnectClient) {
			send(stream, &agentv1.ConnectRequest{Message: &agentv1.ConnectRequest_Hello{Hello: &agentv1.Hello{Protocol: 9}}})
		}, fault.Precondition},
		"says nothing at all": {func(agentv1.LinkService_ConnectClient) {}, fault.Unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStage(t)
				c.act(s.open("m", ""))
				pass(13 * time.Second)
				if err, ended := s.lastEnd(); !ended || !fault.Is(err, c.want) {
					t.Errorf("ended: %v, with %v, want %s", ended, err, c.want)
				}
				if _, seen := s.hub.Observed("m"); seen {
					t.Error("it counts as a host that connected")
				}
			})
		})
	}
}

func TestAMessageThatIsTooLongEndsTheSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		stream := s.open("m", "i1")
		send(stream, fact(strings.Repeat("x", maxMessage)))
		pass(time.Second)
		if err, ended := s.lastEnd(); !ended || !fault.Is(err, fault.Invalid) {
			t.Errorf("ended: %v, with %v", ended, err)
		}
	})
}

func TestAConnectionThatBreaksIsToldAsThat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		ctx, cancel := context.WithCancel(s.ctx)
		whole := s.ctx
		s.ctx = ctx
		s.open("m", "i1")
		s.ctx = whole
		pass(time.Second)
		cancel()
		pass(time.Second)
		s.mu.Lock()
		defer s.mu.Unlock()
		if last := s.events[len(s.events)-1]; last.Type != event.AgentLost || last.Message != "the agent was lost: its connection ended" {
			t.Errorf("%+v", last)
		}
	})
}

func TestAFloodIsThinnedOutAndThenEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		stream := s.open("m", "i1")
		for range insaneBurst - 100 {
			send(stream, fact("spam"))
		}
		pass(time.Second)
		if n := s.saw(host.EventProgress); n == 0 || n > calmBurst+calmRate {
			t.Errorf("%d facts came through", n)
		}
		if _, ended := s.lastEnd(); ended {
			t.Fatal("it ended before its time")
		}
		for range 1000 {
			send(stream, fact("spam"))
		}
		pass(time.Second)
		if err, ended := s.lastEnd(); !ended || !fault.Is(err, fault.Quota) {
			t.Errorf("ended: %v, with %v", ended, err)
		}
	})
}

func TestAnAgentThatNeverReadsHoldsNobodyUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		stream := s.open("m", "i1")
		big := make([]byte, 60<<10)
		for g := range uint64(100) { // far more than the stream's window
			s.hub.SetDesired("m", Wish{Desired: host.Desired{Generation: g, Front: host.Front{ClientCA: big}}})
			send(stream, heartbeat())
			pass(time.Second)
		}
		if o, _ := s.hub.Observed("m"); !o.Connected {
			t.Error("a slow reader that still speaks was cut")
		}
		s.hub.Forget("m") // must get through to a session whose sending is stuck
		pass(time.Second)
		if err, ended := s.lastEnd(); !ended || !fault.Is(err, fault.Denied) {
			t.Errorf("ended: %v, with %v", ended, err)
		}
	})
}

func TestAHostThatFreezesIsLostWithin15Seconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		stream := s.open("m", "i1")
		for range 10 { // a host that reports is kept
			send(stream, heartbeat())
			pass(5 * time.Second)
		}
		if o, _ := s.hub.Observed("m"); !o.Connected {
			t.Fatal("it was lost while it reported")
		}
		pass(10 * time.Second)
		if o, _ := s.hub.Observed("m"); o.Connected || s.saw(event.AgentLost) != 1 {
			t.Errorf("15 s after its last word it is connected: %v, lost %d times", o.Connected, s.saw(event.AgentLost))
		}
	})
}

func TestAHeartbeatAloneIsNoHealth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		send(s.open("m", "i1"), heartbeat())
		pass(time.Second)
		if o, _ := s.hub.Observed("m"); !o.Connected || o.Health != nil {
			t.Errorf("observed %+v", o)
		}
	})
}

func TestHeartbeatsNotifyNobodyAndAreReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		stream := s.open("m", "i1")
		pass(time.Second)
		before, reports := s.notes, s.reports
		for range 20 {
			send(stream, heartbeat())
			pass(5 * time.Second)
		}
		if s.notes != before || s.reports != reports+20 {
			t.Errorf("%d notes and %d reports for 20 heartbeats", s.notes-before, s.reports-reports)
		}
	})
}

func TestHostsMayNotReportEventsOfTheLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		stream := s.open("m", "i1")
		send(stream, &agentv1.ConnectRequest{Message: &agentv1.ConnectRequest_Fact{Fact: &agentv1.Fact{Type: event.AgentLost}}})
		send(stream, fact("a\x1b[31mb"))
		pass(time.Second)
		if s.saw(event.AgentLost) != 0 {
			t.Error("a host reported its own loss")
		}
		for _, e := range s.events {
			if strings.ContainsRune(e.Message, 0x1b) {
				t.Errorf("an escape sequence came through: %q", e.Message)
			}
		}
	})
}

func TestStrangersGetNoSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		stream, err := agentv1.NewLinkServiceClient(s.conn).Connect(s.ctx)
		if err == nil {
			_, err = stream.Recv()
		}
		if err == nil {
			t.Error("let in")
		}
		if end, _ := s.lastEnd(); !fault.Is(end, fault.Denied) {
			t.Errorf("ended with %v", end)
		}
	})
}

func TestWhoComesAnewGetsNoMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		s.hub.SetDesired("m", Wish{Desired: host.Desired{Generation: 1}})
		for range 5 {
			stream := s.open("m", "i1")
			for range calmBurst - 100 {
				send(stream, fact("spam"))
			}
			pass(time.Second)
			_ = stream.CloseSend()
			pass(time.Second)
		}
		if n := s.saw(host.EventProgress); n > calmBurst+calmRate*10 {
			t.Errorf("%d facts came through in five sessions", n)
		}
	})
}

// The right of a machine may be taken away while its session begins: then the removal has not yet seen the session.
func TestASessionDoesNotOutliveTheRemovalOfItsMachine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		stream := s.open("m", "") // let in
		pass(time.Second)
		s.mu.Lock()
		s.gone = map[string]bool{"m": true}
		s.mu.Unlock()
		s.hub.Forget("m")
		send(stream, &agentv1.ConnectRequest{Message: &agentv1.ConnectRequest_Hello{Hello: &agentv1.Hello{Protocol: 1, Instance: "i1"}}})
		pass(time.Second)
		if err, ended := s.lastEnd(); !ended || !fault.Is(err, fault.Denied) {
			t.Errorf("ended: %v, with %v", ended, err)
		}
		if len(s.hub.hosts) != 0 {
			t.Errorf("%d hosts are kept", len(s.hub.hosts))
		}
	})
}

func TestNothingIsKeptOfMachinesThatAreGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		for i := range 10 {
			uid := strconv.Itoa(i)
			s.hub.SetDesired(uid, Wish{Desired: host.Desired{Generation: 1}})
			s.open(uid, "i1")
			pass(time.Second)
			s.hub.Forget(uid)
			pass(time.Second)
			ctx := metadata.AppendToOutgoingContext(s.ctx, "uid", uid) // a call that was let in before
			_, _ = agentv1.NewLinkServiceClient(s.conn).IssueEngineCertificate(ctx, &agentv1.IssueEngineCertificateRequest{})
		}
		if len(s.hub.hosts) != 0 {
			t.Errorf("%d hosts are kept", len(s.hub.hosts))
		}
	})
}

func TestWhatAnotherAgentAppliedIsNoAnswerOfThisOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		s.hub.SetDesired("m", Wish{Desired: host.Desired{Generation: 1}})
		stream := s.open("m", "i1")
		send(stream, &agentv1.ConnectRequest{Message: &agentv1.ConnectRequest_Applied{Applied: &agentv1.Applied{Generation: 1, Digest: "d"}}})
		pass(time.Second)
		if o, _ := s.hub.Observed("m"); o.Applied.Digest != "d" {
			t.Fatalf("observed %+v", o.Applied)
		}
		s.open("m", "i2") // set up anew: it has applied nothing yet
		pass(time.Second)
		if o, _ := s.hub.Observed("m"); !o.Connected || o.Applied.Digest != "" {
			t.Errorf("observed %+v", o.Applied)
		}
	})
}

func TestAPanicEndsOneSessionAndNoProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		other := s.open("other", "i1")
		stream := s.open("m", "i1")
		pass(time.Second)
		s.mu.Lock()
		s.onEmit = func() { s.onEmit = nil; panic("a mistake") }
		s.mu.Unlock()
		send(stream, fact("x"))
		pass(time.Second)
		if err, ended := s.lastEnd(); !ended || !fault.Is(err, fault.Internal) || strings.Contains(err.Error(), "a mistake") {
			t.Errorf("ended: %v, with %v", ended, err)
		}
		send(other, fact("x"))
		pass(time.Second)
		if o, _ := s.hub.Observed("other"); !o.Connected || s.saw(host.EventProgress) != 2 {
			t.Errorf("the other one: %+v", o)
		}
	})
}

func TestWhatAHostileAgentSaysFitsOthersScreensAndDocuments(t *testing.T) {
	never := &timestamppb.Timestamp{Seconds: 1 << 60}
	applied := appliedOf(&agentv1.Applied{
		Failure: &agentv1.Failure{Kind: "OK\x1b[2J", Message: "a\nb\u009b2J"}, Front: &agentv1.FrontFacts{CertificateExpireTime: never},
	})
	if applied.Failure.Kind != string(fault.Internal) || strings.ContainsAny(applied.Failure.Message, "\n\u009b") || !applied.Front.CertificateExpiry.IsZero() {
		t.Errorf("%+v %+v", applied, applied.Failure)
	}
	now := time.Now()
	boot := int64(1 << 60)
	if merged := mergeHealth(nil, &agentv1.Health{BootTimeSeconds: &boot}, now); !merged.BootTime.IsZero() {
		t.Errorf("booted at %s", merged.BootTime)
	}
	long := strings.Repeat("x", 60_000)
	said := &agentv1.Fact{Type: host.EventProgress, Message: long, Attributes: map[string]string{long: long}}
	for i := range 100 {
		said.Attributes[strconv.Itoa(i)] = long
	}
	e, ok := eventOf(said, now)
	size := len(e.Message)
	for key, value := range e.Attributes {
		size += len(key) + len(value)
	}
	if !ok || size > host.MaxLine+2*maxAttributes*maxAttribute {
		t.Errorf("%d bytes of one event", size)
	}
}

// BenchmarkIdleSession tells what one idle agent costs the controller in memory, both ends' buffers included, since the
// client runs in this process, too.
func BenchmarkIdleSession(b *testing.B) {
	s := newStage(b)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for i := range b.N {
		stream := s.open(strconv.Itoa(i), "i")
		if _, err := stream.Recv(); err != nil { // Welcome
			b.Fatal(err)
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	b.ReportMetric(float64(int64(after.HeapInuse+after.StackInuse)-int64(before.HeapInuse+before.StackInuse))/float64(b.N), "B/session")
}
