// Package handout gives the agent's program to hosts that join by their user data. They have no certificate yet, so anybody may
// ask: these files and nothing else, few at a time, and nobody so many that there is nothing left for others.
package handout

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"mctl/internal/lobby"
)

// What all strangers together may use.
const (
	maxConnections = 128
	maxDownloads   = 32
	mostOfOrigin   = 8 // downloads of one address, behind which there may be many hosts
	connectionLife = 10 * time.Minute
	headerLimit    = 10 * time.Second
	maxHeaders     = 8 << 10
	retryAfter     = "3" // seconds
	stopLimit      = 5 * time.Second
)

// Agents are the programs there are.
type Agents interface {
	// Agent returns the agent for an architecture: the SHA-256 of the binary, and the binary, gzip.
	Agent(arch string) (digest string, compressed []byte, err error)
}

// Server is an HTTP server over connections that somebody else has accepted and secured.
type Server struct {
	agents Agents
	logger hclog.Logger
	conns  chan net.Conn
	done   chan struct{}
	close  sync.Once
	open   *lobby.Lobby

	mu        sync.Mutex
	downloads int
	origins   map[string]int // downloads by where they go to
}

// New makes a server.
func New(agents Agents, logger hclog.Logger) *Server {
	return &Server{
		agents: agents, logger: logger, conns: make(chan net.Conn), done: make(chan struct{}),
		open: lobby.New(maxConnections), origins: map[string]int{},
	}
}

// Take serves one more connection. When there are too many the oldest goes of whoever has the most. It does not block for long.
func (s *Server) Take(raw net.Conn) {
	c := &connection{Conn: raw, leave: s.open.Enter(pushedOut{raw})}
	c.life = time.AfterFunc(connectionLife, func() { c.Close() }) //nolint:errcheck // it is over
	select {
	case s.conns <- c:
	case <-s.done:
		c.Close() //nolint:errcheck // nobody serves it
	}
}

// Run serves until ctx ends.
func (s *Server) Run(ctx context.Context) error {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /agent/linux-amd64.gz", s.give("amd64"))
	mux.HandleFunc("GET /agent/linux-arm64.gz", s.give("arm64"))
	server := &http.Server{
		Handler: mux, ReadHeaderTimeout: headerLimit, ReadTimeout: headerLimit, IdleTimeout: headerLimit, WriteTimeout: connectionLife,
		MaxHeaderBytes: maxHeaders, ErrorLog: s.logger.StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Debug}),
	}
	server.SetKeepAlivesEnabled(false) // a host asks once
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener{s}) }()
	<-ctx.Done()
	limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopLimit)
	defer cancel()
	if server.Shutdown(limited) != nil {
		server.Close() //nolint:errcheck // downloads that go on are cut
	}
	if err := <-failed; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func (s *Server) give(arch string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		origin := originOf(r)
		if !s.begin(origin) {
			w.Header().Set("Retry-After", retryAfter)
			http.Error(w, "too many at the same time", http.StatusServiceUnavailable)
			return
		}
		defer s.end(origin)
		_, compressed, err := s.agents.Agent(arch)
		if err != nil {
			s.logger.Warn("a host asks for an agent that is not there", "arch", arch, "error", err)
			http.Error(w, "there is no agent for "+arch, http.StatusNotFound)
			return
		}
		w.Header().Set("Content-Type", "application/gzip")
		w.Header().Set("Content-Length", strconv.Itoa(len(compressed)))
		_, _ = w.Write(compressed) // whoever went away comes again
	}
}

// originOf is where a request comes from.
func originOf(r *http.Request) string {
	address, _ := netip.ParseAddrPort(r.RemoteAddr) // or it is none of the network's
	return lobby.Origin(net.TCPAddrFromAddrPort(address))
}

// begin counts a download, unless there are too many.
func (s *Server) begin(origin string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.downloads >= maxDownloads || s.origins[origin] >= mostOfOrigin {
		return false
	}
	s.downloads++
	s.origins[origin]++
	return true
}

func (s *Server) end(origin string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.downloads--
	if s.origins[origin]--; s.origins[origin] == 0 {
		delete(s.origins, origin)
	}
}

// listener hands connections to net/http.
type listener struct{ *Server }

func (l listener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conns:
		return conn, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l listener) Close() error {
	l.close.Do(func() { close(l.done) })
	return nil
}

func (listener) Addr() net.Addr { return &net.TCPAddr{} }

// connection makes room when it ends.
type connection struct {
	net.Conn
	leave func()
	life  *time.Timer
	once  sync.Once
}

func (c *connection) Close() error {
	c.once.Do(func() { c.life.Stop(); c.leave() })
	return c.Conn.Close()
}

// pushedOut is a connection whose end nobody waits for: TLS says goodbye first.
type pushedOut struct{ net.Conn }

func (p pushedOut) Close() error {
	go p.Conn.Close() //nolint:errcheck // it is over
	return nil
}
