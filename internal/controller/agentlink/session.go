package agentlink

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/time/rate"
	"google.golang.org/protobuf/proto"

	"mctl/internal/fault"
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
	oldestSpoken = 1 // protocols: ours and the one before
	newestSpoken = 2
)

// session is one stream. It has one context and one cause of its end; whatever fails ends all of it.
type session struct {
	hub      *Hub
	uid      string
	instance string
	logger   hclog.Logger
	stream   agentv1.LinkService_ConnectServer
	ctx      context.Context
	end      context.CancelCauseFunc
	silence  *time.Timer
	calm     *rate.Limiter
	insane   *rate.Limiter
	dropped  int

	mu       sync.Mutex // guards what waits to be sent: the newest of each kind
	welcome  *agentv1.ConnectResponse
	desired  *agentv1.ConnectResponse
	pong     *agentv1.ConnectResponse
	draining bool
}

var (
	errClosed   = errors.New("the agent closed the connection")
	errReleased = errors.New("the host was given back")
)

// Connect runs a session until either side ends it. The faults that it ends with: Conflict when another session of the same
// machine took its place, Unavailable when the host was silent or the controller stops, NotFound when the machine is gone,
// Invalid and Quota for an agent that misbehaves, Precondition for one of an age that we can't talk to.
func (h *Hub) Connect(stream agentv1.LinkService_ConnectServer) error {
	uid, err := h.caller(stream.Context())
	if err != nil {
		return err
	}
	ctx, end := context.WithCancelCause(stream.Context())
	defer end(nil)
	s := &session{
		hub: h, uid: uid, stream: stream, ctx: ctx, end: end, logger: h.config.Logger.With("uid", uid),
		calm: rate.NewLimiter(calmRate, calmBurst), insane: rate.NewLimiter(insaneRate, insaneBurst),
	}
	s.silence = time.AfterFunc(h.config.SilentLimit, func() {
		end(fault.E("agentlink.Connect", fault.Unavailable, uid, fmt.Errorf("nothing heard for %s", h.config.SilentLimit)))
	})
	defer s.silence.Stop()
	if !h.start(s.receive) {
		return errStopping()
	}
	// A receive can't be interrupted but by returning from here, so this goroutine is the one that waits.
	<-ctx.Done()
	switch cause := context.Cause(ctx); {
	case errors.Is(cause, errClosed), errors.Is(cause, errReleased):
		return nil
	default:
		return cause
	}
}

// start runs what Close waits for; false when the Hub is closed.
func (h *Hub) start(run func()) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return false
	}
	h.running.Go(run)
	return true
}

// caller returns the uid of the machine that calls, whatever its messages say.
func (h *Hub) caller(ctx context.Context) (string, error) {
	subject, err := h.config.Identify(ctx)
	if err != nil {
		return "", err
	}
	uid, ok := strings.CutPrefix(subject, "machine:")
	if !ok || uid == "" {
		return "", fault.New("agentlink.caller", fault.Denied, subject, "only a machine's agent may call this")
	}
	return uid, nil
}

// receive takes what the host says, in order, until the session ends. All that the Hub tells of a session comes from here,
// so that it comes in order, too.
func (s *session) receive() {
	defer func() { s.hub.leave(s, context.Cause(s.ctx)) }()
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
	s.silence.Reset(s.hub.config.SilentLimit)
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
		return s.hub.join(s, m.Hello)
	case *agentv1.ConnectRequest_Applied:
		return s.hub.applied(s, m.Applied)
	case *agentv1.ConnectRequest_Health:
		if !calm {
			s.drop()
			return nil
		}
		s.hub.health(s, m.Health)
		s.push(pongMessage())
	case *agentv1.ConnectRequest_Fact:
		if !calm {
			s.drop()
			return nil
		}
		if e, ok := eventOf(m.Fact, s.hub.config.Now()); ok && s.hub.current(s) {
			s.hub.config.Emit(s.uid, e)
		}
	default:
		// A newer agent says something that we do not know yet.
	}
	return nil
}

func (s *session) drop() {
	if s.dropped++; s.dropped == 1 {
		s.logger.Warn("the agent says more than it may, dropping health and facts")
	}
}

// push leaves a message to be sent; an older one of its kind that still waits is replaced. It never blocks.
func (s *session) push(message *agentv1.ConnectResponse) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch message.GetMessage().(type) {
	case *agentv1.ConnectResponse_Welcome:
		s.welcome = message
	case *agentv1.ConnectResponse_Desired:
		s.desired = message
	default:
		s.pong = message
	}
	if !s.draining {
		// A goroutine for a moment, not for life: an idle session costs none.
		s.draining = s.hub.start(s.drain)
	}
}

func (s *session) drain() {
	for message := s.next(); message != nil; message = s.next() {
		if err := s.stream.Send(message); err != nil {
			s.end(err)
			return
		}
	}
}

func (s *session) next() *agentv1.ConnectResponse {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, slot := range []**agentv1.ConnectResponse{&s.welcome, &s.desired, &s.pong} {
		if message := *slot; message != nil {
			*slot = nil
			return message
		}
	}
	s.draining = false
	return nil
}
