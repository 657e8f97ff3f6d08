package machine

import (
	"context"
	"fmt"

	"mctl/internal/controller/driver"
	"mctl/internal/fault"
)

// running compares what is with what is asked for, whenever something happened.
func (s *Service) running(ctx context.Context, m *Machine) (outcome, error) {
	switch {
	case m.Spec.Restart > m.Status.DoneRestart:
		return outcome{next: Starting}, nil
	case m.Status.SSH.Address == "":
		return s.runningAgentless(ctx, m)
	}
	wish, err := s.wish(ctx, m)
	if err != nil {
		return outcome{}, err
	}
	s.config.Hosts.SetDesired(m.UID, wish)
	observed, _ := s.config.Hosts.Observed(m.UID)
	if !observed.Connected {
		return s.runningUnseen(ctx, m)
	}
	m.Status.Power = driver.Running
	if wish.Desired.Digest() != m.Status.AppliedDigest {
		return outcome{next: Installing}, nil
	}
	m.Status.ObservedGeneration = m.Generation
	if observed.Applied.Digest == m.Status.AppliedDigest && observed.Applied.Failure == nil {
		s.learnHost(m, observed)
	}
	return outcome{}, nil
}

// runningUnseen asks the provider about a host that does not report. One that was stopped behind our back stays so until
// somebody asks for it; one that is gone parks the machine.
func (s *Service) runningUnseen(ctx context.Context, m *Machine) (outcome, error) {
	if m.Generation > m.Status.ObservedGeneration && powerState(m.Status.Power) != stateRunning {
		return outcome{next: Starting}, nil
	}
	if s.config.Now().Sub(s.started) < settleTime {
		return outcome{after: settleTime}, nil
	}
	err := s.inspect(ctx, m)
	switch {
	case fault.Is(err, fault.NotFound):
		return outcome{}, fault.E("machine.running", fault.NotFound, m.Name, fmt.Errorf("the host of %q is gone at its provider", m.Name)).
			WithHint(fmt.Sprintf("`mctl rm %s` removes what is left", m.Name))
	case err != nil:
		s.config.Logger.Info("inspect failed", "machine", m.Name, "error", err)
	}
	return outcome{after: lookAgain}, nil
}

// runningAgentless follows the power and addresses of a host that has no agent.
func (s *Service) runningAgentless(ctx context.Context, m *Machine) (outcome, error) {
	m.Status.ObservedGeneration = m.Generation
	if err := s.inspect(ctx, m); err != nil && !fault.Retryable(err) {
		return outcome{}, err
	}
	return outcome{}, nil
}

func (s *Service) inspect(ctx context.Context, m *Machine) error {
	d, err := s.config.Drivers.Driver(m.Spec.Driver)
	if err != nil {
		return err
	}
	told, err := s.driverMachine(ctx, m)
	if err != nil {
		return err
	}
	instance, err := d.Inspect(ctx, told)
	if err != nil {
		return err
	}
	m.learnInstance(instance)
	return nil
}
