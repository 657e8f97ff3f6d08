package machine

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"mctl/internal/controller/swarm"
	"mctl/internal/fault"
)

const (
	// defaultDrain is how long a member may take to hand over its tasks.
	defaultDrain = time.Minute
	// swarmAgain is how often a swarm is looked at that is waited for.
	swarmAgain = time.Second
)

// outside reports whether a machine has yet to join its swarm.
func (m *Machine) outside() bool { return m.Spec.Swarm != nil && m.Status.Swarm.Node == "" }

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
		if err := s.enter(ctx, m); err != nil {
			return false, outcome{}, err
		}
	default:
		s.warnOfMove(ctx, m)
	}
	switch err = s.reactivate(ctx, m); {
	case err == nil:
		return true, outcome{}, nil
	case !fault.Retryable(err):
		return false, outcome{}, err
	case s.config.Now().Sub(m.Status.PhaseTime) < defaultDrain:
		s.report(m, fmt.Sprintf("%s; trying again", err))
		return false, outcome{after: swarmAgain}, nil
	}
	s.note(m, err)
	s.report(m, fmt.Sprintf("%q runs, and takes tasks again when the managers of its swarm can say so", m.Name))
	return true, outcome{}, nil
}

// reactivate has a member take tasks again that a stop drained. One that somebody removed from the swarm meanwhile joins anew.
func (s *Service) reactivate(ctx context.Context, m *Machine) error {
	place := &m.Status.Swarm
	if place.Drained {
		err := s.byManager(ctx, m, func(via string) error {
			return s.config.Swarms.Update(ctx, via, place.Node, swarm.Change{Availability: swarm.Active})
		})
		switch {
		case fault.Is(err, fault.NotFound):
			err = s.enter(ctx, m)
		}
		if err != nil {
			return err
		}
	}
	place.Draining, place.Drained = time.Time{}, false
	return nil
}

// supersede takes the node out of the swarm that a machine was before it left by hand and joined anew.
func (s *Service) supersede(ctx context.Context, m *Machine, node string) error {
	former := m.Status.Swarm.Node
	if former == "" || former == node {
		return nil
	}
	err := s.byManager(ctx, m, func(via string) error { return s.dismiss(ctx, m, former, via) })
	if err != nil && !fault.Retryable(err) {
		s.config.Logger.Warn("the swarm keeps a node that is no more", "machine", m.Name, "node", former, "error", err)
		return nil
	}
	return err
}

// warnOfMove says so when a member has another address than the one that the others look for it at: swarm mode does not follow it.
func (s *Service) warnOfMove(ctx context.Context, m *Machine) {
	state, err := s.config.Swarms.State(ctx, m.Name)
	if err != nil || state.Address == "" || m.Spec.Swarm.Address != "" || state.Address == m.advertised() {
		return
	}
	s.report(m, fmt.Sprintf("The others look for %[1]q at %[2]s, and it is at %[3]s now: `docker swarm leave` on it, then `mctl provision %[1]s`, has it join anew",
		m.Name, state.Address, m.advertised()))
}

// early reports whether the manager whose swarm shall be joined is itself on its way there.
func (s *Service) early(ctx context.Context, m *Machine) bool {
	of, err := s.Get(ctx, m.Spec.Swarm.Of)
	return err == nil && of.SwarmPort() != 0 && of.Status.Swarm.Node == "" && of.Status.Failure == nil && !of.Spec.Deleted
}

// enter has a machine be in its swarm, and notes its place there.
func (s *Service) enter(ctx context.Context, m *Machine) error {
	place := &m.Status.Swarm
	state, err := s.join(ctx, m)
	place.ID = cmp.Or(state.Swarm, place.ID) // with an error too: a join that has begun is ours
	if err == nil {
		err = s.supersede(ctx, m, state.Node)
	}
	if err == nil {
		place.Node, place.Manager = state.Node, state.Manager
	}
	return err
}

// join makes the swarm or joins it. A master that has been in it joins again what is left of it, rather than make another one.
func (s *Service) join(ctx context.Context, m *Machine) (swarm.State, error) {
	wish, place := m.Spec.Swarm, m.Status.Swarm
	others, err := s.remotes(ctx, m)
	if err != nil {
		return swarm.State{}, err
	}
	if wish.Of == "" && len(others) == 0 {
		s.report(m, "Making the swarm...")
		return s.config.Swarms.Start(ctx, m.Name, m.advertised())
	}
	s.report(m, fmt.Sprintf("Joining the swarm of %q...", cmp.Or(wish.Of, m.Name)))
	err = fault.E("machine.enter", fault.Unavailable, m.Name, fmt.Errorf("no manager of the swarm of %q can be asked yet", wish.Of))
	var state swarm.State
	for _, of := range others {
		state, err = s.config.Swarms.Join(ctx, m.Name, swarm.Joining{
			Of: of, Advertise: m.advertised(), Manager: wish.Manager, Former: place.Node, Begun: place.Node == "" && place.ID != "",
		})
		if err == nil || !fault.Is(err, fault.Unavailable) && fault.ReasonOf(err) != swarm.ReasonNoManager {
			break
		}
	}
	return state, err
}

// remotes are the machines that can take a machine into its swarm, and know whether it is in there.
func (s *Service) remotes(ctx context.Context, m *Machine) ([]string, error) {
	known := *m
	known.Status.Swarm.Manager = false // it can't act for its own joining
	if m.Spec.Swarm == nil || m.Spec.Swarm.Of == "" || m.Status.Swarm.ID != "" {
		return s.managers(ctx, &known)
	}
	of, err := s.Get(ctx, m.Spec.Swarm.Of)
	switch {
	case fault.Is(err, fault.NotFound) || err == nil && of.Spec.Deleted:
		return nil, fault.E("machine.enter", fault.Precondition, m.Name, fmt.Errorf("%q, whose swarm shall be joined, is gone", m.Spec.Swarm.Of)).
			WithHint(fmt.Sprintf("`mctl rm %s`, and create it with the --swarm-discovery of another manager", m.Name))
	case err != nil:
		return nil, err
	}
	known.Status.Swarm.ID = of.Status.Swarm.ID
	return s.managers(ctx, &known)
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
