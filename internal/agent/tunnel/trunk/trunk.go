// Package trunk is the connection that tunnels share.
package trunk

import (
	"context"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"

	"mctl/internal/fault"
)

const (
	openLimit = 15 * time.Second
	idleLimit = time.Minute // for which a connection without tunnels is kept
)

// Trunk is a connection, made for the first tunnel and given up a while after the last. It is safe for use at the same time.
type Trunk struct {
	// Dial makes a connection.
	Dial func(ctx context.Context) (*grpc.ClientConn, error)

	mu      sync.Mutex
	current *shared
}

// shared is a connection with those who use it.
type shared struct {
	conn  *grpc.ClientConn
	users int
	idle  *time.Timer // ends it; nil while it is used
}

// Get returns a connection that stands, and what gives it back. anew makes one in any case.
func (t *Trunk) Get(ctx context.Context, anew bool) (*grpc.ClientConn, func(), error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s := t.current; s != nil && (anew || s.conn.GetState() != connectivity.Ready) {
		t.current = nil
		if s.users == 0 {
			s.close()
		}
	}
	if t.current == nil {
		conn, err := t.connect(ctx)
		if err != nil {
			return nil, nil, err
		}
		t.current = &shared{conn: conn}
	}
	s := t.current
	s.users++
	if s.idle != nil {
		s.idle.Stop()
		s.idle = nil
	}
	return s.conn, func() { t.release(s) }, nil
}

// connect makes a connection that stands: those who come meanwhile wait, and share it.
func (t *Trunk) connect(ctx context.Context) (*grpc.ClientConn, error) {
	ctx, cancel := context.WithTimeout(ctx, openLimit)
	defer cancel()
	conn, err := t.Dial(ctx)
	if err != nil {
		return nil, err
	}
	conn.Connect()
	for state := conn.GetState(); state != connectivity.Ready; state = conn.GetState() {
		if state == connectivity.TransientFailure || !conn.WaitForStateChange(ctx, state) {
			conn.Close() //nolint:errcheck // it was never used
			return nil, fault.New("trunk.connect", fault.Unavailable, "", "the controller does not take another connection")
		}
	}
	return conn, nil
}

func (t *Trunk) release(s *shared) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s.users--; s.users > 0 {
		return
	}
	if t.current != s {
		s.close()
		return
	}
	s.idle = time.AfterFunc(idleLimit, func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if s.users == 0 && t.current == s {
			t.current = nil
			s.close()
		}
	})
}

// Close ends the connection that nobody uses any more.
func (t *Trunk) Close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.current != nil {
		t.current.close()
		t.current = nil
	}
}

func (s *shared) close() {
	if s.idle != nil {
		s.idle.Stop()
	}
	s.conn.Close() //nolint:errcheck // nothing to save
}
