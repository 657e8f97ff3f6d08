// Package swarm drives swarm mode by the engines' own API, through the agents' tunnels. Each act looks first: what is so already
// is success. Join tokens are fetched when they are needed, and kept and told nowhere.
package swarm

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"time"

	"mctl/internal/fault"
	"mctl/internal/host"
)

// callLimit bounds one call: an engine gives a join 20 s before it goes on in the background.
const callLimit = 30 * time.Second

// listen is where members are told to listen for each other.
const listen = "0.0.0.0:2377"

// mostManagers is how many addresses of managers a member is told.
const mostManagers = 16

// managerPort is where managers listen.
const managerPort = "2377"

// Config is what a client needs.
type Config struct {
	// Dial opens a connection to where a machine's host serves its engine over TLS. What prevents it is told by the first Read.
	Dial func(ctx context.Context, machine string) net.Conn
	// Authority returns the name of the engine authority that a machine is under, or fault.NotFound.
	Authority func(ctx context.Context, machine string) (string, error)
	Signer    Signer
	Now       func() time.Time
}

// Client asks engines by their machines' names. It is safe for use at the same time.
type Client struct {
	config Config
	keys   *keyring
	limit  time.Duration
}

// New makes a client. It asks nobody.
func New(config Config) *Client {
	return &Client{config: config, keys: &keyring{signer: config.Signer, now: config.Now, held: map[string]held{}}, limit: callLimit}
}

// State is how an engine stands to swarms.
type State struct {
	Local   string // inactive, pending, active, error or locked
	Swarm   string // the swarm's id, as far as the engine knows it: managers do
	Node    string // its own id there
	Manager bool
	Error   string // why it is in no good state

	managers []string // where the swarm's managers listen
}

// In reports whether the engine is a member of a swarm.
func (s State) In() bool { return s.Local == "active" || s.Local == "locked" || s.Local == "pending" }

// State asks a machine's engine how it stands to swarms. Unavailable where it can't be asked.
func (c *Client) State(ctx context.Context, machine string) (State, error) {
	var i info
	if err := c.call(ctx, machine, "GET", "/info", nil, nil, &i); err != nil {
		return State{}, err
	}
	s := State{Local: i.Swarm.LocalNodeState, Node: host.Line(i.Swarm.NodeID), Manager: i.Swarm.ControlAvailable, Error: host.Line(i.Swarm.Error)}
	if i.Swarm.Cluster != nil {
		s.Swarm = host.Line(i.Swarm.Cluster.ID)
	}
	if s.Manager && i.Swarm.NodeAddr != "" {
		s.managers = append(s.managers, net.JoinHostPort(i.Swarm.NodeAddr, managerPort))
	}
	for _, m := range i.Swarm.RemoteManagers {
		if _, err := netip.ParseAddrPort(m.Addr); err == nil && !slices.Contains(s.managers, m.Addr) && len(s.managers) < mostManagers {
			s.managers = append(s.managers, m.Addr)
		}
	}
	return s, nil
}

// Start has a machine make a swarm that knows it at an address. One that is a manager already has done so. Precondition for
// a worker of some swarm.
func (c *Client) Start(ctx context.Context, machine, advertise string) (State, error) {
	s, err := c.State(ctx, machine)
	if err != nil || s.Manager {
		return s, err
	}
	if err := s.free(machine); err != nil {
		return s, err
	}
	if err := c.call(ctx, machine, "POST", "/swarm/init", nil, membership{ListenAddr: listen, AdvertiseAddr: advertise, Spec: &struct{}{}}, nil); err != nil {
		return s, advise(machine, err)
	}
	return c.State(ctx, machine)
}

