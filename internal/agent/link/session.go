package link

import (
	"context"
	"errors"
	"io"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"

	"mctl/internal/buildinfo"
	"mctl/internal/fault"
	"mctl/internal/host"
	agentv1 "mctl/proto/mctl/agent/v1"
)

const (
	defaultInterval = 5 * time.Second
	leastInterval   = time.Second
	mostInterval    = 5 * time.Minute
	leastEarly      = time.Second // from a change to the look at it, or a fifth of the interval
	healthLimit     = 4 * time.Second
	leastSilence    = 12 * time.Second // nothing heard for so long, or for three intervals: the controller is gone
	farewellLimit   = 5 * time.Second  // for the controller to take the last word
	renewPause      = time.Minute      // between two renewals
	lookAtRenewal   = time.Hour        // timers stand still while a computer sleeps
)

// session is one stream: one context, one error.
type session struct {
	link    *Link
	conn    *grpc.ClientConn
	stream  agentv1.LinkService_ConnectClient
	end     context.CancelCauseFunc
	silence *time.Timer
	welcome chan struct{}
	hurry   chan struct{} // the controller has said when to renew
	sent    *host.Health  // as the controller knows it; nil before the first
	pending bool          // a look at health was asked for and is not back
}

// hold runs a session until it fails, whatever fails first.
func (l *Link) hold(ctx context.Context, conn *grpc.ClientConn) error {
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	stream, err := agentv1.NewLinkServiceClient(conn).Connect(ctx)
	if err != nil {
		return faultOf(err)
	}
	s := &session{link: l, conn: conn, stream: stream, end: end, welcome: make(chan struct{}, 1), hurry: make(chan struct{}, 1)}
	l.interval.Store(int64(defaultInterval))
	s.silence = time.AfterFunc(leastSilence, func() {
		end(fault.New("link.hold", fault.Unavailable, "", "the controller is silent"))
	})
	defer s.silence.Stop()
	l.setConn(conn)
	defer l.setConn(nil)
	var group errgroup.Group
	for _, run := range []func(context.Context) error{s.receive, s.send, s.renew} {
		group.Go(func() error {
			err := run(ctx)
			if err != nil && !errors.Is(err, errOver) {
				end(err)
			}
			return err
		})
	}
	_ = group.Wait() // the cause below says what came first
	return context.Cause(ctx)
}

func (l *Link) setConn(conn *grpc.ClientConn) {
	l.connMutex.Lock()
	defer l.connMutex.Unlock()
	l.conn = conn
}

func (s *session) receive(context.Context) error {
	for {
		message, err := s.stream.Recv()
		if errors.Is(err, io.EOF) {
			err = fault.New("link.receive", fault.Unavailable, "", "the controller ended the session")
			if s.link.outbox.released() {
				err = ErrReleased
			}
			return err
		}
		if err != nil {
			return faultOf(err)
		}
		s.silence.Reset(max(leastSilence, 3*time.Duration(s.link.interval.Load())))
		switch m := message.GetMessage().(type) {
		case *agentv1.ConnectResponse_Welcome:
			s.welcomed(m.Welcome)
		case *agentv1.ConnectResponse_Desired:
			wish := Wish{Desired: desiredOf(m.Desired), Digest: m.Desired.GetDigest()}
			if wish.Release == nil {
				s.link.leaving.Store(false) // it was taken back
			}
			s.link.config.Desired(wish)
		case *agentv1.ConnectResponse_OpenTunnel:
			if s.link.config.Tunnel != nil {
				s.link.config.Tunnel(m.OpenTunnel.GetId())
			}
		default:
			// A Pong, or something that a newer controller says and we do not know yet.
		}
	}
}

func (s *session) welcomed(m *agentv1.Welcome) {
	if d := m.GetHealthInterval().AsDuration(); d > 0 {
		s.link.interval.Store(int64(min(max(d, leastInterval), mostInterval)))
	}
	if err := s.link.keepEndpoints(m.GetEndpoints()); err != nil {
		s.link.config.Logger.Warn("the controller's endpoints could not be kept", "error", err)
	}
	if after := m.GetRenewAfter(); after != nil {
		at := s.link.config.Now().Add(after.AsDuration())
		s.link.renewAt.Store(&at)
		signal(s.hurry)
	}
	s.link.welcomed.Store(true)
	signal(s.welcome)
}

