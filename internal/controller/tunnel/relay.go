// Package tunnel joins an operator's stream and a host's into one tunnel. It knows who may have how many and for how long a
// host is waited for, and it looks into no more of what passes than where it ends.
package tunnel

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"mctl/internal/fault"
	agentv1 "mctl/proto/mctl/agent/v1"
	controllerv1 "mctl/proto/mctl/controller/v1"
)

// What one machine and one caller may have at a time. A caller's connection carries 200 streams, so that the limit for a
// machine is told as one and not waited for.
const (
	mostOfMachine = 128
	mostOfCaller  = 512
	defaultWait   = 10 * time.Second
	askAgain      = 100 * time.Millisecond
	idSize        = 16 // bytes
)

// Machine is what is to be known of one.
type Machine struct {
	UID, Name  string
	User       string // the host's, that commands run as
	EnginePort uint16
}

// Config is what a relay needs.
type Config struct {
	Logger hclog.Logger
	Now    func() time.Time
	// Find returns a machine by its name, or fault.NotFound.
	Find func(ctx context.Context, name string) (Machine, error)
	// Ask has a machine's agent open a tunnel with an id; false when there is no session. It must not block.
	Ask func(uid string, id []byte) bool
	// Awaited reports whether a machine's agent has had no session yet with this process, and so may be on its way; nil for never.
	Awaited func(uid string) bool
	// Identify returns the uid of the machine that calls, from its certificate alone, as that is good at the moment.
	Identify func(ctx context.Context) (uid string, err error)
	// Opened is told of each tunnel but Docker's, of which there is one for every call. It must not block.
	Opened func(m Machine, caller, what string)
	// Wait is how long an agent may take to open a tunnel; zero means 10 s.
	Wait time.Duration
}

// Relay is where the two streams of each tunnel meet. It is safe for use at the same time.
type Relay struct {
	agentv1.UnimplementedTunnelServiceServer
	config Config

	mu      sync.Mutex
	waiting map[string]*pair // by id: the agent has not come yet
	open    map[string]*pair // by id, also those
	machine map[string]int   // tunnels by uid
	caller  map[string]int   // tunnels by subject
}

// New makes a relay.
func New(config Config) *Relay {
	if config.Wait == 0 {
		config.Wait = defaultWait
	}
	return &Relay{config: config, waiting: map[string]*pair{}, open: map[string]*pair{}, machine: map[string]int{}, caller: map[string]int{}}
}

// Serve is the operator's end of a tunnel: it runs until either side ends it, or the machine is removed.
func (r *Relay) Serve(stream controllerv1.SessionService_OpenTunnelServer, caller string) error {
	const op = "tunnel.Serve"
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	work := first.GetStart().GetWork()
	if err := check(work); err != nil {
		return err
	}
	m, err := r.config.Find(stream.Context(), first.GetStart().GetMachine())
	if err != nil {
		return err
	}
	if m.User == "" {
		return fault.New(op, fault.Precondition, m.Name, "the machine has no user to work as yet").WithHint("`mctl wait " + m.Name + "` waits until it is made")
	}
	ctx, end := context.WithCancelCause(stream.Context())
	defer end(errOver)
	p := &pair{
		ctx: ctx, end: end, uid: m.UID, caller: caller, operator: stream, joined: make(chan agentv1.TunnelService_OpenServer, 1),
		order: &agentv1.Order{Work: resolve(work, m.EnginePort), User: m.User},
	}
	id, err := r.admit(p, m.Name)
	if err != nil {
		return err
	}
	defer r.dismiss(p, id)
	logger := r.config.Logger.With("machine", m.Name, "caller", caller, "what", name(work))
	if !r.ask(p, id) {
		return fault.E(op, fault.Unavailable, m.Name, fmt.Errorf("the agent of %q is not connected", m.Name)).
			WithHint("`mctl status " + m.Name + "` shows how the host is")
	}
	host, err := r.meet(p, m.Name)
	if err != nil {
		return err
	}
	began := r.config.Now()
	logger.Info("tunnel opened")
	if work.GetForward() == nil || !work.GetForward().GetDocker() {
		r.config.Opened(m, caller, name(work))
	}
	err = p.run(host)
	logger.Info("tunnel ended", "took", r.config.Now().Sub(began), "up", p.up.Load(), "down", p.down.Load(), "kind", fault.KindOf(err))
	return err
}

