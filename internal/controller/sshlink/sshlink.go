// Package sshlink is how agents reach a controller that they can't dial: it keeps one SSH connection to each host that needs
// it, has sshd there listen for the agent, and hands what connects there to the controller as a net.Listener. The agent's TLS
// runs inside, so neither sshd nor the host's users learn or change anything.
package sshlink

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/time/rate"

	"mctl/internal/controller/bootstrap/login"
	"mctl/internal/fault"
)

// Limits, so that a fleet is reached without a storm.
const (
	leastPause   = time.Second
	mostPause    = 30 * time.Second
	loginsAtOnce = 64
	loginRate    = 20 // a second
	commandLimit = 10 * time.Second
)

// Config is what a Keeper needs.
type Config struct {
	Logger hclog.Logger
	// Dial logs in to the host of the machine with that name, as it is known at that time. Its host key must be pinned.
	Dial func(ctx context.Context, name string) (*login.Connection, error)
	// Port is where the controller listens, for Own.
	Port uint16
	// Changed is told when the state of a machine's connection is another. It must not block.
	Changed func(uid string)
	// Random returns numbers in [0, 1) to spread load; nil for math/rand.
	Random func() float64
}

// State is how the connection to one host is.
type State struct {
	Up  bool
	Own string // our own end of it with our port, an address that the host may be able to dial; empty before the first
	Err error  // why it is not up; nil while it is, or is tried for the first time
}

// Keeper keeps connections. It is safe for use at the same time.
type Keeper struct {
	config Config
	logins chan struct{}
	pace   *rate.Limiter
	*listener

	mu    sync.Mutex
	ctx   context.Context //nolint:containedctx // of Run: what is kept ends with it
	hosts map[string]*kept
	tasks sync.WaitGroup
}

// kept is one machine's connection.
type kept struct {
	name   string
	cancel context.CancelFunc // nil before Run
	state  State
}

// New makes a Keeper, which connects to nobody before Run.
func New(config Config) *Keeper {
	if config.Random == nil {
		config.Random = rand.Float64
	}
	return &Keeper{
		config: config, logins: make(chan struct{}, loginsAtOnce), pace: rate.NewLimiter(loginRate, loginsAtOnce),
		listener: newListener(), hosts: map[string]*kept{},
	}
}

// Run keeps connections until ctx ends, and ends them then.
func (k *Keeper) Run(ctx context.Context) error {
	k.mu.Lock()
	k.ctx = ctx
	for uid, host := range k.hosts {
		k.launch(uid, host) //nolint:contextcheck // it has ctx, which was just kept
	}
	k.mu.Unlock()
	<-ctx.Done()
	k.mu.Lock()   // whoever was just launching has done so, and nobody does from now on
	k.mu.Unlock() //nolint:staticcheck // see the line above
	k.tasks.Wait()
	return nil
}

// Keep sees to it that there is a connection to a machine's host. It may be repeated.
func (k *Keeper) Keep(uid, name string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if _, there := k.hosts[uid]; there {
		return
	}
	host := &kept{name: name}
	k.hosts[uid] = host
	if k.ctx != nil {
		k.launch(uid, host)
	}
}

// Drop ends the connection to a machine's host, if there is one.
func (k *Keeper) Drop(uid string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if host, there := k.hosts[uid]; there {
		delete(k.hosts, uid)
		if host.cancel != nil {
			host.cancel()
		}
	}
}

// State returns how the connection to a machine's host is; the zero value where none is kept.
func (k *Keeper) State(uid string) State {
	k.mu.Lock()
	defer k.mu.Unlock()
	if host, there := k.hosts[uid]; there {
		return host.state
	}
	return State{}
}

// launch starts to keep one connection. The lock is held.
func (k *Keeper) launch(uid string, host *kept) {
	if k.ctx.Err() != nil {
		return
	}
	ctx, cancel := context.WithCancel(k.ctx)
	host.cancel = cancel
	k.tasks.Go(func() {
		defer cancel()
		k.keep(ctx, uid, host)
	})
}

// keep connects, and connects anew after a random pause, until ctx ends.
func (k *Keeper) keep(ctx context.Context, uid string, host *kept) {
	logger := k.config.Logger.With("machine", host.name)
	for limit := leastPause; ; limit = min(2*limit, mostPause) {
		up, err := k.connect(ctx, uid, host)
		if ctx.Err() != nil {
			return
		}
		if up {
			limit = leastPause
		}
		pause := time.Duration(k.config.Random() * float64(limit))
		logger.Info("no SSH connection for the agent", "error", err, "pause", pause.Round(time.Millisecond))
		k.tell(uid, host, func(s *State) { s.Up, s.Err = false, err })
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
	}
}

// connect holds one connection until it ends. up tells that agents could come over it.
func (k *Keeper) connect(ctx context.Context, uid string, host *kept) (up bool, err error) {
	c, err := k.login(ctx, host.name)
	if err != nil {
		return false, err
	}
	defer c.Close()
	socket, err := open(ctx, c)
	if err != nil {
		return false, err
	}
	defer socket.Close() //nolint:errcheck // it ends with the connection
	accepted := make(chan struct{})
	go func() { defer close(accepted); k.serve(socket, host.name) }()
	defer func() { c.Close(); <-accepted }()
	k.tell(uid, host, func(s *State) { *s = State{Up: true, Own: c.OwnEnd(k.config.Port)} })
	k.config.Logger.Info("agents can come over SSH", "machine", host.name, "at", socket.where)
	select {
	case <-ctx.Done():
		return true, ctx.Err()
	case <-c.Ended():
		return true, c.Err()
	case <-accepted:
		return true, fault.E("sshlink.connect", fault.Unavailable, host.name, fmt.Errorf("%s stopped forwarding", c.Address))
	}
}

// login logs in, with few others at the same time.
func (k *Keeper) login(ctx context.Context, name string) (*login.Connection, error) {
	select {
	case k.logins <- struct{}{}:
		defer func() { <-k.logins }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if err := k.pace.Wait(ctx); err != nil {
		return nil, err
	}
	return k.config.Dial(ctx, name)
}

// tell changes the state of a machine's connection, unless it was dropped meanwhile.
func (k *Keeper) tell(uid string, host *kept, change func(*State)) {
	k.mu.Lock()
	current := k.hosts[uid] == host
	if current {
		change(&host.state)
	}
	k.mu.Unlock()
	if current {
		k.config.Changed(uid)
	}
}
