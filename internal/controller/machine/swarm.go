package machine

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"time"

	"mctl/internal/controller/bootstrap"
	"mctl/internal/controller/driver"
	"mctl/internal/controller/swarm"
	"mctl/internal/fault"
)

// DefaultSwarmPort is where docker-machine's users expect a swarm's manager.
const DefaultSwarmPort = 3376

// Swarm is the swarm that a machine is a member of.
type Swarm struct {
	Master  bool   // the swarm is called after it
	Called  string // what the swarm is called: its master's name, set when the machine is created
	Of      string // machine that is a manager of the swarm to join; empty to make one
	Manager bool   // it is a manager; a master is one
	Port    uint16 // where a manager serves the engine once more, for the swarm
	Address string // IP or IP:port, that the others find it at; empty for the machine's own

	// As docker-machine kept them, for those who read them.
	Host, Strategy, Image string
	Options, JoinOptions  []string
	Experimental          bool
}

// SwarmStatus is a machine's place in its swarm.
type SwarmStatus struct {
	ID       string // the swarm's
	Node     string // its own there; empty while it is in none
	Manager  bool
	Draining time.Time // since when its tasks are handed over; zero while it takes them
	Drained  bool      // it was we who drained it
}

// SwarmPort returns where a manager serves the engine for the swarm; zero for a machine that is none.
func (m *Machine) SwarmPort() uint16 {
	if s := m.Spec.Swarm; s != nil && s.Manager {
		return s.Port
	}
	return 0
}

// checkSwarm refuses what could not come about, before anything is stored.
func (s *Service) checkSwarm(ctx context.Context, m *Machine) error {
	const op = "machine.checkSwarm"
	wish := m.Spec.Swarm
	switch {
	case wish == nil:
		return nil
	case wish.Port == m.EnginePort() && wish.Manager:
		return fault.E(op, fault.Invalid, m.Name, fmt.Errorf("port %d can't be both the engine's and the swarm's", wish.Port)).
			WithHint("name another one with --swarm-host").WithReason(fault.ReasonUsage)
	case wish.Of == m.Name && wish.Master:
		wish.Of = "" // it is its own manager
	}
	if wish.Called = m.Name; wish.Of == "" {
		return nil
	}
	of, err := s.Get(ctx, wish.Of)
	switch {
	case fault.Is(err, fault.NotFound) || wish.Of == m.Name:
		return fault.E(op, fault.Precondition, m.Name, fmt.Errorf("there is no machine %q whose swarm could be joined", wish.Of)).
			WithHint("create the master first: `mctl create --swarm --swarm-master " + wish.Of + "`").WithReason(fault.ReasonPrecheck)
	case err != nil:
		return err
	}
	if !wish.Master {
		wish.Called = of.Name
		if of.Spec.Swarm != nil {
			wish.Called = of.Spec.Swarm.Called
		}
	}
	if err := s.checkManager(ctx, m, of); err != nil {
		return reasoned(op, m.Name, fault.ReasonPrecheck, err)
	}
	return nil
}

// checkManager refuses a machine whose swarm can't be joined by asking it. One that is on its way to being a manager is waited for later.
func (s *Service) checkManager(ctx context.Context, m, of *Machine) error {
	const op = "machine.checkManager"
	managers, err := s.remotes(ctx, m)
	made := of.SwarmPort() != 0
	switch {
	case of.Spec.Deleted:
		return fault.E(op, fault.Precondition, m.Name, fmt.Errorf("%q, whose swarm shall be joined, is being removed", of.Name))
	case err != nil:
		return err
	case len(managers) == 0 && of.Spec.Power == PowerOff:
		return fault.E(op, fault.Precondition, m.Name, fmt.Errorf("%q, whose swarm shall be joined, is stopped", of.Name)).
			WithHint(fmt.Sprintf("`mctl start %s` first", of.Name))
	case made && (of.Status.Swarm.Node == "" || !s.connected(of)):
		return nil
	}
	// Somebody may have made it one by hand, or no manager any more.
	ctx, cancel := context.WithTimeout(ctx, swarmLook)
	defer cancel()
	state, err := s.config.Swarms.State(ctx, of.Name)
	switch {
	case err == nil:
		return state.Admits(of.Name)
	case made:
		return nil // it is asked again later
	}
	return swarm.NoManager(of.Name)
}

// swarmToBe is the swarm that a host which was there before shall be in; nil where that is none, or not known.
func (s *Service) swarmToBe(ctx context.Context, m *Machine) *bootstrap.Swarm {
	wish := m.Spec.Swarm
	switch {
	case wish == nil:
		return nil
	case wish.Of == "":
		return &bootstrap.Swarm{Make: true}
	}
	of, err := s.Get(ctx, wish.Of)
	if err != nil {
		return nil
	}
	id := of.Status.Swarm.ID
	if id == "" && of.SwarmPort() == 0 { // it was made by hand
		ctx, cancel := context.WithTimeout(ctx, swarmLook)
		defer cancel()
		state, err := s.config.Swarms.State(ctx, of.Name)
		if err != nil {
			return nil
		}
		id = state.Swarm
	}
	return &bootstrap.Swarm{ID: id}
}

// swarmLook bounds a question to an engine that somebody waits for.
const swarmLook = 10 * time.Second

