// Package link keeps this host connected to its controller: it dials, enrolls, and holds one session after the other, over
// which wishes come and facts go.
package link

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"

	"mctl/internal/agent/identity"
	"mctl/internal/fault"
	"mctl/internal/host"
	"mctl/internal/pki"
	agentv1 "mctl/proto/mctl/agent/v1"
)

// Settings are what first contact left for this host.
type Settings struct {
	MachineUID string
	Ticket     string   // as pki.Ticket.Text wrote it; a secret
	Endpoints  []string // host:port, best first
	// SocketOwner is the uid of the user that the controller logs in as over SSH.
	SocketOwner int
}

// Wish is what the host shall be. Digest is the controller's name for it, which answers repeat: a newer controller counts
// fields into it that we do not know.
type Wish struct {
	host.Desired
	Digest string
}

// Config is what a Link needs. The functions must not block, but for Health and Dial.
type Config struct {
	Logger   hclog.Logger
	Identity *identity.Holder
	// Settings is asked before each dial, so that a new ticket is found without a restart.
	Settings func() (Settings, error)
	// EndpointsFile keeps where the controller told us to dial next time.
	EndpointsFile string
	// SocketDir is where SSH connections of the controller open ways to it; empty for direct ways alone.
	SocketDir string
	Version   string
	Instance  string // random for each process
	Facts     func() host.Facts
	Health    func(ctx context.Context) (host.Health, error)
	Desired   func(Wish) // takes the newest
	// Tunnel is told that the controller wants a tunnel with an id; nil for an agent that has none.
	Tunnel func(id []byte)
	Now    func() time.Time
	// Leaving is set when an earlier process gave the host back and may have said so.
	Leaving bool
	// Random returns numbers in [0, 1) to spread load; nil for math/rand.
	Random func() float64
	// Dial makes a connection, tcp or unix; nil for the host's own.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// ErrReleased is returned by Run when the controller knows that the host was given back.
var ErrReleased = errors.New("the host was given back")

// The pause between sessions: a random part of a limit that doubles from the least to the most.
const (
	leastPause = time.Second
	mostPause  = time.Minute
	callLimit  = 15 * time.Second // for one call beside the stream
)

// Link is the agent's end.
type Link struct {
	config    Config
	outbox    outbox
	sample    chan struct{} // asks for a look at health
	sampled   chan struct{} // tells that one was had
	changed   chan struct{} // tells that health is another, which need not wait for the next look
	health    atomic.Pointer[host.Health]
	welcomed  atomic.Bool // by the session that ended last, or the present one
	leaving   atomic.Bool // the host's last word is that it was given back; it may have been heard
	interval  atomic.Int64
	renewAt   atomic.Pointer[time.Time] // when the controller wants the certificate renewed; nil for the host's own choice
	came      atomic.Pointer[way]       // that the session came by last
	tried     map[string]bool           // sockets, by the last dial
	connMutex sync.Mutex
	conn      *grpc.ClientConn // of the present session; nil for none
}

// New makes a Link. It does nothing until Run.
func New(config Config) *Link {
	if config.Random == nil {
		config.Random = rand.Float64
	}
	if config.Dial == nil {
		config.Dial = (&net.Dialer{KeepAlive: 15 * time.Second}).DialContext
	}
	l := &Link{config: config, outbox: newOutbox(), sample: make(chan struct{}, 1), sampled: make(chan struct{}, 1), changed: make(chan struct{}, 1)}
	l.leaving.Store(config.Leaving)
	return l
}

// Run holds sessions until ctx ends (nil) or the host was given back (ErrReleased).
func (l *Link) Run(ctx context.Context) error {
	watched := make(chan struct{})
	ctx, cancel := context.WithCancel(ctx)
	defer func() { cancel(); <-watched }()
	go func() { defer close(watched); l.watchHealth(ctx) }()

	limit := leastPause
	for {
		l.welcomed.Store(false)
		err := l.attempt(ctx)
		switch {
		case errors.Is(err, ErrReleased):
			return err
		case l.leaving.Load() && fault.Is(err, fault.Denied):
			// The controller removed the machine on our word, and the connection broke before we heard that.
			return ErrReleased
		case ctx.Err() != nil:
			return nil
		}
		// After Welcome all was well, so the first pause is short again. Not so for a session that another agent with the
		// same identity took over: two of them would throw each other out without end.
		if l.welcomed.Load() && !fault.Is(err, fault.Conflict) {
			limit = leastPause
		}
		pause := time.Duration(l.config.Random() * float64(limit))
		l.config.Logger.Info("not connected", "error", err, "pause", pause.Round(time.Millisecond))
		limit = min(2*limit, mostPause)
		if !l.rest(ctx, pause) {
			return nil
		}
	}
}

// Report leaves how far the host came; the newest counts and is told again after each reconnect.
func (l *Link) Report(applied host.Applied) {
	if applied.Released {
		l.leaving.Store(true)
	}
	l.outbox.report(applied)
	signal(l.sample)
}

// Emit leaves what happened. It never blocks: while the controller is away, progress is dropped first, then the oldest.
// When the engine came or went, the host's health follows at once, and not only with the next heartbeat.
func (l *Link) Emit(e host.Event) {
	l.outbox.emit(e)
	if e.Type == host.EventEngineUp || e.Type == host.EventEngineDown {
		signal(l.sample)
	}
}

// Changed tells that the host's health is another. It is looked at soon, yet not for every change: the controller's pace
// still counts. It never blocks.
func (l *Link) Changed() { signal(l.changed) }

// IssueEngineCertificate asks for the engine's server certificate under the wish that digest names; it returns a chain
// (DER, leaf first). fault.Unavailable without a session, fault.Conflict when the wish has changed. May be repeated.
func (l *Link) IssueEngineCertificate(ctx context.Context, csr []byte, digest string) ([][]byte, error) {
	l.connMutex.Lock()
	conn := l.conn
	l.connMutex.Unlock()
	if conn == nil {
		return nil, fault.New("link.IssueEngineCertificate", fault.Unavailable, "", "the controller is not connected")
	}
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	response, err := agentv1.NewLinkServiceClient(conn).IssueEngineCertificate(ctx, &agentv1.IssueEngineCertificateRequest{Csr: csr, Digest: digest})
	return response.GetCertificates(), err
}

// attempt is one try: enroll where a ticket wants it, dial, renew where it is time, then hold the session until it ends.
func (l *Link) attempt(ctx context.Context) error {
	settings, err := l.config.Settings()
	if err != nil {
		return err
	}
	if err := l.prepareSockets(settings.SocketOwner); err != nil {
		l.config.Logger.Warn("the controller can't come over SSH", "error", err)
	}
	if err := l.enroll(ctx, settings); err != nil {
		if l.config.Identity.Subject() != pki.MachineSubject(settings.MachineUID) {
			return err
		}
		l.config.Logger.Warn("the join ticket could not be used, going on with the certificate that is there", "error", err)
	}
	conn, err := l.open(ctx, settings)
	if err != nil {
		return err
	}
	defer func() { conn.Close() }() //nolint:errcheck // nothing to save
	if at, end := l.renewal(); !l.config.Now().Before(at) {
		err := l.renew(ctx, conn)
		expired := l.config.Now().After(end)
		switch {
		case err != nil && expired:
			return err
		case err != nil:
			l.config.Logger.Warn("the certificate could not be renewed", "until", end, "error", err)
		case expired: // nothing but renewal is allowed on this connection
			conn.Close() //nolint:errcheck // nothing to save
			if conn, err = l.open(ctx, settings); err != nil {
				return err
			}
		}
	}
	return l.hold(ctx, conn)
}

func (l *Link) enroll(ctx context.Context, settings Settings) error {
	if settings.Ticket == "" {
		return nil
	}
	ticket, err := pki.ParseTicket(settings.Ticket)
	if err != nil {
		return fault.E("link.enroll", fault.Invalid, settings.MachineUID, err)
	}
	if !l.config.Identity.Wants(settings.MachineUID, ticket) {
		return nil
	}
	// What an older controller told is nothing to the one that made this ticket.
	conn, err := l.dial(ctx, settings.Endpoints, pki.ClientConfig(nil, ticket.Authority, nil, l.config.Now))
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // nothing to save
	limited, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	if err := l.config.Identity.Enroll(limited, conn, settings.MachineUID, ticket); err != nil {
		return err
	}
	return l.forgetEndpoints()
}

func (l *Link) renew(ctx context.Context, conn *grpc.ClientConn) error {
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	if err := l.config.Identity.Renew(ctx, conn); err != nil {
		return err
	}
	l.renewAt.Store(nil) // that wish is fulfilled
	return nil
}

func (l *Link) open(ctx context.Context, settings Settings) (*grpc.ClientConn, error) {
	config, err := l.secured(settings)
	if err != nil {
		return nil, err
	}
	return l.dial(ctx, l.endpoints(settings), config)
}

func (l *Link) secured(settings Settings) (*tls.Config, error) {
	config, enrolled := l.config.Identity.TLS()
	if !enrolled || l.config.Identity.Subject() != pki.MachineSubject(settings.MachineUID) {
		return nil, fault.New("link.open", fault.Precondition, settings.MachineUID, "this host has not joined and has no join ticket").
			WithHint("`mctl retry` on the machine brings one")
	}
	return config, nil
}

// watchHealth looks when asked. It is apart from the sessions, so that a look that hangs holds up nothing else.
func (l *Link) watchHealth(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.sample:
		}
		limited, cancel := context.WithTimeout(ctx, healthLimit)
		health, err := l.config.Health(limited)
		cancel()
		if err != nil {
			l.config.Logger.Debug("health is not known", "error", fmt.Sprint(err))
			continue
		}
		l.health.Store(&health)
		signal(l.sampled)
	}
}

// signal wakes whoever waits on a channel of capacity one.
func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
