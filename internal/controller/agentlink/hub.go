package agentlink

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/time/rate"

	"mctl/internal/controller/event"
	"mctl/internal/fault"
	"mctl/internal/host"
	agentv1 "mctl/proto/mctl/agent/v1"
)

// Signer issues engine certificates.
type Signer interface {
	SignEngineServer(ctx context.Context, authority, commonName string, sans []string, csr []byte) ([][]byte, error)
}

// Config is what a hub needs.
type Config struct {
	Logger hclog.Logger
	Now    func() time.Time
	Signer Signer
	// Identify returns the uid of the machine that calls, from its certificate alone, as that is good at the moment.
	Identify func(ctx context.Context) (uid string, err error)
	// RenewAfter returns when the machine that calls shall renew its certificate, from now on; false to leave it to the host.
	// nil leaves it to all.
	RenewAfter func(ctx context.Context) (time.Duration, bool)
	// Notify is told that something about a machine is worth a look. It must not block.
	Notify func(uid string)
	// Reported is told of each report of a host's health that Notify is not told of; nil for nobody. It must not block.
	Reported func(uid string)
	// Emit takes what happened to a machine. It must not block.
	Emit func(uid string, e host.Event)
	// Forgotten is told of each machine that Forget is told of, so that nothing else of it goes on; nil for nobody.
	Forgotten func(uid string)
	// HealthInterval is how often agents report; zero means 5 s. A session that is silent for three of them is dead.
	HealthInterval time.Duration
}

// Hub keeps one session a machine at most, the newest wish for each and what is known of each. It is safe for use at the
// same time. Nothing of it is stored: wishes are made anew from records after a restart.
type Hub struct {
	agentv1.UnimplementedLinkServiceServer
	config Config

	mu    sync.Mutex
	hosts map[string]*entry // by uid
}

// entry is one machine.
type entry struct {
	observed host.Observed
	known    bool // it had a session
	wish     *Wish
	session  *session
	calm     *rate.Limiter // of all its sessions, so that nobody gets more by coming anew
	insane   *rate.Limiter
}

// New makes a hub.
func New(config Config) *Hub {
	if config.HealthInterval == 0 {
		config.HealthInterval = 5 * time.Second
	}
	return &Hub{config: config, hosts: map[string]*entry{}}
}

// SetDesired leaves a wish, pushed now or when the host connects. A wish that is there already is not sent twice.
func (h *Hub) SetDesired(uid string, wish Wish) {
	h.mu.Lock()
	defer h.mu.Unlock()
	e := h.entry(uid)
	if e.wish != nil && e.wish.Desired.Generation == wish.Desired.Generation && e.wish.Desired.Digest() == wish.Desired.Digest() &&
		slices.Equal(e.wish.Endpoints, wish.Endpoints) { // a controller that moved says so at once
		e.wish = &wish
		return
	}
	e.wish = &wish
	outdate(&e.observed, e.wish)
	if e.session != nil {
		e.session.signal()
	}
}

// Observed returns what is known of a host; false when it has had no session with this process.
func (h *Hub) Observed(uid string) (host.Observed, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	e, ok := h.hosts[uid]
	if !ok || !e.known {
		return host.Observed{}, false
	}
	return e.observed, true
}

// Forget ends the session of a machine that is gone, and forgets what was known of it.
func (h *Hub) Forget(uid string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if e, ok := h.hosts[uid]; ok && e.session != nil {
		e.session.end(fault.New("agentlink.Forget", fault.Denied, uid, "the machine was removed"))
	}
	delete(h.hosts, uid)
	if h.config.Forgotten != nil {
		h.config.Forgotten(uid)
	}
}

// OpenTunnel asks a machine's agent for a tunnel with an id; false when it has no session, or too much waits to be said. It
// never blocks.
func (h *Hub) OpenTunnel(uid string, id []byte) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	e, ok := h.hosts[uid]
	return ok && e.session != nil && e.session.askTunnel(id)
}

