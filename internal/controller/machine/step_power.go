package machine

import (
	"context"
	"fmt"
	"time"

	"mctl/internal/controller/driver"
	"mctl/internal/fault"
	"mctl/internal/host"
)

// stopping has the driver power the host off. Where power is asked for again, since that failed, the host may never have been
// off.
func (s *Service) stopping(ctx context.Context, m *Machine) (outcome, error) {
	switch {
	case m.Spec.Power != PowerOn:
	case s.connected(m):
		return outcome{next: Running}, nil
	default:
		return outcome{next: Starting}, nil
	}
	if !m.Spec.Force {
		if done, out := s.drain(ctx, m); !done {
			return out, nil
		}
	}
	d, err := s.driver(m)
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
	d, err := s.driver(m)
	if err != nil {
		return outcome{}, err
	}
	observed, _ := s.config.Hosts.Observed(m.UID)
	if wait := s.restartKnown(m, observed); wait > 0 {
		return outcome{after: wait}, nil
	}
	instance, err := s.powerOn(ctx, d, m)
	if err != nil {
		return s.notRebooted(m, err)
	}
	m.learnInstance(instance)
	m.Status.Power = driver.Running
	if m.agentless() || m.Status.AppliedDigest == "" {
		// It has no login, or was stopped before it was ever ready.
		return outcome{next: Booting}, nil
	}
	if observed.Connected && observed.Since.After(m.Status.PhaseTime) {
		return outcome{next: Installing}, nil
	}
	s.report(m, "Waiting for the agent to connect...")
	left := s.remaining(m)
	if left <= 0 {
		// The host has power, so whoever tries again sees to the agent.
		return outcome{next: Booting}, fault.E("machine.starting", fault.Precondition, m.Name,
			fmt.Errorf("the host of %q was started, but its agent did not connect", m.Name)).
			WithHint(fmt.Sprintf("see `mctl ssh %s journalctl -u mctl-agent`, then `mctl retry %s`", m.Name, m.Name))
	}
	return outcome{after: left}, nil
}

// restartKnown finds out whether a restart that is asked for was made by a process that was killed before it could note it:
// then the host runs another boot than before. It returns how long to wait until the agent had time to tell.
func (s *Service) restartKnown(m *Machine, observed host.Observed) time.Duration {
	switch {
	case m.Spec.Restart <= m.Status.DoneRestart || m.Status.Power == driver.Stopped || m.Status.Host.BootID == "":
	case m.bootedAnew(observed):
		m.Status.DoneRestart = m.Spec.Restart
	case !observed.Connected && s.started.After(m.Status.PhaseTime):
		return settleTime - s.config.Now().Sub(s.started)
	}
	return 0
}

// bootedAnew reports whether the host runs another boot than the last that was seen.
func (m *Machine) bootedAnew(observed host.Observed) bool {
	before, now := m.Status.Host.BootID, observed.Facts.BootID
	return observed.Connected && before != "" && now != "" && before != now
}

// powerOn starts a host, or restarts a running one once for each restart asked for.
func (s *Service) powerOn(ctx context.Context, d driver.Driver, m *Machine) (driver.Instance, error) {
	told, err := s.driverMachine(ctx, m)
	if err != nil {
		return driver.Instance{}, err
	}
	if adopter, ok := d.(driver.Adopter); ok {
		return s.reboot(ctx, d, adopter, m)
	}
	if m.Spec.Restart <= m.Status.DoneRestart || m.Status.Power == driver.Stopped {
		if m.Status.Power != driver.Running { // else it only makes sure
			s.report(m, "Starting the host...")
		}
		m.Status.DoneRestart = m.Spec.Restart
		return d.Start(ctx, told)
	}
	s.report(m, "Restarting the host...")
	began := s.config.Now()
	if restarter, ok := d.(driver.Restarter); ok {
		instance, err := restarter.Restart(ctx, told)
		return instance, m.restarted(began, err)
	}
	instance, err := d.Stop(ctx, told, false)
	if err != nil {
		return instance, err
	}
	m.learnInstance(instance)
	told.State = m.Status.ProviderState
	instance, err = d.Start(ctx, told)
	return instance, m.restarted(began, err)
}

// reboot has a host that was there before boot anew, once for each restart asked for. There is no other power over it.
func (s *Service) reboot(ctx context.Context, d driver.Driver, adopter driver.Adopter, m *Machine) (driver.Instance, error) {
	told, err := s.driverMachine(ctx, m)
	if err != nil {
		return driver.Instance{}, err
	}
	instance, err := d.Inspect(ctx, told)
	if err != nil || m.Spec.Restart <= m.Status.DoneRestart {
		return instance, err
	}
	target, err := s.adoptedTarget(ctx, adopter, m)
	if err != nil {
		return instance, err
	}
	s.report(m, "Restarting the host...")
	began := s.config.Now()
	return instance, m.restarted(began, s.config.Bootstrap.Reboot(ctx, target, func(line string) { s.report(m, line) }))
}

// notRebooted parks a machine whose host goes on as it was, since we can't log in, where whoever tries again finds it well.
func (s *Service) notRebooted(m *Machine, err error) (outcome, error) {
	if s.adopted(m) && !s.goesOn(m, err) {
		m.Status.DoneRestart = m.Spec.Restart
		return outcome{next: Installing}, err
	}
	return outcome{}, err
}

// restarted notes a restart. Only a session that began since can be of the new boot.
func (m *Machine) restarted(began time.Time, err error) error {
	if err == nil {
		m.Status.DoneRestart, m.Status.PhaseTime = m.Spec.Restart, began
	}
	return err
}
