package link_test

import (
	"cmp"
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"mctl/internal/agent/identity"
	"mctl/internal/agent/link"
	"mctl/internal/controller/agentlink"
	"mctl/internal/fault"
	"mctl/internal/host"
	"mctl/internal/pki"
	agentv1 "mctl/proto/mctl/agent/v1"
)

const uid = "uid-1"

// authority is a control authority that keeps which key a ticket was used with.
type authority struct {
	agentv1.UnimplementedEnrollmentServiceServer
	key    crypto.Signer
	root   *x509.Certificate
	server tls.Certificate

	mu       sync.Mutex
	tickets  map[string]*use
	enrolls  int
	renewals int
	life     time.Duration
	lose     int // answers to enrollments that get lost on their way
}

type use struct {
	uid string
	key [sha256.Size]byte
}

const agentLife = 90 * 24 * time.Hour

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, _ := pki.NewKey()
	root, err := pki.NewAuthority("control", key, time.Now(), 10*365*24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	serverKey, _ := pki.NewKey()
	leaf, err := pki.Sign(pki.Leaf{
		CommonName: "controller", URI: pki.ControllerURI(), Usage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(9 * 365 * 24 * time.Hour),
	}, serverKey.Public(), root, key)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{
		key: key, root: root, life: agentLife, tickets: map[string]*use{},
		server: tls.Certificate{Certificate: [][]byte{leaf.Raw, root.Raw}, PrivateKey: serverKey},
	}
}

func (a *authority) ticket(uid string) string {
	ticket, _ := pki.NewTicket(pki.SPKIDigest(a.root))
	a.mu.Lock()
	defer a.mu.Unlock()
	a.tickets[ticket.ID] = &use{uid: uid}
	return ticket.Text()
}

func (a *authority) Enroll(_ context.Context, request *agentv1.EnrollRequest) (*agentv1.EnrollResponse, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.enrolls++
	ticket, err := pki.ParseTicket(request.GetTicket())
	if err != nil {
		return nil, status.Error(codes.Unauthenticated, "bad ticket")
	}
	key, err := pki.RequestKey(request.GetCsr())
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	digest, _ := pki.KeyDigest(key)
	used, ok := a.tickets[ticket.ID]
	if !ok || used.key != [sha256.Size]byte{} && used.key != digest {
		return nil, status.Error(codes.Unauthenticated, "the join ticket is unknown, used up or expired")
	}
	used.key = digest
	if a.lose > 0 {
		a.lose--
		return nil, status.Error(codes.Unavailable, "lost")
	}
	leaf, err := a.sign(pki.MachineSubject(used.uid), key)
	if err != nil {
		return nil, err
	}
	return &agentv1.EnrollResponse{Certificates: [][]byte{leaf.Raw, a.root.Raw}, Authorities: [][]byte{a.root.Raw}}, nil
}

