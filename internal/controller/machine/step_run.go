package machine

import (
	"context"

	"mctl/internal/controller/driver"
	"mctl/internal/fault"
	"mctl/internal/host"
)

// running compares what is with what is asked for, whenever something happened.
func (s *Service) running(ctx context.Context, m *Machine) (outcome, error) {
	observed, _ := s.config.Hosts.Observed(m.UID)
	switch {
	case m.Spec.Restart > m.Status.DoneRestart:
		if observed.Connected { // so that another boot can be told from this one
			m.Status.Host.BootID = observed.Facts.BootID
		}
		return outcome{next: Starting}, nil
	case m.agentless():
		return s.runningAgentless(ctx, m)
	case observed.Connected && (m.bootedAnew(observed) || m.Address() == ""):
		if out, err := s.runningAgain(ctx, m, observed); err != nil || out.after > 0 {
			return out, err
		}
	}
	wish, err := s.wish(ctx, m)
	if err != nil {
		return outcome{}, err
	}
	s.config.Hosts.SetDesired(m.UID, wish)
	if !observed.Connected {
		return s.runningUnseen(ctx, m, observed)
	}
	m.Status.Power = driver.Running // whatever the provider said while the agent was away
	if wish.Desired.Digest() != m.Status.AppliedDigest || m.outside() ||
		m.Spec.Swarm != nil && m.Spec.Provision > m.Status.DoneProvision {
		return outcome{next: Installing}, nil
	}
	m.reached()
	if observed.Applied.Digest == m.Status.AppliedDigest && observed.Applied.Failure == nil {
		s.learnHost(m, observed)
	}
	if err := s.reactivate(ctx, m); err != nil {
		s.note(m, err)
		return outcome{after: lookAgain}, nil
	}
	s.note(m, nil)
	return outcome{}, nil
}

// reached notes that the host is as the present spec asks.
func (m *Machine) reached() {
	m.Status.ObservedGeneration, m.Status.DoneProvision = m.Generation, m.Spec.Provision
}

// runningAgain asks where a host is that was off, or booted, behind our back: its address may be another one.
func (s *Service) runningAgain(ctx context.Context, m *Machine, observed host.Observed) (outcome, error) {
	instance, err := s.inspect(ctx, m)
	switch {
	case err != nil && fault.Retryable(err):
		return outcome{}, err
	case err != nil: // its agent says that it is there
		s.config.Logger.Info("inspect failed", "machine", m.Name, "error", err)
	case instance.Power == driver.Stopped:
		return outcome{after: lookAgain}, nil // the provider does not know yet
	default:
		m.learnInstance(instance)
	}
	m.Status.Host.BootID = observed.Facts.BootID
	return outcome{}, nil
}

// runningUnseen asks the provider about a host that does not report. One that was stopped behind our back stays so until
// somebody asks for it; one that is gone parks the machine. To provision one whose agent is lost is to log in anew.
func (s *Service) runningUnseen(ctx context.Context, m *Machine, observed host.Observed) (outcome, error) {
	asked := m.Generation > m.Status.ObservedGeneration
	if asked && powerState(m.Status.Power) != stateRunning {
		return outcome{next: Starting}, nil
	}
	if s.config.Now().Sub(s.started) < settleTime {
		return outcome{after: settleTime}, nil
	}
	instance, err := s.inspect(ctx, m)
	switch {
	case fault.Is(err, fault.NotFound):
		return outcome{}, hostGone("machine.running", m)
	case err != nil: // as often as it is asked; ls says that the agent is lost
		s.config.Logger.Debug("inspect failed", "machine", m.Name, "error", err)
	default:
		m.learnInstance(instance)
		lost := s.config.Now().Sub(observed.Since) >= settleTime
		if lost && asked && m.Spec.Provision > m.Status.DoneProvision && powerState(m.Status.Power) == stateRunning {
			return outcome{next: Booting}, nil
		}
	}
	return outcome{after: lookAgain}, nil
}

// runningAgentless follows the power and addresses of a host that has no agent.
func (s *Service) runningAgentless(ctx context.Context, m *Machine) (outcome, error) {
	m.reached()
	instance, err := s.inspect(ctx, m)
	switch {
	case err == nil:
		m.learnInstance(instance)
	case !fault.Retryable(err):
		return outcome{}, err
	}
	return outcome{}, nil
}

func (s *Service) inspect(ctx context.Context, m *Machine) (driver.Instance, error) {
	d, err := s.driver(m)
	if err != nil {
		return driver.Instance{}, err
	}
	told, err := s.driverMachine(ctx, m)
	if err != nil {
		return driver.Instance{}, err
	}
	return d.Inspect(ctx, told)
}
