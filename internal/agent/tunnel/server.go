// Package tunnel is the host's end of tunnels: commands as sshd would run them, connections to the host's loopback address,
// copies of files, the journal. Each tunnel is a stream of its own; when it ends, nothing that it began goes on.
package tunnel

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"

	"mctl/internal/agent/tunnel/login"
	"mctl/internal/agent/tunnel/trunk"
	"mctl/internal/fault"
	"mctl/internal/frame"
	"mctl/internal/reaper"
	agentv1 "mctl/proto/mctl/agent/v1"
)

const (
	mostTunnels = 256 // at a time; the controller has a lower limit
	openLimit   = 15 * time.Second
	checkLimit  = 5 * time.Second
)

// Config is what a Server needs.
type Config struct {
	Logger hclog.Logger
	// Dial makes a connection to the controller.
	Dial func(ctx context.Context) (*grpc.ClientConn, error)
	// Program is this executable; it copies files when it is called with "copy".
	Program string
	// Reaper ends what an agent that was killed left running.
	Reaper reaper.Reaper
	// Root is "/" but in tests, which have accounts of their own there.
	Root string
}

// Server does what is wanted through tunnels. It is safe for use at the same time.
type Server struct {
	config   Config
	accounts login.Accounts
	wanted   chan []byte
	trunk    trunk.Trunk
}

// New makes a Server. It does nothing until Run.
func New(config Config) *Server {
	if config.Root == "" {
		config.Root = "/"
	}
	return &Server{
		config: config, accounts: login.Accounts{Root: config.Root}, wanted: make(chan []byte, mostTunnels),
		trunk: trunk.Trunk{Dial: config.Dial},
	}
}

// Open has a tunnel opened that the controller wants. It never blocks; with too many at a time it does nothing, and the
// controller waits in vain.
func (s *Server) Open(id []byte) {
	select {
	case s.wanted <- id:
	default:
		s.config.Logger.Warn("more tunnels are wanted than this host has at a time")
	}
}

// Run serves until ctx ends, and returns when all that was begun has ended.
func (s *Server) Run(ctx context.Context) error {
	if left := s.config.Reaper.Reap(); left > 0 {
		s.config.Logger.Info("ended what an agent that was killed left running", "tunnels", left)
	}
	var group sync.WaitGroup
	defer s.trunk.Close()
	defer group.Wait()
	room := make(chan struct{}, mostTunnels)
	for {
		select {
		case <-ctx.Done():
			return nil
		case id := <-s.wanted:
			select {
			case room <- struct{}{}:
			case <-ctx.Done():
				return nil
			}
			group.Go(func() {
				defer func() { <-room }()
				if err := s.serve(ctx, id); err != nil && ctx.Err() == nil {
					s.config.Logger.Info("a tunnel could not be opened", "error", err)
				}
			})
		}
	}
}

// serve is one tunnel from its first to its last word.
func (s *Server) serve(ctx context.Context, id []byte) error {
	stream, order, release, err := s.open(ctx, id)
	if err != nil {
		return err
	}
	defer release()
	c := newChannel(stream)
	defer c.end()
	if err := s.work(c, order); err != nil && c.ctx.Err() == nil {
		c.fail(err)
	}
	c.finish()
	return nil
}

// open opens the controller's stream for an id. A connection that broke since it was used last is made anew.
func (s *Server) open(ctx context.Context, id []byte) (*stream, *agentv1.Order, func(), error) {
	for attempt := 0; ; attempt++ {
		conn, release, err := s.trunk.Get(ctx, attempt > 0)
		if err != nil {
			return nil, nil, nil, err
		}
		stream, order, err := greet(ctx, conn, id)
		if err == nil {
			return stream, order, release, nil
		}
		release()
		if attempt > 0 || ctx.Err() != nil {
			return nil, nil, nil, err
		}
	}
}

// stream is the controller's, with what ends it.
type stream struct {
	agentv1.TunnelService_OpenClient
	cancel context.CancelFunc
	ctx    context.Context //nolint:containedctx // the stream's own, to be ended
	// over asks whether the controller has ended the tunnel, which may stand behind data on the stream itself.
	over func() bool
}

func greet(ctx context.Context, conn *grpc.ClientConn, id []byte) (*stream, *agentv1.Order, error) {
	ctx, cancel := context.WithCancel(ctx)
	limit := time.AfterFunc(openLimit, cancel)
	client := agentv1.NewTunnelServiceClient(conn)
	opened, err := client.Open(ctx, grpc.ForceCodecV2(frame.Codec()))
	if err == nil {
		err = opened.Send(&agentv1.OpenRequest{Message: &agentv1.OpenRequest_Id{Id: id}})
	}
	if errors.Is(err, io.EOF) {
		err = nil // receiving tells why
	}
	var first *agentv1.OpenResponse
	if err == nil {
		first, err = opened.Recv()
	}
	if err == nil && (!limit.Stop() || first.GetOrder() == nil) {
		err = fault.New("tunnel.greet", fault.Unavailable, "", "the controller did not say what the tunnel is for")
	}
	if err != nil {
		limit.Stop()
		cancel()
		return nil, nil, err
	}
	over := func() bool {
		limited, cancel := context.WithTimeout(ctx, checkLimit)
		defer cancel()
		_, err := client.Check(limited, &agentv1.CheckRequest{Id: id})
		return fault.Is(err, fault.NotFound)
	}
	return &stream{opened, cancel, ctx, over}, first.GetOrder(), nil
}

// work does what an order wants.
func (s *Server) work(c *channel, order *agentv1.Order) error {
	work := order.GetWork()
	switch {
	case work.GetForward() != nil:
		return s.forward(c, uint16(work.GetForward().GetPort()))
	case work.GetLogs() != nil:
		return s.logs(c, work.GetLogs())
	}
	user, err := s.accounts.Find(c.ctx, order.GetUser())
	if err != nil {
		return err
	}
	switch {
	case work.GetExec() != nil:
		return s.exec(c, user, work.GetExec())
	case work.GetCopy() != nil:
		return s.copy(c, user, work.GetCopy())
	}
	return fault.E("tunnel.work", fault.Precondition, "", fmt.Errorf("this host's agent does not know what is wanted of it")).
		WithHint("`mctl provision` on the machine brings the newest agent")
}