// IssueEngineCertificate implements agentv1.LinkServiceServer. The names are those of the machine's wish, which must be the
// one that the request is for.
func (h *Hub) IssueEngineCertificate(ctx context.Context, request *agentv1.IssueEngineCertificateRequest) (*agentv1.IssueEngineCertificateResponse, error) {
	const op = "agentlink.IssueEngineCertificate"
	uid, err := h.config.Identify(ctx)
	if err != nil {
		return nil, err
	}
	wish := h.wishOf(uid)
	switch {
	case wish == nil:
		return nil, fault.New(op, fault.Unavailable, uid, "the controller does not know yet what this host shall be")
	case wish.Desired.Digest() != request.GetDigest():
		return nil, fault.New(op, fault.Conflict, uid, "the wish has changed since")
	}
	chain, err := h.config.Signer.SignEngineServer(ctx, wish.Authority, wish.Name, wish.Desired.Front.SANs, request.GetCsr())
	if err != nil {
		return nil, err
	}
	return &agentv1.IssueEngineCertificateResponse{Certificates: chain}, nil
}

// entry finds or makes a machine's. The lock is held.
func (h *Hub) entry(uid string) *entry {
	e, ok := h.hosts[uid]
	if !ok {
		e = &entry{calm: rate.NewLimiter(calmRate, calmBurst), insane: rate.NewLimiter(insaneRate, insaneBurst)}
		h.hosts[uid] = e
	}
	return e
}

// quotas are the limits that a machine's sessions share.
func (h *Hub) quotas(uid string) (calm, insane *rate.Limiter) {
	h.mu.Lock()
	defer h.mu.Unlock()
	e := h.entry(uid)
	return e.calm, e.insane
}

// attach makes a session the machine's own. An older one ends; if it was alive, somebody cloned a disk.
func (h *Hub) attach(s *session, hello *agentv1.Hello) {
	version, facts := host.Line(hello.GetAgentVersion()), factsOf(hello.GetHost())
	applied := appliedOf(hello.GetApplied()) // none is none: what another agent had applied before is no answer
	h.mu.Lock()
	e := h.entry(s.uid)
	older := e.session
	e.session, e.known = s, true
	e.observed.Connected, e.observed.Since, e.observed.Way = true, h.config.Now(), s.way
	e.observed.AgentVersion, e.observed.Facts, e.observed.Applied, e.observed.Health = version, facts, applied, nil
	h.mu.Unlock()
	if older != nil {
		older.end(fault.New("agentlink.Connect", fault.Conflict, s.uid, "a newer session of the same machine took over"))
		if older.instance != s.instance && h.config.Now().Sub(older.heard()) < 2*h.config.HealthInterval {
			h.emit(s.uid, event.DuplicateIdentity, "two agents use the identity of this machine, the newer was kept; was its disk cloned?")
		}
	}
	h.emit(s.uid, event.AgentConnected, fmt.Sprintf("the agent connected (%s)", s.way))
	h.config.Notify(s.uid)
}

// detach ends what attach began, unless a newer session has taken over.
func (h *Hub) detach(s *session, cause error) {
	h.mu.Lock()
	e, ok := h.hosts[s.uid]
	if !ok || e.session != s {
		h.mu.Unlock()
		return
	}
	e.session = nil
	e.observed.Connected, e.observed.Since = false, h.config.Now()
	if s.late {
		delete(h.hosts, s.uid)
	}
	h.mu.Unlock()
	if errors.Is(cause, context.Canceled) { // as gRPC says of a connection that broke
		cause = errors.New("its connection ended")
	}
	h.emit(s.uid, event.AgentLost, fmt.Sprintf("the agent was lost: %v", cause))
	h.config.Notify(s.uid)
}

// update changes what is known of a session's machine, unless a newer session has taken over.
func (h *Hub) update(s *session, change func(*host.Observed)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if e, ok := h.hosts[s.uid]; ok && e.session == s {
		change(&e.observed)
	}
}

// wishOf is what is to be sent to a session's host; nil for nothing.
func (h *Hub) wishOf(uid string) *Wish {
	h.mu.Lock()
	defer h.mu.Unlock()
	if e, ok := h.hosts[uid]; ok {
		return e.wish
	}
	return nil
}

func (h *Hub) emit(uid, kind, message string) {
	h.config.Emit(uid, host.Event{Type: kind, Time: h.config.Now(), Message: message})
}