// advertised is where the other members of a swarm shall find a machine: where somebody said; else at a private address, since
// clouds let their hosts' public ones be reached from outside alone.
func (m *Machine) advertised() string {
	if m.Spec.Swarm.Address != "" {
		return m.Spec.Swarm.Address
	}
	for _, address := range m.Status.Addresses {
		if ip, err := netip.ParseAddr(address); err == nil && ip.IsPrivate() {
			return address
		}
	}
	return m.Address()
}

// managers are the machines that can act for a machine's swarm: managers of it whose agents are connected. The one that it was told to
// join is first, since what swarm the others are in is known from their own hosts; itself is last.
func (s *Service) managers(ctx context.Context, m *Machine) ([]string, error) {
	all, _, err := s.List(ctx)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, other := range all {
		same := other.Status.Swarm.ID != "" && other.Status.Swarm.ID == m.Status.Swarm.ID && other.Status.Swarm.Manager
		// One that somebody made a manager by hand is known by those who joined it alone.
		joined := m.Spec.Swarm != nil && m.Spec.Swarm.Of == other.Name
		if other.UID == m.UID || !same && !joined || !s.connected(other) {
			continue
		}
		if names = append(names, other.Name); joined {
			names[0], names[len(names)-1] = names[len(names)-1], names[0]
		}
	}
	if m.Status.Swarm.Manager && s.connected(m) {
		names = append(names, m.Name)
	}
	return names, nil
}

// byManager has the first manager act that can. Unavailable where none can be asked.
func (s *Service) byManager(ctx context.Context, m *Machine, act func(via string) error) error {
	names, err := s.managers(ctx, m)
	if err != nil {
		return err
	}
	err = fault.E("machine.byManager", fault.Unavailable, m.Name, fmt.Errorf("no manager of the swarm of %q can be asked", m.Name))
	for _, via := range names {
		if err = act(via); err == nil || !fault.Is(err, fault.Unavailable) {
			return err
		}
	}
	return err
}

// checkLastManager refuses to remove a manager that its swarm can't do without.
func (s *Service) checkLastManager(ctx context.Context, name string) error {
	m, err := s.Get(ctx, name)
	if err != nil {
		return err
	}
	if member, err := s.member(ctx, m); !member || err != nil {
		return err
	}
	if m.Spec.Swarm == nil { // its swarm was made by hand, so nothing was noted
		ctx, cancel := context.WithTimeout(ctx, swarmLook)
		defer cancel()
		if state, err := s.config.Swarms.State(ctx, name); err == nil {
			m.Status.Swarm = SwarmStatus{ID: state.Swarm, Node: state.Node, Manager: state.Manager}
		}
	}
	if m.Status.Swarm.Node == "" || !m.Status.Swarm.Manager {
		return nil
	}
	others, reachable, err := s.otherManagers(ctx, m)
	if err != nil {
		return err
	}
	hint := fmt.Sprintf("make another manager first, with `mctl create --swarm --swarm-discovery mctl://%[1]s --swarm-opt manager`; `mctl rm -f %[1]s` removes it all the same", m.Name)
	switch {
	case others == 0:
		return fault.E("machine.Delete", fault.Precondition, m.Name, fmt.Errorf("%q is the last manager of its swarm, which ends with it", m.Name)).WithHint(hint)
	case reachable <= others/2:
		return fault.E("machine.Delete", fault.Precondition, m.Name,
			fmt.Errorf("without %q the managers of its swarm have no majority: %d of the other %d are there", m.Name, reachable, others)).WithHint(hint)
	}
	return nil
}

// otherManagers counts the managers of a machine's swarm besides it, and those of them that take part: as the swarm says; where it
// can't be asked, as we know.
func (s *Service) otherManagers(ctx context.Context, m *Machine) (others, reachable int, err error) {
	all, _, err := s.List(ctx)
	if err != nil {
		return 0, 0, err
	}
	leaving := map[string]bool{} // by node
	for _, other := range all {
		if other.Status.Swarm.ID != m.Status.Swarm.ID || other.Status.Swarm.Node == "" || other.UID == m.UID {
			continue
		}
		if leaving[other.Status.Swarm.Node] = other.Spec.Deleted; !other.Spec.Deleted && other.Status.Swarm.Manager {
			others++
			if s.connected(other) {
				reachable++
			}
		}
	}
	ctx, cancel := context.WithTimeout(ctx, swarmLook)
	defer cancel()
	var nodes []swarm.Node
	if s.byManager(ctx, m, func(via string) (err error) { nodes, err = s.config.Swarms.Nodes(ctx, via); return err }) != nil {
		return others, reachable, nil
	}
	others, reachable = 0, 0
	for _, n := range nodes {
		if n.Manager && n.ID != m.Status.Swarm.Node && !leaving[n.ID] {
			others++
			if n.Reachable {
				reachable++
			}
		}
	}
	return others, reachable, nil
}

// SwarmURL returns tcp://ADDRESS:PORT where a manager serves the engine for its swarm, or nothing.
func (m *Machine) SwarmURL() string {
	if m.SwarmPort() == 0 || m.Address() == "" {
		return ""
	}
	return "tcp://" + net.JoinHostPort(m.Address(), strconv.Itoa(int(m.SwarmPort())))
}

// driverSwarm is what drivers are told of a machine's swarm.
func (m *Machine) driverSwarm() driver.Swarm {
	wish := m.Spec.Swarm
	if wish == nil {
		return driver.Swarm{}
	}
	told := driver.Swarm{Member: true, Manager: m.SwarmPort(), Host: wish.Host}
	if wish.Of != "" {
		told.Discovery = "mctl://" + wish.Of
	}
	return told
}