// Join has a machine join the swarm of another, that is a manager, as a worker or as a manager. A member of that swarm is let be,
// and promoted if it shall be a manager. Precondition for a member of another swarm, and where the other is a worker.
// Unavailable while the other has made none yet, or this one is on its way.
func (c *Client) Join(ctx context.Context, machine, of, advertise string, manager bool) (State, error) {
	const op = "swarm.Join"
	to, err := c.State(ctx, of)
	switch {
	case err != nil:
		return State{}, err
	case to.In() && !to.Manager:
		return State{}, NoManager(of)
	case !to.Manager:
		return State{}, fault.E(op, fault.Unavailable, of, fmt.Errorf("%q has no swarm yet", of))
	}
	s, err := c.State(ctx, machine)
	if err != nil {
		return s, err
	}
	if !s.In() {
		if err := s.free(machine); err != nil {
			return s, err
		}
		if err := c.join(ctx, machine, of, to, advertise, manager); err != nil {
			return s, advise(machine, err)
		}
		if s, err = c.State(ctx, machine); err != nil {
			return s, err
		}
	}
	if s.Local == "pending" && s.Node == "" {
		return s, fault.E(op, fault.Unavailable, machine, fmt.Errorf("%q is on its way into the swarm of %q", machine, of))
	}
	if s.Local == "locked" {
		return s, s.free(machine)
	}
	n, err := c.node(ctx, of, s.Node)
	if fault.Is(err, fault.NotFound) {
		return s, elsewhere(machine)
	}
	if err == nil && manager && n.ManagerStatus == nil {
		err = c.Update(ctx, of, s.Node, Change{Manager: Promote})
	}
	s.Swarm, s.Manager = to.Swarm, manager || n.ManagerStatus != nil
	return s, err
}

func (c *Client) join(ctx context.Context, machine, of string, to State, advertise string, manager bool) error {
	var tokens struct {
		JoinTokens struct{ Worker, Manager string }
	}
	if err := c.call(ctx, of, "GET", "/swarm", nil, nil, &tokens); err != nil {
		return err
	}
	token := tokens.JoinTokens.Worker
	if manager {
		token = tokens.JoinTokens.Manager
	}
	return c.call(ctx, machine, "POST", "/swarm/join", nil, membership{ListenAddr: listen, AdvertiseAddr: advertise, RemoteAddrs: to.managers, JoinToken: token}, nil)
}

// Leave has a machine leave the swarm in which it is a node; force is for managers. One that is in none has left, and one that
// somebody took into another swarm stays there.
func (c *Client) Leave(ctx context.Context, machine, node string, force bool) error {
	s, err := c.State(ctx, machine)
	if err != nil || s.Local == "inactive" || s.Local == "" || s.Node != "" && s.Node != node {
		return err
	}
	query := url.Values{}
	if force {
		query.Set("force", "1")
	}
	return c.call(ctx, machine, "POST", "/swarm/leave", query, nil, nil)
}

// free refuses an engine that can't be taken into a swarm.
func (s State) free(machine string) error {
	const op = "swarm.free"
	hint := fmt.Sprintf("`docker swarm leave` on that machine, then `mctl retry %s`", machine)
	switch s.Local {
	case "inactive", "":
		return nil
	case "locked":
		return fault.E(op, fault.Precondition, machine, fmt.Errorf("the swarm of %q is locked", machine)).
			WithHint(fmt.Sprintf("`docker swarm unlock` on that machine, then `mctl retry %s`", machine))
	case "error":
		return fault.E(op, fault.Precondition, machine, fmt.Errorf("%q can't get into its swarm: %s", machine, s.Error)).WithHint(hint)
	}
	return elsewhere(machine)
}

func elsewhere(machine string) error {
	return fault.E("swarm.Join", fault.Precondition, machine, fmt.Errorf("%q is a member of another swarm already", machine)).
		WithHint(fmt.Sprintf("`docker swarm leave` on that machine, then `mctl retry %s`", machine))
}

// ReasonNoManager is the reason of a fault that says that a machine is no manager; another one may be.
const ReasonNoManager = "NO_MANAGER"

// NoManager is the fault for a machine whose swarm can't be joined by asking it.
func NoManager(machine string) error {
	return fault.E("swarm.Join", fault.Precondition, machine, fmt.Errorf("%q is no manager of a swarm", machine)).
		WithHint("name one that is: `mctl ls` shows the masters in the column SWARM").WithReason(ReasonNoManager)
}

// advise adds what can be done about a refusal that is known.
func advise(machine string, err error) error {
	if fault.Is(err, fault.Precondition) && fault.HintOf(err) == "" {
		return fault.E("swarm.Join", fault.Precondition, machine, err).
			WithHint(fmt.Sprintf("mend that, then `mctl retry %s`; --swarm-addr names the address that the other members shall use", machine))
	}
	return err
}
