package agentlink

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/time/rate"
	"google.golang.org/grpc/peer"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"mctl/internal/fault"
	"mctl/internal/host"
	agentv1 "mctl/proto/mctl/agent/v1"
)

// What one host may cost. An agent at its busiest says a handful of things a second; after a long time alone it brings a
// queue of some hundreds of facts.
const (
	maxMessage   = 64 << 10 // bytes, decoded
	calmRate     = 20       // messages a second; above it health and facts are dropped
	calmBurst    = 1000
	insaneRate   = 200 // messages a second; above it the session ends
	insaneBurst  = 4000
	maxTunnels   = 256 // ids that wait to be said
	oldestSpoken = 1   // protocols: ours and the ones next to it
	newestSpoken = 2
)

// session is one stream. It has one context and one cause of its end; whatever fails ends all of it.
type session struct {
	hub      *Hub
	uid      string
	way      host.Way
	instance string // set before the session is attached
	late     bool   // its machine was removed before it was attached
	logger   hclog.Logger
	stream   agentv1.LinkService_ConnectServer
	ctx      context.Context
	end      context.CancelCauseFunc
	limit    time.Duration // of silence
	silence  *time.Timer
	last     atomic.Int64 // when something was heard, Unix nanoseconds
	calm     *rate.Limiter
	insane   *rate.Limiter
	dropped  int

	mu       sync.Mutex // guards what waits to be sent
	pong     bool
	wish     bool
	tunnels  [][]byte // ids
	draining bool
	told     *Wish // the last that was sent; only the one drain touches it
}

var (
	errClosed   = errors.New("the agent closed the connection")
	errReleased = errors.New("the host was given back")
)

// silentLimit is how long a host may say nothing: two reports and a bit, so that one that froze right after a report is
// known as lost within 15 s at the usual pace.
func (h *Hub) silentLimit() time.Duration {
	return h.config.HealthInterval*2 + h.config.HealthInterval*2/5
}

// Connect implements agentv1.LinkServiceServer: it runs a session until either side ends it. The faults that it ends with:
// Conflict when another session of the same machine took its place, Unavailable when the host was silent, Denied when the
// machine was removed, Invalid and Quota for an agent that misbehaves, Precondition for one of an age that we can't talk to.
func (h *Hub) Connect(stream agentv1.LinkService_ConnectServer) error {
	uid, err := h.config.Identify(stream.Context())
	if err != nil {
		return err
	}
	ctx, end := context.WithCancelCause(stream.Context())
	defer end(nil)
	s := &session{
		hub: h, uid: uid, way: wayOf(stream.Context()), stream: stream, ctx: ctx, end: end, limit: h.silentLimit(), logger: h.config.Logger.With("uid", uid),
	}
	s.calm, s.insane = h.quotas(uid)
	s.silence = time.AfterFunc(s.limit, func() {
		end(fault.E("agentlink.Connect", fault.Unavailable, uid, fmt.Errorf("nothing heard for %s", s.limit)))
	})
	defer s.silence.Stop()
	go s.receive()
	// A receive can't be interrupted but by returning from here, so this goroutine is the one that waits.
	<-ctx.Done()
	if cause := context.Cause(ctx); !errors.Is(cause, errClosed) && !errors.Is(cause, errReleased) {
		return cause
	}
	return nil
}

// wayOf tells by the connection's address how a session came.
func wayOf(ctx context.Context) host.Way {
	if p, ok := peer.FromContext(ctx); ok && p.Addr.Network() == string(host.WaySSH) {
		return host.WaySSH
	}
	return host.WayDirect
}

func (s *session) heard() time.Time { return time.Unix(0, s.last.Load()) }

// receive takes what the host says, in order, until the session ends, and then detaches it: so what the hub tells of one
// session comes in order, too.
func (s *session) receive() {
	defer func() { s.hub.detach(s, context.Cause(s.ctx)) }()
	defer func() {
		if p := recover(); p != nil { // here, for no interceptor sees this goroutine
			s.logger.Error("session panicked", "panic", p, "stack", hclog.Stacktrace())
			s.end(fault.New("agentlink.receive", fault.Internal, s.uid, "internal error, see the controller's log"))
		}
	}()
	for first := true; ; first = false {
		message, err := s.stream.Recv()
		if err == nil {
			err = s.admit(message)
		}
		if err == nil {
			err = s.handle(message, first)
		}
		if errors.Is(err, io.EOF) {
			err = errClosed
		}
		if err != nil {
			s.end(err)
			return
		}
	}
}

