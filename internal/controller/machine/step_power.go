package machine

import (
	"context"
	"fmt"

	"mctl/internal/controller/driver"
	"mctl/internal/fault"
)

// stopping has the driver power the host off.
func (s *Service) stopping(ctx context.Context, m *Machine) (outcome, error) {
	d, err := s.config.Drivers.Driver(m.Spec.Driver)
	if err != nil {
		return outcome{}, err
	}
	told, err := s.driverMachine(ctx, m)
	if err != nil {
		return outcome{}, err
	}
	s.report(m, "Stopping the host...")
	instance, err := d.Stop(ctx, told, m.Spec.Force)
	if err != nil {
		return outcome{}, err
	}
	m.learnInstance(instance)
	m.Status.Power = driver.Stopped
	return outcome{next: Stopped}, nil
}

// stopped waits until power is asked for.
func (s *Service) stopped(_ context.Context, m *Machine) (outcome, error) {
	m.Status.Power = driver.Stopped
	if m.Spec.Power == PowerOn {
		return outcome{next: Starting}, nil
	}
	m.Status.ObservedGeneration = m.Generation
	return outcome{}, nil
}

// starting has the driver power the host on, or reboot it, and waits for its agent. The address may be another one then;
// installing has the certificate follow it.
func (s *Service) starting(ctx context.Context, m *Machine) (outcome, error) {
	d, err := s.config.Drivers.Driver(m.Spec.Driver)
	if err != nil {
		return outcome{}, err
	}
	instance, err := s.powerOn(ctx, d, m)
	if err != nil {
		return outcome{}, err
	}
	m.learnInstance(instance)
	m.Status.Power = driver.Running
	switch {
	case m.Status.SSH.Address == "":
		m.Status.ObservedGeneration = m.Generation
		return outcome{next: Booting}, nil
	case m.Status.AppliedDigest == "":
		// It was stopped before it was ever ready.
		return outcome{next: Booting}, nil
	}
	observed, _ := s.config.Hosts.Observed(m.UID)
	if observed.Connected && observed.Since.After(m.Status.PhaseTime) {
		return outcome{next: Installing}, nil
	}
	s.report(m, "Waiting for the agent to connect...")
	left := s.remaining(m)
	if left <= 0 {
		return outcome{}, fault.E("machine.starting", fault.Precondition, m.Name,
			fmt.Errorf("the host of %q was started, but its agent did not connect", m.Name)).
			WithHint(fmt.Sprintf("see `mctl ssh %s journalctl -u mctl-agent`, then `mctl retry %s`", m.Name, m.Name))
	}
	return outcome{after: left}, nil
}

// powerOn starts a host, or restarts a running one once for each restart asked for.
func (s *Service) powerOn(ctx context.Context, d driver.Driver, m *Machine) (driver.Instance, error) {
	told, err := s.driverMachine(ctx, m)
	if err != nil {
		return driver.Instance{}, err
	}
	if m.Spec.Restart <= m.Status.DoneRestart || m.Status.Power == driver.Stopped {
		if m.Status.Power != driver.Running { // else it only makes sure
			s.report(m, "Starting the host...")
		}
		m.Status.DoneRestart = m.Spec.Restart
		return d.Start(ctx, told)
	}
	s.report(m, "Restarting the host...")
	if restarter, ok := d.(driver.Restarter); ok {
		instance, err := restarter.Restart(ctx, told)
		if err == nil {
			m.Status.DoneRestart = m.Spec.Restart
		}
		return instance, err
	}
	instance, err := d.Stop(ctx, told, false)
	if err != nil {
		return instance, err
	}
	m.learnInstance(instance)
	told.State = m.Status.ProviderState
	instance, err = d.Start(ctx, told)
	if err == nil {
		m.Status.DoneRestart = m.Spec.Restart
	}
	return instance, err
}
