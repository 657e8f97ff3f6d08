package machine

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"mctl/internal/controller/swarm"
	"mctl/internal/fault"
)

const (
	// defaultDrain is how long a member may take to hand over its tasks.
	defaultDrain = time.Minute
	// swarmAgain is how often a swarm is looked at that is waited for.
	swarmAgain = time.Second
	// forcedLeave is how long a host gets to leave its swarm by itself, and a removal by force tries to do so in order.
	forcedLeave = 15 * time.Second
)

// outside reports whether a machine has yet to take its place in its swarm: to join it, or to take tasks again.
func (m *Machine) outside() bool {
	return m.Spec.Swarm != nil && (m.Status.Swarm.Node == "" || !m.Status.Swarm.Draining.IsZero())
}

// attach has a machine take its place in its swarm. Somebody who asks to provision it has that looked at again.
func (s *Service) attach(ctx context.Context, m *Machine) (attached bool, out outcome, err error) {
	place := &m.Status.Swarm
	switch {
	case m.Spec.Swarm == nil:
		return true, outcome{}, nil
	case place.Node == "" && s.remaining(m) > 0 && s.early(ctx, m):
		s.report(m, fmt.Sprintf("Waiting for %q to make the swarm...", m.Spec.Swarm.Of))
		return false, outcome{after: swarmAgain}, nil
	case place.Node == "" || m.Spec.Provision > m.Status.DoneProvision:
		state, err := s.enter(ctx, m)
		if err != nil {
			return false, outcome{}, err
		}
		place.ID, place.Node, place.Manager = cmp.Or(state.Swarm, place.ID), state.Node, state.Manager
	}
	if place.Drained {
		s.report(m, "Giving the host tasks of the swarm again...")
		err := s.byManager(ctx, m, func(via string) error {
			return s.config.Swarms.Update(ctx, via, place.Node, swarm.Change{Availability: swarm.Active})
		})
		if err != nil {
			return false, outcome{}, err
		}
	}
	place.Draining, place.Drained = time.Time{}, false
	return true, outcome{}, nil
}

// early reports whether the manager whose swarm shall be joined is itself on its way there.
func (s *Service) early(ctx context.Context, m *Machine) bool {
	of, err := s.Get(ctx, m.Spec.Swarm.Of)
	return err == nil && of.SwarmPort() != 0 && of.Status.Swarm.Node == "" && of.Status.Failure == nil && !of.Spec.Deleted
}

// enter makes the swarm or joins it. A master that has been in it joins again what is left of it, rather than make another one.
func (s *Service) enter(ctx context.Context, m *Machine) (swarm.State, error) {
	wish := m.Spec.Swarm
	known := *m
	known.Status.Swarm.Manager = false // it can't act for its own joining
	if wish.Of != "" && known.Status.Swarm.ID == "" {
		of, err := s.Get(ctx, wish.Of)
		if err != nil && !fault.Is(err, fault.NotFound) {
			return swarm.State{}, err
		}
		if of != nil {
			known.Status.Swarm.ID = of.Status.Swarm.ID
		}
	}
	others, err := s.managers(ctx, &known)
	if err != nil {
		return swarm.State{}, err
	}
	if wish.Of == "" && len(others) == 0 {
		s.report(m, "Making the swarm...")
		return s.config.Swarms.Start(ctx, m.Name, m.advertised())
	}
	s.report(m, fmt.Sprintf("Joining the swarm of %q...", cmp.Or(wish.Of, m.Name)))
	err = fault.E("machine.enter", fault.Unavailable, m.Name, fmt.Errorf("no manager of the swarm of %q can be asked yet", wish.Of))
	for _, of := range others {
		var state swarm.State
		if state, err = s.config.Swarms.Join(ctx, m.Name, of, m.advertised(), wish.Manager); err == nil || !fault.Is(err, fault.Unavailable) {
			return state, err
		}
	}
	return swarm.State{}, err
}