// send says Hello, then whatever waits, and health at the controller's pace.
func (s *session) send(ctx context.Context) error {
	l := s.link
	hello := &agentv1.Hello{
		AgentVersion: l.config.Version, Protocol: buildinfo.Protocol, Instance: l.config.Instance, Host: factsMessage(l.config.Facts()),
	}
	if applied := l.outbox.begin(); applied != nil {
		hello.Applied = appliedMessage(*applied)
	}
	if err := s.say(&agentv1.ConnectRequest{Message: &agentv1.ConnectRequest_Hello{Hello: hello}}); err != nil {
		return err
	}
	tick := time.NewTimer(defaultInterval)
	defer tick.Stop()
	soon := time.NewTimer(defaultInterval)
	defer soon.Stop()
	soon.Stop()
	met, early := false, false
	for {
		var err error
		select {
		case <-ctx.Done():
			return nil
		case <-l.outbox.ready:
			var over bool
			if over, err = s.flush(); over {
				return err
			}
		case <-s.welcome:
			if met {
				continue
			}
			met = true
			signal(l.sample) // the first report at once, the others spread over the interval
			tick.Reset(time.Duration((0.5 + l.config.Random()/2) * float64(l.interval.Load())))
		case <-l.changed:
			if !early {
				early = true
				soon.Reset(max(leastEarly, time.Duration(l.interval.Load())/5))
			}
		case <-soon.C:
			early = false
			signal(l.sample)
		case <-l.sampled:
			s.pending = false
			err = s.report(l.health.Load())
		case <-tick.C:
			if s.pending || !met {
				err = s.report(s.sent) // a heartbeat that says nothing new
			}
			s.pending = true
			signal(l.sample)
			tick.Reset(time.Duration(l.interval.Load()))
		}
		if err != nil {
			return err
		}
	}
}

// errOver tells that the stream has ended; receiving says why.
var errOver = errors.New("the stream is over")

// flush says all that waits. over is true when no more can be said: the stream has ended, or the last word of a host that was
// given back was said.
func (s *session) flush() (over bool, err error) {
	for {
		applied, e := s.link.outbox.take()
		switch {
		case applied != nil:
			if err := s.say(&agentv1.ConnectRequest{Message: &agentv1.ConnectRequest_Applied{Applied: appliedMessage(*applied)}}); err != nil {
				return true, err
			}
			if applied.Released {
				s.silence.Reset(farewellLimit)
				return true, s.stream.CloseSend()
			}
		case e != nil:
			if err := s.say(&agentv1.ConnectRequest{Message: &agentv1.ConnectRequest_Fact{Fact: factMessage(*e)}}); err != nil {
				s.link.outbox.putBack(*e)
				return true, err
			}
		default:
			return false, nil
		}
	}
}

// report says what changed in health since the last report of this session.
func (s *session) report(health *host.Health) error {
	message := healthDelta(s.sent, health)
	s.sent = health
	return s.say(&agentv1.ConnectRequest{Message: &agentv1.ConnectRequest_Health{Health: message}})
}

func (s *session) say(message *agentv1.ConnectRequest) error {
	err := s.stream.Send(message)
	if errors.Is(err, io.EOF) {
		return errOver
	}
	if err != nil {
		return faultOf(err)
	}
	return nil
}

// renew replaces the certificate when it is time; the next dial shows the new one. A controller that hands out what is to be
// renewed at once, whose clock may be wrong, is asked once a minute.
func (s *session) renew(ctx context.Context) error {
	pause := renewPause
	for {
		at, _ := s.link.renewal()
		left := at.Sub(s.link.config.Now())
		if left <= 0 {
			if err := s.link.renew(ctx, s.conn); err != nil && ctx.Err() == nil {
				s.link.config.Logger.Warn("the certificate could not be renewed", "error", err)
				left, pause = pause, min(2*pause, lookAtRenewal)
			} else {
				left, pause = renewPause, renewPause
			}
		}
		timer := time.NewTimer(min(left, lookAtRenewal))
		select {
		case <-timer.C:
		case <-s.hurry:
			timer.Stop()
		case <-ctx.Done():
			timer.Stop()
			return nil
		}
	}
}
