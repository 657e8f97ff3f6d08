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
	"strings"
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
	Address string // where the others look for it; empty while it is in none
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
	s := State{
		Local: i.Swarm.LocalNodeState, Node: host.Line(i.Swarm.NodeID), Manager: i.Swarm.ControlAvailable, Address: host.Line(i.Swarm.NodeAddr),
		Error: plain(i.Swarm.Error),
	}
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

// Joining is how a machine joins a swarm.
type Joining struct {
	Of        string // machine that is a manager of the swarm
	Advertise string // where the other members find the one that joins, as IP or IP:port
	Manager   bool
	Former    string // the node that it was in that swarm; empty for none
	Begun     bool   // a join of ours has begun, and may have failed
}

// Join has a machine join the swarm of another, that is a manager. A member of that swarm is let be, and promoted if it shall be a
// manager. What is left of a former node that the swarm has removed, or of a join that failed, is left first. Precondition for a
// member of another swarm, and where the other is a worker. Unavailable while the other has made none yet, or this one is on its
// way; the state tells the swarm's id then.
func (c *Client) Join(ctx context.Context, machine string, how Joining) (State, error) {
	to, err := c.State(ctx, how.Of)
	switch {
	case err != nil:
		return State{}, err
	case !to.In():
		return State{}, fault.E("swarm.Join", fault.Unavailable, how.Of, fmt.Errorf("%q has no swarm yet", how.Of))
	case !to.Manager:
		return State{}, to.Admits(how.Of)
	}
	s, err := c.unburdened(ctx, machine, how)
	if err != nil {
		return State{}, err
	}
	if !s.In() {
		if err := s.free(machine); err != nil {
			return State{}, err
		}
		if err := c.join(ctx, machine, to, how); err != nil {
			// An engine goes on in the background, and says so in words for its own users.
			if now, unseen := c.State(ctx, machine); unseen == nil && now.Local == "pending" {
				err = onItsWay(machine, how.Of, to)
			}
			return State{Swarm: to.Swarm}, advise(machine, err)
		}
		if s, err = c.State(ctx, machine); err != nil {
			return State{Swarm: to.Swarm}, err
		}
	}
	switch {
	case s.Local == "pending" && s.Node == "":
		return State{Swarm: to.Swarm}, onItsWay(machine, how.Of, to)
	case s.Local == "locked":
		return State{}, s.free(machine)
	}
	n, err := c.node(ctx, how.Of, s.Node)
	if fault.Is(err, fault.NotFound) {
		return State{}, elsewhere(machine)
	}
	if err == nil && how.Manager && n.ManagerStatus == nil {
		err = c.Update(ctx, how.Of, s.Node, Change{Manager: Promote})
	}
	if err != nil {
		return State{}, err
	}
	s.Swarm, s.Manager = to.Swarm, how.Manager || n.ManagerStatus != nil
	return s, nil
}

// unburdened has an engine leave what keeps it from joining and is known to be of our making, and tells how it stands then.
func (c *Client) unburdened(ctx context.Context, machine string, how Joining) (State, error) {
	s, err := c.State(ctx, machine)
	if err != nil || s.Local == "inactive" {
		return s, err
	}
	removed := false
	if how.Former != "" {
		_, err := c.node(ctx, how.Of, how.Former)
		if removed = fault.Is(err, fault.NotFound); err != nil && !removed {
			return s, err
		}
	}
	failed := s.Local == "error" && (how.Begun || removed)
	if !failed && (!removed || s.Node != how.Former) {
		return s, nil
	}
	if err := c.call(ctx, machine, "POST", "/swarm/leave", url.Values{"force": {"1"}}, nil, nil); err != nil {
		return s, err
	}
	return c.State(ctx, machine)
}

func (c *Client) join(ctx context.Context, machine string, to State, how Joining) error {
	var tokens struct {
		JoinTokens struct{ Worker, Manager string }
	}
	if err := c.call(ctx, how.Of, "GET", "/swarm", nil, nil, &tokens); err != nil {
		return err
	}
	token := tokens.JoinTokens.Worker
	if how.Manager {
		token = tokens.JoinTokens.Manager
	}
	body := membership{ListenAddr: listen, AdvertiseAddr: how.Advertise, RemoteAddrs: to.managers, JoinToken: token}
	return c.call(ctx, machine, "POST", "/swarm/join", nil, body, nil)
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

// Admits is nil for a machine whose swarm can be joined by asking it.
func (s State) Admits(machine string) error {
	switch {
	case s.Manager:
		return nil
	case s.Local == "locked":
		return s.free(machine)
	}
	return NoManager(machine)
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

// onItsWay is the fault for a machine whose engine has not got into a swarm yet. One that can't reach the managers stays so.
func onItsWay(machine, of string, to State) error {
	return fault.E("swarm.Join", fault.Unavailable, machine,
		fmt.Errorf("%q is on its way into the swarm of %q, whose managers are at %s", machine, of, strings.Join(to.managers, ", "))).
		WithHint(fmt.Sprintf("see that it reaches them: 2377/tcp, 7946/tcp and udp, and 4789/udp have to be open between members; then `mctl retry %s`", machine))
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