// drain has a member hand over its tasks, and reports whether that is done, or was given its time. That it is we who drain it
// is stored before it is done: a start takes back only what was ours.
func (s *Service) drain(ctx context.Context, m *Machine) (done bool, out outcome) {
	place, limit := &m.Status.Swarm, m.Spec.Drain
	if limit == 0 {
		limit = defaultDrain
	}
	began := place.Draining
	switch {
	case place.Node == "" || limit < 0:
		return true, outcome{}
	case !began.IsZero() && s.config.Now().Sub(began) >= limit:
		s.report(m, "The swarm did not take over all tasks in time")
		return true, outcome{}
	}
	var self *swarm.Node
	var nodes []swarm.Node
	var by string
	err := s.byManager(ctx, m, func(via string) (err error) {
		by = via
		nodes, err = s.config.Swarms.Nodes(ctx, via)
		return err
	})
	for i := range nodes {
		if nodes[i].ID == place.Node {
			self = &nodes[i]
		}
	}
	switch {
	case err != nil && by == "" && s.config.Now().Sub(s.started) >= settleTime:
		return true, outcome{} // nobody is there who could
	case err != nil:
		return false, s.awaitSwarm(m, err)
	case self == nil || self.Down:
		return true, outcome{}
	case self.Active && !place.Drained || began.IsZero():
		if began.IsZero() {
			place.Draining = s.config.Now()
			s.warnOfMajority(m, nodes)
		}
		place.Drained = self.Active
		return false, outcome{again: true}
	}
	s.report(m, "Handing over the tasks of the swarm...")
	if place.Drained && self.Active {
		if err := s.config.Swarms.Update(ctx, by, place.Node, swarm.Change{Availability: swarm.Drain}); err != nil {
			return false, s.awaitSwarm(m, err)
		}
	}
	left, err := s.config.Swarms.Tasks(ctx, by, place.Node)
	if err != nil {
		return false, s.awaitSwarm(m, err)
	}
	return left == 0, outcome{after: swarmAgain}
}

// awaitSwarm has a drain try again, and counts its time from the first try.
func (s *Service) awaitSwarm(m *Machine, err error) outcome {
	if place := &m.Status.Swarm; place.Draining.IsZero() {
		place.Draining = s.config.Now()
	}
	s.report(m, fmt.Sprintf("%s; trying again", err))
	return outcome{after: swarmAgain}
}

// warnOfMajority says what becomes of a swarm when a manager goes.
func (s *Service) warnOfMajority(m *Machine, nodes []swarm.Node) {
	all, left, manager := 0, 0, false
	for _, n := range nodes {
		if !n.Manager {
			continue
		}
		all++
		if n.ID == m.Status.Swarm.Node {
			manager = true
		} else if n.Reachable {
			left++
		}
	}
	if manager && left <= all/2 {
		s.report(m, fmt.Sprintf("While %q is off, the managers of its swarm have no majority: what runs goes on, and nothing can be changed", m.Name))
	}
}

// leave has a member that is to be removed leave its swarm in order: drained, demoted, left, removed. By force, what can't
// be done is left undone after a while.
func (s *Service) leave(ctx context.Context, m *Machine) (left bool, out outcome, err error) {
	left, out, err = s.leaveOrderly(ctx, m)
	forced := m.Spec.DeleteForce || m.Spec.DeletePersist
	if err != nil && forced && (!fault.Retryable(err) || s.triedToLeave(m)) {
		s.config.Logger.Warn("the swarm was not left in order", "machine", m.Name, "error", err)
		if s.connected(m) {
			err = s.config.Swarms.Leave(ctx, m.Name, true)
		}
		if err != nil {
			s.config.Logger.Warn("the host did not leave its swarm", "machine", m.Name, "error", err)
		}
		m.Status.Swarm = SwarmStatus{}
		return true, outcome{}, nil
	}
	if err != nil && fault.HintOf(err) == "" {
		err = fault.E("machine.leave", fault.KindOf(err), m.Name, err).WithHint(fmt.Sprintf("`mctl rm -f %s` removes it all the same", m.Name))
	}
	return left, out, err
}

