package agentlink

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"mctl/internal/controller/event"
	"mctl/internal/fault"
	"mctl/internal/host"
	agentv1 "mctl/proto/mctl/agent/v1"
)

// What is remembered to tell a cloned disk from an agent that was restarted.
const (
	maxReplaced = 4
	warnEvery   = time.Minute
)

// join makes a session the one of its machine. An older one ends; the newer wins, since the older may be dead without
// anybody having noticed.
func (h *Hub) join(s *session, hello *agentv1.Hello) error {
	if p := hello.GetProtocol(); p < oldestSpoken || p > newestSpoken {
		return fault.E("agentlink.join", fault.Precondition, s.uid,
			fmt.Errorf("the agent speaks protocol %d, this controller %d to %d", p, oldestSpoken, newestSpoken)).
			WithHint("upgrade the older side")
	}
	now := h.config.Now()
	s.instance = cut(hello.GetInstance(), maxText)

	h.mu.Lock()
	if err := s.ctx.Err(); err != nil || h.closed {
		h.mu.Unlock()
		return errors.Join(err, errStopping())
	}
	b := h.box(s.uid)
	restarted := b.session != nil && b.instance != s.instance
	cloned := b.instance != s.instance && slices.Contains(b.replaced, s.instance) && now.Sub(b.warned) >= warnEvery
	if cloned {
		b.warned = now
	}
	if restarted {
		b.replaced = append(b.replaced, b.instance)
		b.replaced = b.replaced[max(0, len(b.replaced)-maxReplaced):]
	}
	if b.session != nil {
		b.session.end(fault.New("agentlink.join", fault.Conflict, s.uid, "a newer session of the same machine took over"))
	}
	fresh := b.session == nil || restarted
	b.session, b.instance, b.seen = s, s.instance, true
	if o := &b.observed; fresh {
		o.Connected, o.Since = true, now
	}
	b.observed.AgentVersion, b.observed.Facts = cut(hello.GetAgentVersion(), maxText), factsOf(hello.GetHost())
	if applied := hello.GetApplied(); applied != nil {
		b.observed.Applied = b.judge(appliedOf(applied))
	}
	s.push(h.welcome(b))
	if b.wish != nil {
		s.push(desiredMessage(b.wish.Desired, b.digest))
	}
	h.mu.Unlock()

	if restarted {
		h.emit(s.uid, now, event.AgentLost, "agent lost: it was started anew")
	}
	if cloned {
		s.logger.Warn("two agents have the same identity", "hostname", hello.GetHost().GetHostname())
		h.emit(s.uid, now, event.DuplicateIdentity, fmt.Sprintf(
			"two agents have this machine's identity, the newest on %q: was its disk cloned?", cut(hello.GetHost().GetHostname(), maxText)))
	}
	if fresh {
		h.emit(s.uid, now, event.AgentConnected, "agent connected")
	}
	s.logger.Debug("agent connected", "version", hello.GetAgentVersion(), "instance", s.instance)
	h.config.Notify(s.uid)
	return nil
}

// leave takes a session out that has ended.
func (h *Hub) leave(s *session, cause error) {
	now := h.config.Now()
	h.mu.Lock()
	b := h.boxes[s.uid]
	if b == nil || b.session != s {
		h.mu.Unlock()
		return
	}
	b.session = nil
	b.observed.Connected, b.observed.Since = false, now
	quiet := h.closed || errors.Is(cause, errReleased)
	h.mu.Unlock()
	if quiet {
		return
	}
	why := "agent lost"
	if fault.Is(cause, fault.Unavailable) && !errors.Is(cause, context.Canceled) || fault.Is(cause, fault.Invalid) || fault.Is(cause, fault.Quota) {
		why = fmt.Sprintf("agent lost: %s", cause)
	}
	s.logger.Debug("agent lost", "cause", cause)
	h.emit(s.uid, now, event.AgentLost, why)
	h.config.Notify(s.uid)
}

// applied takes how far a host came. It may not be dropped, so an agent that says it too often waits.
func (h *Hub) applied(s *session, m *agentv1.Applied) error {
	applied := appliedOf(m)
	h.mu.Lock()
	b := h.boxes[s.uid]
	ours := b != nil && b.session == s
	if ours {
		b.observed.Applied = b.judge(applied)
	}
	h.mu.Unlock()
	if ours {
		h.config.Notify(s.uid)
	}
	if applied.Released {
		return errReleased
	}
	return nil
}

// judge makes an answer to an older generation no answer when it is a failure: somebody asked once more since.
func (b *mailbox) judge(applied host.Applied) host.Applied {
	if applied.Failure != nil && b.wish != nil && applied.Generation < b.wish.Desired.Generation {
		applied.Failure, applied.Digest = nil, ""
	}
	return applied
}

// health merges a report. Nobody is notified but for an engine that came or went.
func (h *Hub) health(s *session, m *agentv1.Health) {
	now := h.config.Now()
	h.mu.Lock()
	b := h.boxes[s.uid]
	if b == nil || b.session != s {
		h.mu.Unlock()
		return
	}
	before := b.observed.Health
	if before == nil && !reports(m) {
		h.mu.Unlock()
		return // a mere heartbeat: nothing is known yet
	}
	b.observed.Health = mergeHealth(before, m, now)
	turned := before == nil || before.EngineUp != b.observed.Health.EngineUp
	h.mu.Unlock()
	if turned {
		h.config.Notify(s.uid)
	}
}

// reports tells whether a message says anything about health.
func reports(m *agentv1.Health) bool {
	return m.EngineUp != nil || m.MemoryTotalBytes != nil || m.CpuPercent != nil
}

func (h *Hub) current(s *session) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	b := h.boxes[s.uid]
	return b != nil && b.session == s
}

func (h *Hub) emit(uid string, now time.Time, kind, message string) {
	h.config.Emit(uid, host.Event{Type: kind, Time: now, Message: message})
}
