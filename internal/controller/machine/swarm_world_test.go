package machine

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"mctl/internal/controller/store"
	"mctl/internal/controller/swarm"
	"mctl/internal/fault"
)

// swarms is swarm mode in memory: engines by machine.
type swarms struct {
	mu      sync.Mutex
	engines map[string]*fakeEngine
	nodes   map[string]map[string]*swarm.Node // by swarm and node
	tasks   map[string]int                    // by node; one ends with each look
	calls   []string                          // that changed something
	faults  map[string]error                  // by "act machine", for as long as they stand there
	begun   map[string]bool                   // what the last join of a machine was told of an earlier one
	before  func(call string)                 // called before each act; may be nil
}

type fakeEngine struct {
	swarm, node string
}

func newSwarms() *swarms {
	return &swarms{engines: map[string]*fakeEngine{}, nodes: map[string]map[string]*swarm.Node{}, tasks: map[string]int{}, faults: map[string]error{}, begun: map[string]bool{}}
}

// act counts one that changes something, and fails where that is wanted.
func (s *swarms) act(call, machine string, changes bool) error {
	if s.before != nil {
		s.before(call + " " + machine)
	}
	if err := s.faults[call+" "+machine]; err != nil {
		return err
	}
	if changes {
		s.calls = append(s.calls, call+" "+machine)
	}
	return nil
}

func (s *swarms) engine(machine string) *fakeEngine {
	if s.engines[machine] == nil {
		s.engines[machine] = &fakeEngine{}
	}
	return s.engines[machine]
}

func (s *swarms) state(machine string) swarm.State {
	e := s.engine(machine)
	if e.swarm == "" {
		return swarm.State{Local: "inactive"}
	}
	n := s.nodes[e.swarm][e.node]
	_, address, _ := strings.Cut(e.node, "@")
	state := swarm.State{Local: "active", Node: e.node, Manager: n != nil && n.Manager, Address: address}
	if state.Manager {
		state.Swarm = e.swarm
	}
	return state
}

func (s *swarms) State(_ context.Context, machine string) (swarm.State, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state(machine), s.act("state", machine, false)
}

func (s *swarms) Start(_ context.Context, machine, advertise string) (swarm.State, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if state := s.state(machine); state.Manager {
		return state, nil
	}
	if err := s.act("start", machine, true); err != nil {
		return swarm.State{}, err
	}
	return s.enter(machine, "s-"+machine, advertise, true), nil
}

func (s *swarms) enter(machine, id, advertise string, manager bool) swarm.State {
	e := s.engine(machine)
	e.swarm, e.node = id, machine+"@"+advertise
	if s.nodes[id] == nil {
		s.nodes[id] = map[string]*swarm.Node{}
	}
	s.nodes[id][e.node] = &swarm.Node{ID: e.node, Name: machine, Manager: manager, Reachable: manager, Active: true}
	return swarm.State{Local: "active", Swarm: id, Node: e.node, Manager: manager}
}

func (s *swarms) Join(_ context.Context, machine string, how swarm.Joining) (swarm.State, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	of := how.Of
	to, now := s.state(of), s.state(machine)
	if how.Former != "" && now.Node == how.Former && to.Manager && s.nodes[to.Swarm][how.Former] == nil {
		s.calls = append(s.calls, "leave "+machine)
		*s.engine(machine), now = fakeEngine{}, swarm.State{}
	}
	switch {
	case !to.Manager && to.In():
		return swarm.State{}, swarm.NoManager(of)
	case !to.Manager:
		return swarm.State{}, fault.New("swarms", fault.Unavailable, of, "no swarm yet")
	case now.In() && (s.engine(machine).swarm != to.Swarm || s.nodes[to.Swarm][now.Node] == nil):
		return swarm.State{}, fault.New("swarms", fault.Precondition, machine, "a member of another swarm already")
	case now.In():
		now.Swarm = to.Swarm
		return now, nil
	}
	s.begun[machine] = how.Begun
	if err := s.act("join", machine, true); err != nil {
		return swarm.State{Swarm: to.Swarm}, err
	}
	return s.enter(machine, to.Swarm, how.Advertise, how.Manager), nil
}

func (s *swarms) Leave(_ context.Context, machine, node string, force bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	state := s.state(machine)
	switch {
	case !state.In() || state.Node != node:
		return nil
	case state.Manager && !force:
		return fault.New("swarms", fault.Unavailable, machine, "participates as a manager")
	}
	if err := s.act("leave", machine, true); err != nil {
		return err
	}
	*s.engine(machine) = fakeEngine{}
	return nil
}

// via is the swarm that a manager acts for.
func (s *swarms) via(call, machine string) (map[string]*swarm.Node, error) {
	if err := s.act(call, machine, false); err != nil {
		return nil, err
	}
	if state := s.state(machine); !state.Manager {
		return nil, fault.New("swarms", fault.Unavailable, machine, "not a swarm manager")
	}
	return s.nodes[s.engine(machine).swarm], nil
}

func (s *swarms) Nodes(_ context.Context, via string) ([]swarm.Node, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	nodes, err := s.via("nodes", via)
	var all []swarm.Node
	for _, n := range nodes {
		all = append(all, *n)
	}
	return all, err
}

func (s *swarms) Update(_ context.Context, via, node string, change swarm.Change) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	nodes, err := s.via("update", via)
	if err != nil {
		return err
	}
	n := nodes[node]
	if n == nil {
		return fault.New("swarms", fault.NotFound, node, "no such node")
	}
	was := *n
	if change.Availability != "" {
		n.Active = change.Availability == swarm.Active
	}
	if change.Manager == swarm.Demote && n.Manager {
		if len(slices.Collect(managersOf(nodes))) == 1 {
			return fault.New("swarms", fault.Precondition, node, "the last manager")
		}
		n.Manager, n.Reachable = false, false
	}
	if *n != was {
		s.calls = append(s.calls, fmt.Sprintf("%s%s %s by %s", change.Availability, change.Manager, n.Name, via))
	}
	return nil
}

func managersOf(nodes map[string]*swarm.Node) func(func(string) bool) {
	return func(yield func(string) bool) {
		for id, n := range nodes {
			if n.Manager && !yield(id) {
				return
			}
		}
	}
}

func (s *swarms) Tasks(_ context.Context, via, node string) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := s.via("tasks", via); err != nil {
		return 0, err
	}
	left := s.tasks[node]
	if left > 0 {
		s.tasks[node]--
	}
	return left, nil
}

func (s *swarms) Remove(_ context.Context, via, node string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	nodes, err := s.via("remove", via)
	if err == nil && nodes[node] != nil {
		s.calls = append(s.calls, "remove "+nodes[node].Name+" by "+via)
		delete(nodes, node)
	}
	return err
}

// done returns the calls since it was asked the last time.
func (s *swarms) done() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	calls := s.calls
	s.calls = nil
	return calls
}

// again is a machine as it is read after it was stored.
func (c codec) again(t *testing.T, m *Machine) *Machine {
	t.Helper()
	value, err := c.encode(m)
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.decode(store.Item{Key: prefix + m.Name, Value: value}, true)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// started steps out of stopped, where power was asked for.
func (w *world) started(name string) {
	w.t.Helper()
	if m, err := w.step(name); err != nil || m.Status.Phase != Starting {
		w.t.Fatalf("%s, %v", m.Status.Phase, err)
	}
}

func (w *world) remove(name string, how Deletion) {
	w.t.Helper()
	if _, err := w.service.Delete(w.t.Context(), "", name, 0, how); err != nil {
		w.t.Fatal(err)
	}
}