func (s *Service) leaveOrderly(ctx context.Context, m *Machine) (left bool, out outcome, err error) {
	place := &m.Status.Swarm
	if m.Spec.Swarm == nil {
		return true, outcome{}, nil
	}
	if place.Node == "" { // or it was not noted: a crash may have come between
		if m.Status.AppliedDigest == "" || !s.connected(m) {
			return true, outcome{}, nil
		}
		state, err := s.config.Swarms.State(ctx, m.Name)
		if err != nil && !s.triedToLeave(m) {
			return false, outcome{after: swarmAgain}, nil
		}
		if err != nil || !state.In() {
			return true, outcome{}, nil //nolint:nilerr // an engine that does not answer keeps no machine
		}
		place.ID, place.Node, place.Manager = state.Swarm, state.Node, state.Manager
	}
	if done, out := s.drain(ctx, m); !done {
		return false, out, nil
	}
	s.report(m, "Leaving the swarm...")
	others := *m
	others.Status.Swarm.Manager = false // it can't act for its own removal
	names, err := s.managers(ctx, &others)
	if err != nil {
		return false, outcome{}, err
	}
	if len(names) == 0 {
		return s.leaveAlone(ctx, m)
	}
	err = s.byManager(ctx, &others, func(via string) error {
		return s.dismiss(ctx, m, via)
	})
	if err != nil {
		return false, outcome{}, err
	}
	m.Status.Swarm = SwarmStatus{}
	return true, outcome{}, nil
}

// dismiss takes a member out of its swarm by way of a manager. The host's own engine may be past leaving.
func (s *Service) dismiss(ctx context.Context, m *Machine, via string) error {
	id := m.Status.Swarm.Node
	err := s.config.Swarms.Update(ctx, via, id, swarm.Change{Manager: swarm.Demote})
	if fault.Is(err, fault.NotFound) { // it was removed before
		err = nil
	}
	if err != nil {
		return err
	}
	nodes, err := s.config.Swarms.Nodes(ctx, via)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(nodes, func(n swarm.Node) bool { return n.ID == id && n.Manager }) {
		return fault.E("machine.dismiss", fault.Unavailable, m.Name, fmt.Errorf("%q is still a manager of its swarm", m.Name))
	}
	if s.connected(m) {
		if err := s.config.Swarms.Leave(ctx, m.Name, false); err != nil && !s.triedToLeave(m) {
			return err
		}
	}
	return s.config.Swarms.Remove(ctx, via, id)
}

// triedToLeave reports whether a host that is to be removed has had time to leave its swarm by itself.
func (s *Service) triedToLeave(m *Machine) bool {
	since := m.Status.PhaseTime
	if m.Status.Swarm.Draining.After(since) {
		since = m.Status.Swarm.Draining
	}
	return s.config.Now().Sub(since) >= forcedLeave
}

// leaveAlone is for a member none of whose managers can be asked, itself aside. A manager leaves by force, which ends the swarm: that
// somebody wants that, or that there are others, was looked at when the removal was asked for.
func (s *Service) leaveAlone(ctx context.Context, m *Machine) (left bool, out outcome, err error) {
	manager := m.Status.Swarm.Manager
	if forced := m.Spec.DeleteForce || m.Spec.DeletePersist; manager && !forced {
		return false, outcome{}, fault.E("machine.leave", fault.Unavailable, m.Name, fmt.Errorf("no other manager of the swarm of %q can be asked", m.Name)).
			WithHint(fmt.Sprintf("`mctl rm -f %s` removes it all the same", m.Name))
	}
	if s.connected(m) {
		if err := s.config.Swarms.Leave(ctx, m.Name, manager); err != nil {
			return false, outcome{}, err
		}
	}
	m.Status.Swarm = SwarmStatus{}
	return true, outcome{}, nil
}