// admit holds a message against the quotas.
func (s *session) admit(message *agentv1.ConnectRequest) error {
	s.silence.Reset(s.limit)
	s.last.Store(s.hub.config.Now().UnixNano())
	if size := proto.Size(message); size > maxMessage {
		return fault.E("agentlink.admit", fault.Invalid, s.uid, fmt.Errorf("a message of %d bytes is too long, the limit is %d", size, maxMessage))
	}
	if !s.insane.Allow() {
		return fault.New("agentlink.admit", fault.Quota, s.uid, "the agent says too much")
	}
	return nil
}

func (s *session) handle(message *agentv1.ConnectRequest, first bool) error {
	if hello := message.GetHello(); (hello != nil) != first {
		return fault.New("agentlink.handle", fault.Invalid, s.uid, "a session begins with one Hello")
	}
	calm := s.calm.Allow()
	switch m := message.GetMessage().(type) {
	case *agentv1.ConnectRequest_Hello:
		return s.greet(m.Hello)
	case *agentv1.ConnectRequest_Applied:
		return s.applied(m.Applied)
	case *agentv1.ConnectRequest_Health:
		if calm {
			s.health(m.Health)
		}
	case *agentv1.ConnectRequest_Fact:
		if e, ok := eventOf(m.Fact, s.hub.config.Now()); calm && ok {
			s.hub.config.Emit(s.uid, e)
		}
	default:
		// A newer agent says something that we do not know yet.
	}
	if !calm {
		s.drop()
	}
	return nil
}

func (s *session) drop() {
	if s.dropped++; s.dropped == 1 {
		s.logger.Warn("the agent says more than it may, dropping health and facts")
	}
}

// signal has the newest wish sent. It never blocks, and an idle session has no goroutine for sending.
func (s *session) signal() { s.push(func() { s.wish = true }) }

// askTunnel has an id sent; false when the host does not take what waits already.
func (s *session) askTunnel(id []byte) (taken bool) {
	s.push(func() {
		if taken = len(s.tunnels) < maxTunnels; taken {
			s.tunnels = append(s.tunnels, id)
		}
	})
	return taken
}

func (s *session) push(mark func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	mark()
	if !s.draining && s.ctx.Err() == nil {
		s.draining = true
		go s.drain()
	}
}

func (s *session) drain() {
	for {
		s.mu.Lock()
		wish, pong, tunnels := s.wish, s.pong, s.tunnels
		s.wish, s.pong, s.tunnels = false, false, nil
		s.draining = wish || pong || len(tunnels) > 0
		s.mu.Unlock()
		var err error
		switch {
		case wish:
			err = s.sendWish(s.hub.wishOf(s.uid))
		case !pong && len(tunnels) == 0:
			return
		}
		for _, id := range tunnels {
			if err == nil {
				err = s.stream.Send(&agentv1.ConnectResponse{Message: &agentv1.ConnectResponse_OpenTunnel{OpenTunnel: &agentv1.OpenTunnel{Id: id}}})
			}
		}
		if pong && err == nil {
			err = s.stream.Send(&agentv1.ConnectResponse{Message: &agentv1.ConnectResponse_Pong{Pong: &agentv1.Pong{}}})
		}
		if err != nil {
			s.end(err)
			return
		}
	}
}

// sendWish says Welcome, first of all and when the controller has other endpoints, and the wish if it is another one.
func (s *session) sendWish(wish *Wish) error {
	next := Wish{}
	if wish != nil {
		next = *wish
	}
	if s.told == nil || !slices.Equal(s.told.Endpoints, next.Endpoints) {
		welcome := &agentv1.Welcome{HealthInterval: durationpb.New(s.hub.config.HealthInterval), Endpoints: next.Endpoints}
		if s.hub.config.RenewAfter != nil {
			if after, told := s.hub.config.RenewAfter(s.ctx); told {
				welcome.RenewAfter = durationpb.New(after)
			}
		}
		if err := s.stream.Send(&agentv1.ConnectResponse{Message: &agentv1.ConnectResponse_Welcome{Welcome: welcome}}); err != nil {
			return err
		}
	}
	s.told = &next
	if wish == nil {
		return nil
	}
	return s.stream.Send(&agentv1.ConnectResponse{Message: &agentv1.ConnectResponse_Desired{Desired: desiredMessage(next.Desired)}})
}
