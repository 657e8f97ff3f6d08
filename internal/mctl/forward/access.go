package forward

import (
	"context"
	"crypto/tls"
	"fmt"
	"sync"
	"time"

	"mctl/internal/coalesce"
	"mctl/internal/fault"
	"mctl/internal/mctl/cli"
	"mctl/internal/mctl/credential"
	"mctl/internal/mctl/tunnel"
	tunnelv1 "mctl/proto/mctl/tunnel/v1"
)

const (
	// greetLimit bounds the way to the engine.
	greetLimit = 10 * time.Second
	dialPause  = 250 * time.Millisecond
)

// access is the way to the engine, with what the caller shows there.
type access struct {
	env     *cli.Env
	machine string

	mu     sync.Mutex
	config *tls.Config
	read   time.Time
}

// freshFor is how long certificates are used that were looked at.
const freshFor = time.Minute

// dial connects to the engine. A host whose agent is on its way back, as after a restart of the controller, is waited for.
func (a *access) dial(ctx context.Context) (*coalesce.Conn, error) {
	limited, cancel := context.WithTimeout(ctx, greetLimit)
	defer cancel()
	again := time.NewTicker(dialPause)
	defer again.Stop()
	for {
		conn, err := a.try(ctx, limited)
		if !fault.Is(err, fault.Unavailable) {
			return conn, err
		}
		select {
		case <-again.C:
		case <-limited.Done():
			return nil, err
		}
	}
}

// try makes one connection. Certificates that turn out not to fit any more are replaced once.
func (a *access) try(ctx, limited context.Context) (*coalesce.Conn, error) {
	for anew := false; ; anew = true {
		config, err := a.tls(limited, anew)
		if err != nil {
			return nil, err
		}
		client, err := a.env.Client(limited)
		if err != nil {
			return nil, err
		}
		raw, err := tunnel.Dial(ctx, client, a.machine, &tunnelv1.Forward{Docker: true})
		if err != nil {
			return nil, err
		}
		conn := coalesce.Client(raw, config)
		if err = conn.HandshakeContext(limited); err == nil {
			return conn, nil
		}
		_ = raw.Close()
		if anew || limited.Err() != nil {
			return nil, fault.E("forward.dial", fault.Precondition, a.machine, fmt.Errorf("the engine of %q can't be talked to: %w", a.machine, err)).
				WithHint("`mctl regenerate-certs " + a.machine + "` makes its certificates anew")
		}
	}
}

func (a *access) tls(ctx context.Context, anew bool) (*tls.Config, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !anew && a.config != nil && a.env.Now().Sub(a.read) < freshFor {
		return a.config, nil
	}
	m, err := a.env.Get(ctx, a.machine)
	if err != nil {
		return nil, err
	}
	folder, err := a.env.WriteFiles(ctx, m, anew)
	if err != nil {
		return nil, err
	}
	config, err := credential.ClientTLS(folder)
	if err != nil {
		return nil, fault.E("forward.tls", fault.Precondition, a.machine, err)
	}
	config.ServerName = m.GetName() // which every machine's certificate has
	config.ClientSessionCache = tls.NewLRUClientSessionCache(4)
	a.config, a.read = config, a.env.Now()
	return config, nil
}
