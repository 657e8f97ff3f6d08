package link

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/google/renameio/v2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"

	"mctl/internal/coalesce"
	"mctl/internal/fault"
)

const (
	dialLimit    = 5 * time.Second        // for one endpoint, handshake included
	dialStagger  = 250 * time.Millisecond // head start of a better endpoint
	maxEndpoints = 8
	maxReceive   = 256 << 10
	bulkWindow   = 2 << 20 // bytes under way of one tunnel, as many as ssh has
	// lookForSockets is how often a host that is not connected looks for a way that SSH opened.
	lookForSockets = time.Second
)

// Dial makes a connection to the controller beside the session's, for what is too large for that. It must be closed.
func (l *Link) Dial(ctx context.Context) (*grpc.ClientConn, error) {
	settings, err := l.config.Settings()
	if err != nil {
		return nil, err
	}
	config, err := l.secured(settings)
	if err != nil {
		return nil, err
	}
	ways := merge(l.endpoints(settings), l.sockets())
	if came := l.came.Load(); came != nil { // the session's own way is known to lead there
		if i := slices.IndexFunc(ways, func(w way) bool { return w.address == came.address }); i > 0 {
			ways = slices.Insert(slices.Delete(ways, i, i+1), 0, *came)
		}
	}
	found, _, err := l.connect(ctx, ways, config)
	if err != nil {
		return nil, err
	}
	return client(found.conn, grpc.WithWriteBufferSize(128<<10), grpc.WithStaticStreamWindowSize(bulkWindow), grpc.WithStaticConnWindowSize(2*bulkWindow))
}

// dial connects for a session.
func (l *Link) dial(ctx context.Context, endpoints []string, config *tls.Config) (*grpc.ClientConn, error) {
	found, tried, err := l.connect(ctx, merge(endpoints, l.sockets()), config)
	l.tried = tried
	if err != nil {
		return nil, err
	}
	l.supersede(found.way)
	l.came.Store(&found.way)
	// A host has one session with little in it: small buffers, and windows that are not probed with pings.
	return client(found.conn, grpc.WithReadBufferSize(4<<10), grpc.WithWriteBufferSize(4<<10),
		grpc.WithStaticStreamWindowSize(64<<10), grpc.WithStaticConnWindowSize(64<<10))
}

// connect tries all ways side by side, better ones with a head start, and keeps the first that leads to our controller: a
// stranger at an old address loses in the handshake, not later. A way that SSH opens meanwhile is tried as well. It returns
// which sockets were tried, too. fault.Unavailable when none leads there.
func (l *Link) connect(ctx context.Context, ways []way, config *tls.Config) (found attempted, tried map[string]bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, dialLimit+(maxEndpoints+maxSockets)*dialStagger)
	defer cancel()
	a := attempts{link: l, config: config, results: make(chan attempted), tried: map[string]bool{}}
	for i, w := range ways {
		a.start(ctx, w, time.Duration(i)*dialStagger)
	}
	if a.open == 0 {
		return found, a.tried, l.unknownController()
	}
	look := time.NewTicker(lookForSockets)
	defer look.Stop()
	var errs []error
	for a.open > 0 {
		select {
		case <-look.C:
			for _, w := range l.sockets() {
				if !a.tried[w.name] && found.conn == nil {
					a.start(ctx, w, 0)
				}
			}
		case r := <-a.results:
			a.open--
			switch {
			case r.err != nil:
				errs = append(errs, r.err)
			case found.conn == nil:
				found = r
				cancel() // the others give up
			default:
				r.conn.Close() //nolint:errcheck // it was never used
			}
		}
	}
	if found.conn == nil {
		return found, a.tried, fault.E("link.dial", fault.Unavailable, "", errors.Join(errs...))
	}
	return found, a.tried, nil
}

// attempts are dials under way.
type attempts struct {
	link    *Link
	config  *tls.Config
	results chan attempted
	open    int
	tried   map[string]bool // sockets
}

type attempted struct {
	way  way
	conn *coalesce.Conn
	err  error
}

func (a *attempts) start(ctx context.Context, w way, delay time.Duration) {
	a.open++
	if w.name != "" {
		a.tried[w.name] = true
	}
	go func() {
		r := attempted{way: w}
		if wait(ctx, delay) {
			r.conn, r.err = a.link.handshake(ctx, w, a.config)
		} else {
			r.err = ctx.Err()
		}
		a.results <- r
	}()
}

