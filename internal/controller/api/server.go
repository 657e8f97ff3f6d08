// Package api is what callers see: handlers that validate, call the domain and translate; one table of who may call what;
// one map from faults to status.
package api

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"iter"
	"net"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/time/rate"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"

	"mctl/internal/controller/credential"
	"mctl/internal/controller/driver"
	"mctl/internal/controller/event"
	machines "mctl/internal/controller/machine"
	"mctl/internal/fault"
	"mctl/internal/frame"
	"mctl/internal/pki"
	agentv1 "mctl/proto/mctl/agent/v1"
	controllerv1 "mctl/proto/mctl/controller/v1"
)

// Limits of what a caller may use.
const (
	maxMessage  = 4 << 20  // bytes
	maxHeaders  = 16 << 10 // bytes of one call, which also somebody without a certificate may send
	maxStreams  = 200      // at a time on one connection
	handshake   = 10 * time.Second
	readBuffer  = 4 << 10   // bytes of each connection; thousands of agents are mostly idle
	writeBuffer = 128 << 10 // bytes, which a connection has only while it writes
	stopLimit   = 10 * time.Second
	refusalRate = 20 // lines of log a second about refused calls, which anybody can make
	refusals    = 200
	minPingTime = 3 * time.Second
)

// Authorities issues certificates.
type Authorities interface {
	Enroll(ctx context.Context, ticket string, csr []byte) (chain, authorities [][]byte, err error)
	Renew(ctx context.Context, presented *x509.Certificate, csr []byte) (chain, authorities [][]byte, err error)
	RenewAfter(held *x509.Certificate) time.Duration
	Invite(ctx context.Context, requestID, subject string) (pki.Ticket, time.Time, error)
	SignEngineClient(ctx context.Context, authority, subject string, csr []byte) (certificate, ca []byte, end time.Time, err error)
}

// Drivers lists what machines can be made with.
type Drivers interface {
	Driver(name string) (driver.Driver, error)
	// List returns all that there are, by name. Those that would have to be run for it know no flags.
	List() []driver.Driver
}

// Journal is what happened.
type Journal interface {
	Watch(ctx context.Context, after uint64, follow bool) iter.Seq2[event.Event, error]
}

// Tunnels joins operators' streams and hosts'.
type Tunnels interface {
	agentv1.TunnelServiceServer
	Serve(stream controllerv1.SessionService_OpenTunnelServer, caller string) error
}

// Config is what the API stands on.
type Config struct {
	Logger      hclog.Logger
	Now         func() time.Time
	Machines    *machines.Service
	Drivers     Drivers
	Credentials *credential.Service
	Journal     Journal
	Authorities Authorities
	Verifier    Verifier
	Links       agentv1.LinkServiceServer
	Tunnels     Tunnels
	Info        Info
	// Busy counts machines with work under way; Shutdown ends the controller.
	Busy     func() int
	Shutdown func()
}

// Info is what GetInfo tells.
type Info struct {
	ControllerID, Version, Build string
	PID                          int
	Started                      time.Time
	Addresses                    []string // host:port each
}

// Server is the API over any number of listeners.
type Server struct {
	config  Config
	Signers *Signers
	live    *pulse
	loud    *rate.Limiter // of what is logged about refused calls
}

// New makes the API.
func New(config Config) *Server {
	return &Server{config: config, Signers: newSigners(), live: newPulse(), loud: rate.NewLimiter(refusalRate, refusals)}
}

// Touch tells watchers that the live facts of a machine changed. It never blocks.
func (s *Server) Touch(name string) { s.live.touch(name, false) }

// Reported tells those who watch health that a machine's host has reported.
func (s *Server) Reported(name string) { s.live.touch(name, true) }

// ServeUnix serves on a unix socket, where the kernel says who calls, until ctx ends.
func (s *Server) ServeUnix(ctx context.Context, listener net.Listener) error {
	return s.serve(ctx, listener, UnixCredentials{})
}