func (a *authority) Renew(ctx context.Context, request *agentv1.RenewRequest) (*agentv1.RenewResponse, error) {
	subject, _, err := callerOf(ctx)
	if err != nil {
		return nil, err
	}
	key, err := pki.RequestKey(request.GetCsr())
	if err != nil {
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.renewals++
	leaf, err := a.sign(subject, key)
	if err != nil {
		return nil, err
	}
	return &agentv1.RenewResponse{Certificates: [][]byte{leaf.Raw, a.root.Raw}, Authorities: [][]byte{a.root.Raw}}, nil
}

func (a *authority) sign(subject string, key crypto.PublicKey) (*x509.Certificate, error) {
	return pki.Sign(pki.Leaf{
		CommonName: subject, URI: pki.SubjectURI(subject), Usage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		NotBefore: time.Now().Add(-pki.Backdate), NotAfter: time.Now().Add(a.life),
	}, key, a.root, a.key)
}

func callerOf(ctx context.Context) (subject string, expired bool, err error) {
	p, _ := peer.FromContext(ctx)
	info, ok := p.AuthInfo.(credentials.TLSInfo)
	if !ok || len(info.State.PeerCertificates) == 0 {
		return "", false, status.Error(codes.PermissionDenied, "no certificate")
	}
	leaf := info.State.PeerCertificates[0]
	subject, err = pki.SubjectOf(leaf)
	return subject, time.Now().After(leaf.NotAfter), err
}

// controller is one process: a server and a hub, over an authority that outlives it.
type controller struct {
	t         *testing.T
	authority *authority
	hub       *agentlink.Hub
	server    *grpc.Server
	listener  *bufconn.Listener

	mu      sync.Mutex
	events  []host.Event
	removed bool // the machine's record is gone
	// renewAfter is when hosts are told to renew; nil for never.
	renewAfter *time.Duration
}

func (a *authority) start(t *testing.T) *controller {
	t.Helper()
	c := &controller{t: t, authority: a, listener: bufconn.Listen(64 << 10)}
	c.hub = agentlink.New(agentlink.Config{
		Logger: hclog.NewNullLogger(), Now: time.Now, Signer: signer{a}, Notify: func(string) {},
		Identify: func(ctx context.Context) (string, error) {
			subject, expired, err := callerOf(ctx)
			if c.forgot() {
				err = status.Error(codes.PermissionDenied, "taken away")
			}
			if expired {
				err = status.Error(codes.PermissionDenied, "expired")
			}
			return strings.TrimPrefix(subject, "machine:"), err
		},
		RenewAfter: func(context.Context) (time.Duration, bool) {
			c.mu.Lock()
			defer c.mu.Unlock()
			if c.renewAfter == nil {
				return 0, false
			}
			return *c.renewAfter, true
		},
		Emit: func(_ string, e host.Event) {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.events = append(c.events, e)
		},
	})
	c.server = grpc.NewServer(
		grpc.Creds(credentials.NewTLS(&tls.Config{
			MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{a.server}, ClientAuth: tls.RequestClientCert,
		})),
		grpc.UnaryInterceptor(func(ctx context.Context, request any, _ *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
			response, err := handle(ctx, request)
			return response, statusOf(err)
		}),
		grpc.StreamInterceptor(func(server any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
			return statusOf(handle(server, stream))
		}),
	)
	agentv1.RegisterLinkServiceServer(c.server, c.hub)
	agentv1.RegisterEnrollmentServiceServer(c.server, a)
	go c.server.Serve(c.listener) //nolint:errcheck // ends with stop
	return c
}

func (c *controller) stop() { c.server.Stop() }

func (c *controller) forgot() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.removed
}

// remove forgets the machine, as rm does at its end.
func (c *controller) remove() {
	c.mu.Lock()
	c.removed = true
	c.mu.Unlock()
	c.hub.Forget(uid)
}

func (c *controller) saw(kind string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for _, e := range c.events {
		if e.Type == kind {
			n++
		}
	}
	return n
}

// statusOf does what the API's interceptor does, as far as these tests look.
func statusOf(err error) error {
	var f *fault.Error
	if !errors.As(err, &f) {
		return err
	}
	code := map[fault.Kind]codes.Code{
		fault.Conflict: codes.Aborted, fault.Unavailable: codes.Unavailable, fault.Invalid: codes.InvalidArgument,
		fault.Quota: codes.ResourceExhausted, fault.Denied: codes.PermissionDenied, fault.Precondition: codes.FailedPrecondition,
	}[f.Kind]
	return status.Error(code, f.Error())
}

type signer struct{ authority *authority }

func (s signer) SignEngineServer(_ context.Context, _, commonName string, sans []string, csr []byte) ([][]byte, error) {
	key, err := pki.RequestKey(csr)
	if err != nil {
		return nil, err
	}
	leaf, err := pki.Sign(pki.Leaf{
		CommonName: commonName, SANs: sans, Usage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		NotBefore: time.Now(), NotAfter: time.Now().Add(time.Hour),
	}, key, s.authority.root, s.authority.key)
	if err != nil {
		return nil, err
	}
	return [][]byte{leaf.Raw}, nil
}

// network is what the agents of a test can dial, by endpoint.
type network struct {
	mu    sync.Mutex
	ports map[string]*controller
	cut   bool // connections stop moving, without an end
	dials int
	to    []string
}

func (n *network) set(endpoint string, c *controller) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.ports[endpoint] = c
}

func (n *network) freeze(cut bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cut = cut
}

func (n *network) frozen() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.cut
}