// merge orders ways: the best direct one, the newest socket, the next direct one and so on, so that none waits long.
func merge(endpoints []string, sockets []way) []way {
	var all []way
	for i := range max(len(endpoints), len(sockets)) {
		if i < len(endpoints) {
			all = append(all, way{network: "tcp", address: endpoints[i]})
		}
		if i < len(sockets) {
			all = append(all, sockets[i])
		}
	}
	return all
}

func (l *Link) unknownController() error {
	if l.config.SocketDir != "" {
		return fault.New("link.dial", fault.Unavailable, "", "the controller's SSH connection is not there yet")
	}
	return fault.New("link.dial", fault.Precondition, "", "no controller is known to this host")
}

func (l *Link) handshake(ctx context.Context, w way, config *tls.Config) (*coalesce.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialLimit)
	defer cancel()
	raw, err := l.config.Dial(ctx, w.network, w.address)
	if errors.Is(err, syscall.ECONNREFUSED) {
		l.drop([]way{w})
	}
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", w.address, err)
	}
	conn := coalesce.Client(raw, config)
	if err := conn.HandshakeContext(ctx); err != nil {
		raw.Close()
		return nil, fmt.Errorf("greet %s: %w", w.address, err)
	}
	return conn, nil
}

// client speaks gRPC over one connection and never makes another: a session dies whole.
func client(conn *coalesce.Conn, options ...grpc.DialOption) (*grpc.ClientConn, error) {
	once := make(chan net.Conn, 1)
	once <- conn
	dialer := func(context.Context, string) (net.Conn, error) {
		select {
		case c := <-once:
			return c, nil
		default:
			return nil, errors.New("the connection is over")
		}
	}
	made, err := grpc.NewClient("passthrough:///controller", append(options,
		grpc.WithContextDialer(dialer), grpc.WithTransportCredentials(greeted{}),
		grpc.WithUnaryInterceptor(faults), grpc.WithDisableRetry(), grpc.WithDisableServiceConfig(), grpc.WithIdleTimeout(0),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxReceive)), grpc.WithMaxHeaderListSize(16<<10),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, Timeout: 4 * time.Second}),
	)...)
	if err != nil {
		conn.Close() //nolint:errcheck // it was never used
		return nil, fault.E("link.client", fault.Internal, "", err)
	}
	return made, nil
}

// greeted are credentials of a connection whose handshake is done.
type greeted struct{}

func (greeted) ClientHandshake(_ context.Context, _ string, conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	secured, ok := conn.(*coalesce.Conn)
	if !ok {
		return nil, nil, errors.New("not a TLS connection")
	}
	return conn, credentials.TLSInfo{
		State: secured.ConnectionState(), CommonAuthInfo: credentials.CommonAuthInfo{SecurityLevel: credentials.PrivacyAndIntegrity},
	}, nil
}

func (greeted) ServerHandshake(net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return nil, nil, errors.New("client side only")
}
func (greeted) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "tls"}
}
func (g greeted) Clone() credentials.TransportCredentials { return g }
func (greeted) OverrideServerName(string) error           { return nil }

// endpoints are where to dial: what the controller told last, then what first contact left.
func (l *Link) endpoints(settings Settings) []string {
	var all []string
	for _, endpoint := range append(l.toldEndpoints(), settings.Endpoints...) {
		if !slices.Contains(all, endpoint) && len(all) < maxEndpoints {
			all = append(all, endpoint)
		}
	}
	return all
}

func (l *Link) toldEndpoints() []string {
	text, err := os.ReadFile(l.config.EndpointsFile)
	var told []string
	if err != nil || json.Unmarshal(text, &told) != nil {
		return nil // first contact's are still there
	}
	return told
}

// keepEndpoints stores where to dial next time, when it differs from what is stored.
func (l *Link) keepEndpoints(told []string) error {
	told = told[:min(len(told), maxEndpoints)]
	for _, endpoint := range told {
		if _, _, err := net.SplitHostPort(endpoint); err != nil {
			return fault.E("link.keepEndpoints", fault.Invalid, endpoint, err)
		}
	}
	if len(told) == 0 || slices.Equal(told, l.toldEndpoints()) {
		return nil
	}
	text, err := json.Marshal(told)
	if err == nil {
		err = renameio.WriteFile(l.config.EndpointsFile, text, 0o600, renameio.WithTempDir(filepath.Dir(l.config.EndpointsFile)))
	}
	if err != nil {
		return fault.E("link.keepEndpoints", fault.Internal, "", err)
	}
	return nil
}

func (l *Link) forgetEndpoints() error {
	if err := os.Remove(l.config.EndpointsFile); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fault.E("link.forgetEndpoints", fault.Internal, "", err)
	}
	return nil
}
