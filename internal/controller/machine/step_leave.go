package machine

import (
	"context"
	"fmt"
	"slices"
	"time"

	"mctl/internal/controller/swarm"
	"mctl/internal/fault"
)

// forcedLeave is how long a host gets to leave its swarm by itself, and a removal by force tries to do so in order.
const forcedLeave = 15 * time.Second

// leave has a member that is to be removed leave its swarm in order: drained, demoted, left, removed. By force, what can't
// be done is left undone after a while.
func (s *Service) leave(ctx context.Context, m *Machine) (left bool, out outcome, err error) {
	left, out, err = s.leaveOrderly(ctx, m)
	forced := m.Spec.DeleteForce || m.Spec.DeletePersist
	if err != nil && forced && (!fault.Retryable(err) || s.triedToLeave(m)) {
		s.config.Logger.Warn("the swarm was not left in order", "machine", m.Name, "error", err)
		if s.connected(m) {
			err = s.config.Swarms.Leave(ctx, m.Name, m.Status.Swarm.Node, true)
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
	if member, err := s.member(ctx, m); !member || err != nil {
		return err == nil, outcome{}, err
	}
	if m.Status.Swarm.Node == "" {
		if err := s.recall(ctx, m); err != nil && !s.triedToLeave(m) {
			return false, outcome{after: swarmAgain}, nil
		}
		if m.Status.Swarm.Node == "" { // an engine that does not answer keeps no machine
			return true, outcome{}, nil
		}
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
	switch {
	case len(names) == 0 && s.config.Now().Sub(s.started) < settleTime: // their agents have yet to come back
		return false, outcome{after: swarmAgain}, nil
	case len(names) == 0:
		return s.leaveAlone(ctx, m)
	}
	err = s.byManager(ctx, &others, func(via string) error {
		return s.dismiss(ctx, m, m.Status.Swarm.Node, via)
	})
	if err != nil {
		return false, outcome{}, err
	}
	m.Status.Swarm = SwarmStatus{}
	return true, outcome{}, nil
}

// member reports whether the removal of a machine is a matter of its swarm: it was joined to one, or others were joined to the one
// that somebody made on it by hand. A host that is given back stays in such a one.
func (s *Service) member(ctx context.Context, m *Machine) (bool, error) {
	if m.Spec.Swarm != nil || s.adopted(m) || m.Spec.DeleteRelease {
		return m.Spec.Swarm != nil, nil
	}
	all, _, err := s.List(ctx)
	return slices.ContainsFunc(all, func(other *Machine) bool {
		return other.Spec.Swarm != nil && other.Spec.Swarm.Of == m.Name && other.Status.Swarm.Node != "" && !other.Spec.Deleted
	}), err
}

// recall finds the node that a machine is in its swarm though that was not noted: a crash may have come between. A host that somebody
// has in another swarm stays there.
func (s *Service) recall(ctx context.Context, m *Machine) error {
	if m.Status.AppliedDigest == "" || !s.connected(m) {
		return nil
	}
	state, err := s.config.Swarms.State(ctx, m.Name)
	switch {
	case err != nil:
		return err
	case state.Node == "" && (state.Local == "pending" || state.Local == "error" && m.Status.Swarm.ID != ""): // a join of ours goes on, or failed
		return s.config.Swarms.Leave(ctx, m.Name, "", true)
	case !state.In():
		return nil
	case !state.Manager || m.Spec.Swarm != nil && m.Spec.Swarm.Of != "":
		known, err := s.knownAt(ctx, m, state.Node)
		if !known || err != nil {
			return err
		}
	}
	m.Status.Swarm.ID, m.Status.Swarm.Node, m.Status.Swarm.Manager = state.Swarm, state.Node, state.Manager
	return nil
}

// knownAt reports whether a machine's swarm has a node.
func (s *Service) knownAt(ctx context.Context, m *Machine, node string) (bool, error) {
	names, err := s.remotes(ctx, m)
	if fault.Is(err, fault.Precondition) { // nobody is left who could know
		return false, nil
	}
	for _, via := range names {
		var nodes []swarm.Node
		if nodes, err = s.config.Swarms.Nodes(ctx, via); err == nil {
			return slices.ContainsFunc(nodes, func(n swarm.Node) bool { return n.ID == node }), nil
		}
	}
	return false, err
}

// dismiss takes a machine's node out of the swarm by way of a manager. The host's own engine may be past leaving.
func (s *Service) dismiss(ctx context.Context, m *Machine, id, via string) error {
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
		if err := s.config.Swarms.Leave(ctx, m.Name, id, false); err != nil && !s.triedToLeave(m) {
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
		if err := s.config.Swarms.Leave(ctx, m.Name, m.Status.Swarm.Node, manager); err != nil {
			return false, outcome{}, err
		}
	}
	m.Status.Swarm = SwarmStatus{}
	return true, outcome{}, nil
}