// ServeTCP serves with TLS until ctx ends. Connections that speak HTTP/1.1 are handed to web; nil to refuse them.
func (s *Server) ServeTCP(ctx context.Context, listener net.Listener, config *tls.Config, web func(net.Conn)) error {
	return s.serve(ctx, listener, newTLSCredentials(config, s.config.Verifier, web))
}

func (s *Server) serve(ctx context.Context, listener net.Listener, creds credentials.TransportCredentials) error {
	server, stop := s.build(creds) //nolint:contextcheck // see there
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	select {
	case err := <-failed:
		stop()
		server.Stop()
		return err
	case <-ctx.Done():
	}
	// Streams of agents and watchers would never end by themselves: they are told, and get a moment.
	stop()
	graceful := make(chan struct{})
	go func() { server.GracefulStop(); close(graceful) }()
	limit := time.AfterFunc(stopLimit, server.Stop)
	defer limit.Stop()
	<-graceful
	if err := <-failed; !errors.Is(err, grpc.ErrServerStopped) {
		return err
	}
	return nil
}

// build makes a gRPC server with every service; stop ends the streams that would never end by themselves.
func (s *Server) build(creds credentials.TransportCredentials) (server *grpc.Server, stop func()) {
	// It ends by stop alone: the context of a caller must not cut the others' streams.
	ending, end := context.WithCancelCause(context.Background())
	server = grpc.NewServer(
		grpc.Creds(creds),
		grpc.ForceServerCodecV2(frame.Codec()),
		grpc.UnaryInterceptor(func(ctx context.Context, request any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
			if info.FullMethod == controllerv1.MachineService_WaitMachine_FullMethodName { // others end soon by themselves
				var unhook func()
				ctx, unhook = endWith(ctx, ending)
				defer unhook()
			}
			return s.unary(ctx, request, info, handle)
		}),
		grpc.StreamInterceptor(func(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
			ctx, unhook := endWith(stream.Context(), ending)
			defer unhook()
			return s.stream(srv, streamWithContext{stream, ctx}, info, handle) //nolint:contextcheck // the stream has it
		}),
		grpc.MaxRecvMsgSize(maxMessage), grpc.MaxHeaderListSize(maxHeaders), grpc.MaxConcurrentStreams(maxStreams), grpc.ConnectionTimeout(handshake),
		grpc.ReadBufferSize(readBuffer), grpc.WriteBufferSize(writeBuffer),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: minPingTime, PermitWithoutStream: true}),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: 10 * time.Second, Timeout: 5 * time.Second}),
	)
	controllerv1.RegisterMachineServiceServer(server, &machineService{server: s})
	controllerv1.RegisterDriverServiceServer(server, &driverService{server: s})
	controllerv1.RegisterCredentialServiceServer(server, &credentialService{server: s})
	controllerv1.RegisterEventServiceServer(server, &eventService{server: s})
	controllerv1.RegisterAccessServiceServer(server, &accessService{server: s})
	controllerv1.RegisterSessionServiceServer(server, &sessionService{server: s})
	controllerv1.RegisterSystemServiceServer(server, &systemService{server: s})
	agentv1.RegisterEnrollmentServiceServer(server, &enrollmentService{server: s})
	agentv1.RegisterLinkServiceServer(server, s.config.Links)
	agentv1.RegisterTunnelServiceServer(server, s.config.Tunnels)
	checks := health.NewServer()
	healthv1.RegisterHealthServer(server, checks)
	reflection.Register(server)
	return server, func() {
		checks.Shutdown()
		end(fault.New("api.serve", fault.Unavailable, "", "the controller is stopping").WithHint("try again when it is back"))
	}
}

// endWith returns a context that ends with ctx, and with another one and its cause.
func endWith(ctx, other context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	unhook := context.AfterFunc(other, func() { cancel(context.Cause(other)) })
	return ctx, func() {
		unhook()
		cancel(nil)
	}
}