func (n *network) dial(ctx context.Context, kind, address string) (net.Conn, error) {
	if kind == "unix" {
		return new(net.Dialer).DialContext(ctx, kind, address)
	}
	n.mu.Lock()
	n.to = append(n.to, address)
	c, ok := n.ports[address]
	n.dials++
	n.mu.Unlock()
	switch {
	case ok && c == nil: // a host that never answers
		<-ctx.Done()
		return nil, ctx.Err()
	case !ok:
		return nil, errors.New("connection refused")
	}
	conn, err := c.listener.DialContext(ctx)
	return &wire{Conn: conn, network: n}, err
}

// wire swallows what is written while the network is frozen.
type wire struct {
	net.Conn
	network *network
}

func (w *wire) Write(p []byte) (int, error) {
	if w.network.frozen() {
		return len(p), nil
	}
	return w.Conn.Write(p)
}

// agent is a link with a memory of the wishes that it got.
type agent struct {
	t        *testing.T
	dir      string
	settings link.Settings
	network  *network
	link     *link.Link
	cancel   context.CancelFunc
	done     chan error
	leaving  bool
	sockets  string  // directory of the SSH connections' sockets; empty for none
	random   float64 // zero for one half

	mu     sync.Mutex
	wishes []link.Wish
	health host.Health
	looks  int
}

func (a *agent) looked() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.looks
}

func newAgent(t *testing.T, n *network, settings link.Settings) *agent {
	t.Helper()
	return &agent{t: t, dir: t.TempDir(), settings: settings, network: n, health: host.Health{MemoryTotal: 1 << 30, EngineUp: true}}
}

// start runs the agent's process.
func (a *agent) start(instance string) {
	a.t.Helper()
	holder, err := identity.Open(identity.Config{Dir: filepath.Join(a.dir, "identity"), Logger: hclog.NewNullLogger(), Now: time.Now})
	if err != nil {
		a.t.Fatal(err)
	}
	a.link = link.New(link.Config{
		Leaving: a.leaving,
		Logger:  hclog.NewNullLogger(), Identity: holder, EndpointsFile: filepath.Join(a.dir, "endpoints.json"), Now: time.Now,
		Settings: func() (link.Settings, error) { return a.settings, nil }, Version: "1", Instance: instance, Dial: a.network.dial,
		SocketDir: a.sockets, Random: func() float64 { return cmp.Or(a.random, 0.5) }, Facts: func() host.Facts { return host.Facts{Hostname: "web"} },
		Health: func(context.Context) (host.Health, error) {
			a.mu.Lock()
			defer a.mu.Unlock()
			a.looks++
			return a.health, nil
		},
		Desired: func(w link.Wish) {
			a.mu.Lock()
			defer a.mu.Unlock()
			a.wishes = append(a.wishes, w)
		},
	})
	ctx, cancel := context.WithCancel(a.t.Context())
	a.cancel, a.done = cancel, make(chan error, 1)
	go func() { a.done <- a.link.Run(ctx) }()
}

func (a *agent) stop() {
	a.cancel()
	if err := <-a.done; err != nil {
		a.t.Error(err)
	}
}

func (a *agent) wished() []link.Wish {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.wishes)
}

func (a *agent) setHealth(change func(*host.Health)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	change(&a.health)
}

func (a *agent) key() string {
	a.t.Helper()
	text, err := os.ReadFile(filepath.Join(a.dir, "identity", "key.pem"))
	if err != nil {
		a.t.Fatal(err)
	}
	return string(text)
}

// until lets the bubble's time pass until something holds, and returns how long that took.
func until(t *testing.T, limit time.Duration, what string, holds func() bool) time.Duration {
	t.Helper()
	began := time.Now()
	for {
		synctest.Wait()
		if holds() {
			return time.Since(began)
		}
		if time.Since(began) > limit {
			t.Fatalf("not within %s: %s", limit, what)
		}
		<-time.After(50 * time.Millisecond)
	}
}

func pass(d time.Duration) { <-time.After(d); synctest.Wait() }

func (c *controller) connected(uid string) func() bool {
	return func() bool { o, _ := c.hub.Observed(uid); return o.Connected }
}

func (a *authority) renewed() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.renewals
}

func (a *authority) enrolled() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.enrolls
}

func (n *network) dialledTo(address string) (count int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, to := range n.to {
		if to == address {
			count++
		}
	}
	return count
}

func (n *network) dialled() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.dials
}
