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
	"time"

	"github.com/google/renameio/v2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"

	"mctl/internal/fault"
)

const (
	dialLimit    = 5 * time.Second        // for one endpoint, handshake included
	dialStagger  = 250 * time.Millisecond // head start of a better endpoint
	maxEndpoints = 8
	maxReceive   = 256 << 10
	bulkWindow   = 2 << 20 // bytes under way of one tunnel, as many as ssh has
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
	conn, err := l.connect(ctx, l.endpoints(settings), config)
	if err != nil {
		return nil, err
	}
	return client(conn, grpc.WithStaticStreamWindowSize(bulkWindow), grpc.WithStaticConnWindowSize(2*bulkWindow))
}

// dial connects for a session.
func (l *Link) dial(ctx context.Context, endpoints []string, config *tls.Config) (*grpc.ClientConn, error) {
	conn, err := l.connect(ctx, endpoints, config)
	if err != nil {
		return nil, err
	}
	// A host has one session with little in it: small buffers, and windows that are not probed with pings.
	return client(conn, grpc.WithReadBufferSize(4<<10), grpc.WithWriteBufferSize(4<<10),
		grpc.WithStaticStreamWindowSize(64<<10), grpc.WithStaticConnWindowSize(64<<10))
}

// connect tries endpoints side by side, better ones with a head start, and keeps the first that is our controller: a stranger
// at an old address loses in the handshake, not later. fault.Unavailable when none is.
func (l *Link) connect(ctx context.Context, endpoints []string, config *tls.Config) (*tls.Conn, error) {
	if len(endpoints) == 0 {
		return nil, fault.New("link.dial", fault.Precondition, "", "no controller is known to this host")
	}
	ctx, cancel := context.WithTimeout(ctx, dialLimit+maxEndpoints*dialStagger)
	defer cancel()
	type result struct {
		conn *tls.Conn
		err  error
	}
	results := make(chan result, len(endpoints))
	for i, endpoint := range endpoints {
		go func() {
			if !wait(ctx, time.Duration(i)*dialStagger) {
				results <- result{err: ctx.Err()}
				return
			}
			conn, err := l.handshake(ctx, endpoint, config)
			results <- result{conn, err}
		}()
	}
	var found *tls.Conn
	var errs []error
	for range endpoints {
		switch r := <-results; {
		case r.err != nil:
			errs = append(errs, r.err)
		case found == nil:
			found = r.conn
			cancel() // the others give up
		default:
			r.conn.Close() //nolint:errcheck // it was never used
		}
	}
	if found == nil {
		return nil, fault.E("link.dial", fault.Unavailable, "", errors.Join(errs...))
	}
	return found, nil
}

func (l *Link) handshake(ctx context.Context, endpoint string, config *tls.Config) (*tls.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialLimit)
	defer cancel()
	raw, err := l.config.Dial(ctx, "tcp", endpoint)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", endpoint, err)
	}
	conn := tls.Client(raw, config)
	if err := conn.HandshakeContext(ctx); err != nil {
		raw.Close()
		return nil, fmt.Errorf("greet %s: %w", endpoint, err)
	}
	return conn, nil
}

// client speaks gRPC over one connection and never makes another: a session dies whole.
func client(conn *tls.Conn, options ...grpc.DialOption) (*grpc.ClientConn, error) {
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
	secured, ok := conn.(*tls.Conn)
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
