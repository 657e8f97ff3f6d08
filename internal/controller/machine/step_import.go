package machine

import (
	"context"
	"fmt"
	"time"

	"mctl/internal/controller/bootstrap"
	"mctl/internal/controller/driver"
	"mctl/internal/fault"
)

// importing asks how the host is that docker-machine made, and leaves an agent there once it has power and answers, however long that
// takes. Nothing is made, nothing is powered on. A host that can have no agent is left as it is.
func (s *Service) importing(ctx context.Context, m *Machine) (outcome, error) {
	d, err := s.driver(m)
	if err != nil {
		return outcome{}, err
	}
	instance, err := s.takeUp(ctx, d, m)
	if fault.Is(err, fault.NotFound) {
		return outcome{}, hostGone("machine.importing", m)
	}
	if err != nil {
		return outcome{}, err
	}
	m.learnInstance(instance)
	switch powerState(m.Status.Power) {
	case stateRunning:
	default:
		if seen := m.Status.ObservedGeneration; seen > 0 && seen < m.Generation {
			return outcome{next: Starting}, nil // somebody asked since it was seen to be off
		}
		m.Status.ObservedGeneration = m.Generation
		s.report(m, "Waiting for the host to have power...")
		return outcome{after: lookAgain}, nil
	}
	if err := s.reachable(ctx, m); err != nil && fault.ReasonOf(err) != bootstrap.ReasonNoAgent {
		return outcome{}, err
	}
	out, err := s.booting(ctx, m) // which pins the host's key, also where it can have no agent
	if fault.ReasonOf(err) == bootstrap.ReasonNoAgent {
		m.Status.Agentless = err.Error()
		m.reached()
		return outcome{next: Running}, nil
	}
	return out, err
}

// untilImported is how long a host is left alone yet since others are still imported, whose notes are taken before.
func (s *Service) untilImported(m *Machine) time.Duration {
	now := s.config.Now()
	if now.Sub(m.Status.PhaseTime) > maxImportPause {
		return 0
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return importPause - now.Sub(s.lastImport)
}

// reachable looks whether the host lets us in and can have an agent, before a ticket is made for it: of a thousand that are
// imported many may be down.
func (s *Service) reachable(ctx context.Context, m *Machine) error {
	if m.agentless() || s.connected(m) {
		return nil
	}
	target, err := s.target(ctx, m)
	if err != nil {
		return err
	}
	return s.config.Bootstrap.Check(ctx, target)
}

// takeUp has the driver take the host over at its provider where it has to, and asks how it is.
func (s *Service) takeUp(ctx context.Context, d driver.Driver, m *Machine) (driver.Instance, error) {
	told, err := s.driverMachine(ctx, m)
	if err != nil {
		return driver.Instance{}, err
	}
	if importer, ok := d.(driver.Importer); ok {
		return importer.Import(ctx, told)
	}
	return d.Inspect(ctx, told)
}

// notTakenOver is what the ERRORS column says of an imported machine whose host has no agent yet.
func (s *Service) notTakenOver(m *Machine) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if why := s.troubles[m.UID]; why != "" {
		return fmt.Sprintf("not taken over yet: %s", why)
	}
	return "not taken over yet"
}
