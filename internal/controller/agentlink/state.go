package agentlink

import (
	"fmt"

	"mctl/internal/fault"
	"mctl/internal/host"
	agentv1 "mctl/proto/mctl/agent/v1"
)

// greet checks that we understand each other, and makes the session its machine's own.
func (s *session) greet(hello *agentv1.Hello) error {
	if p := hello.GetProtocol(); p < oldestSpoken || p > newestSpoken {
		return fault.E("agentlink.greet", fault.Precondition, s.uid,
			fmt.Errorf("the agent speaks protocol %d, this controller %d to %d", p, oldestSpoken, newestSpoken)).
			WithHint("upgrade the older side")
	}
	s.instance = host.Line(hello.GetInstance())
	s.hub.attach(s, hello)
	// A removal that came since has ended the sessions that were there: this one must not outlive it.
	if _, err := s.hub.config.Identify(s.stream.Context()); err != nil {
		s.late = true
		return err
	}
	s.judge()
	s.signal()
	return nil
}

// applied takes how far a host came. The last word of a host that was given back ends the session.
func (s *session) applied(m *agentv1.Applied) error {
	applied := appliedOf(m)
	s.hub.update(s, func(o *host.Observed) { o.Applied = applied })
	s.judge()
	s.hub.config.Notify(s.uid)
	if applied.Released {
		return errReleased
	}
	return nil
}

// judge drops a failure of an older generation: somebody asked once more since.
func (s *session) judge() {
	wish := s.hub.wishOf(s.uid)
	s.hub.update(s, func(o *host.Observed) { outdate(o, wish) })
}

// outdate makes a failure that answers an older generation no answer to the present one.
func outdate(o *host.Observed, wish *Wish) {
	if wish != nil && o.Applied.Failure != nil && o.Applied.Generation < wish.Desired.Generation {
		o.Applied.Failure, o.Applied.Digest = nil, ""
	}
}

// health merges a report and answers it. It is worth a look when the engine came or went.
func (s *session) health(m *agentv1.Health) {
	turned := false
	s.hub.update(s, func(o *host.Observed) {
		if o.Health == nil && m.GetDelta() {
			return // a mere heartbeat: nothing is known yet
		}
		before := o.Health
		o.Health = mergeHealth(before, m, s.hub.config.Now())
		turned = before == nil || before.EngineUp != o.Health.EngineUp
	})
	switch {
	case turned:
		s.hub.config.Notify(s.uid)
	case s.hub.config.Reported != nil:
		s.hub.config.Reported(s.uid)
	}
	s.push(func() { s.pong = true })
}