// ask has the agent told. One that is on its way, since the controller was started just now, is waited for.
func (r *Relay) ask(p *pair, id string) bool {
	limit := time.NewTimer(r.config.Wait)
	defer limit.Stop()
	again := time.NewTicker(askAgain)
	defer again.Stop()
	for !r.config.Ask(p.uid, []byte(id)) {
		if r.config.Awaited == nil || !r.config.Awaited(p.uid) {
			return false
		}
		select {
		case <-again.C:
		case <-limit.C:
			return false
		case <-p.ctx.Done():
			return false
		}
	}
	return true
}

// meet waits for the agent's stream.
func (r *Relay) meet(p *pair, name string) (agentv1.TunnelService_OpenServer, error) {
	limit := time.NewTimer(r.config.Wait)
	defer limit.Stop()
	select {
	case host := <-p.joined:
		return host, nil
	case <-p.ctx.Done():
		return nil, context.Cause(p.ctx)
	case <-limit.C:
		return nil, fault.E("tunnel.meet", fault.Unavailable, name, fmt.Errorf("the agent of %q did not open a tunnel within %s", name, r.config.Wait)).
			WithHint("an older agent knows no tunnels: `mctl provision " + name + "` brings the newest")
	}
}

// Open implements agentv1.TunnelServiceServer: the host's end of a tunnel that was asked for.
func (r *Relay) Open(stream agentv1.TunnelService_OpenServer) error {
	uid, err := r.config.Identify(stream.Context())
	if err != nil {
		return err
	}
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	p := r.claim(string(first.GetId()), uid)
	if p == nil {
		return fault.New("tunnel.Open", fault.Denied, uid, "no tunnel waits for this")
	}
	if err := stream.Send(&agentv1.OpenResponse{Message: &agentv1.OpenResponse_Order{Order: p.order}}); err != nil {
		p.end(errHost)
		return err
	}
	p.joined <- stream
	select {
	case <-p.ctx.Done():
	case <-stream.Context().Done():
		p.end(errHost)
	}
	if cause := context.Cause(p.ctx); !errors.Is(cause, errOver) {
		return cause
	}
	return nil
}

// Check implements agentv1.TunnelServiceServer: the end of a stream does not overtake data that its host does not take.
func (r *Relay) Check(ctx context.Context, request *agentv1.CheckRequest) (*agentv1.CheckResponse, error) {
	uid, err := r.config.Identify(ctx)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if p := r.open[string(request.GetId())]; p == nil || p.uid != uid || p.ctx.Err() != nil {
		return nil, fault.New("tunnel.Check", fault.NotFound, uid, "the tunnel is over")
	}
	return &agentv1.CheckResponse{}, nil
}

// claim hands out what waits for an id, once, to the machine that it is for.
func (r *Relay) claim(id, uid string) *pair {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.waiting[id]
	if p == nil || p.uid != uid {
		return nil
	}
	delete(r.waiting, id)
	return p
}

// Forget ends all tunnels of a machine that is gone.
func (r *Relay) Forget(uid string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range r.open {
		if p.uid == uid {
			p.end(fault.New("tunnel.Forget", fault.NotFound, uid, "the machine was removed"))
		}
	}
}

// admit counts a tunnel and names it.
func (r *Relay) admit(p *pair, machine string) (id string, err error) {
	random := make([]byte, idSize)
	_, _ = rand.Read(random) // it is documented never to fail
	r.mu.Lock()
	defer r.mu.Unlock()
	if most := mostOfMachine; r.machine[p.uid] >= most {
		return "", fault.E("tunnel.admit", fault.Quota, machine, fmt.Errorf("%q has %d tunnels open already", machine, most)).WithHint("end some of them")
	}
	if most := mostOfCaller; r.caller[p.caller] >= most {
		return "", fault.E("tunnel.admit", fault.Quota, machine, fmt.Errorf("you have %d tunnels open already", most)).WithHint("end some of them")
	}
	r.machine[p.uid]++
	r.caller[p.caller]++
	r.open[string(random)], r.waiting[string(random)] = p, p
	return string(random), nil
}

func (r *Relay) dismiss(p *pair, id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.open, id)
	delete(r.waiting, id)
	less(r.machine, p.uid)
	less(r.caller, p.caller)
}

func less(counts map[string]int, key string) {
	if counts[key]--; counts[key] == 0 {
		delete(counts, key)
	}
}
