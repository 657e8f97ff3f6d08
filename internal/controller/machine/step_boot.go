package machine

import (
	"context"
	"fmt"

	"mctl/internal/controller/bootstrap"
	"mctl/internal/controller/driver"
	"mctl/internal/fault"
	"mctl/internal/host"
	"mctl/internal/pki"
)

// booting logs in to the host and leaves an agent there. After a crash the agent may be there already: then its session
// answers the question.
func (s *Service) booting(ctx context.Context, m *Machine) (outcome, error) {
	if booter, joins := s.booter(m); joins {
		return s.bootingByUserData(ctx, booter, m)
	}
	if m.agentless() {
		// Power and address are all that there is.
		m.Status.ObservedGeneration = m.Generation
		return outcome{next: Running}, nil
	}
	if s.connected(m) {
		return outcome{next: Joining}, nil
	}
	target, err := s.target(ctx, m)
	if err != nil {
		return outcome{}, err
	}
	if asksRepository(m) {
		go s.repository() // while the host boots; installing needs the answer
	}
	ticket, err := s.config.Authorities.IssueTicket(ctx, pki.MachineSubject(m.UID), 0)
	if err != nil {
		return outcome{}, err
	}
	payload := bootstrap.Payload{
		MachineUID: m.UID, Ticket: ticket.Text(), Endpoints: s.config.Advertise, ControlPort: s.config.ControlPort,
		Unreached: m.Spec.Link == host.LinkSSH, Probe: m.mayComeBothWays(),
	}
	if !target.Adopted {
		payload.Hostname = m.Name
	}
	result, err := s.config.Bootstrap.Install(ctx, target, payload, s.reporter(m))
	if len(result.HostKeys) > 0 {
		m.Status.SSH.HostKeys = result.HostKeys
	}
	if err != nil {
		return outcome{}, err
	}
	m.Status.Endpoints, m.Status.Link = result.Endpoints, host.WayDirect
	if payload.Unreached || payload.Probe && !result.Reached {
		m.Status.Link = host.WaySSH
	}
	m.Status.Host.OS, m.Status.Host.Arch = result.OS, result.Arch
	return outcome{next: Joining}, nil
}

// joining waits for the agent's session.
func (s *Service) joining(_ context.Context, m *Machine) (outcome, error) {
	if s.connected(m) {
		m.joined()
		return outcome{next: Installing}, nil
	}
	s.report(m, "Waiting for the agent to connect...")
	left := s.remaining(m)
	if left <= 0 {
		// Whoever tries again logs in again: the ticket may have expired, or the controller be somewhere else.
		return outcome{next: Booting}, s.notJoined(m)
	}
	return outcome{after: left}, nil
}

// notJoined is the fault of an agent that did not connect.
func (s *Service) notJoined(m *Machine) error {
	const op = "machine.joining"
	if m.BootTicket != nil {
		return s.notBooted(m)
	}
	if err := s.config.Tunnels.State(m.UID).Err; err != nil && m.Status.Link == host.WaySSH {
		return fault.E(op, fault.Precondition, m.Name, fmt.Errorf("the agent on %s can't reach the controller, and the controller can't reach it over SSH: %w", m.Address(), err)).
			WithHint(fault.HintOf(err))
	}
	if len(m.Status.Endpoints) == 0 {
		return fault.E(op, fault.Precondition, m.Name, fmt.Errorf("the agent on %s did not connect over SSH", m.Address())).
			WithHint(fmt.Sprintf("see `mctl ssh %s journalctl -u mctl-agent`, then `mctl retry %s`", m.Name, m.Name))
	}
	return fault.E(op, fault.Precondition, m.Name,
		fmt.Errorf("the agent on %s did not connect to the controller at %v", m.Address(), m.Status.Endpoints)).
		WithHint(fmt.Sprintf("the host must reach that address; see `mctl ssh %s journalctl -u mctl-agent`, or give the controller --advertise, then `mctl retry %s`", m.Name, m.Name))
}

// mayComeBothWays reports whether the agent's session may come directly and over SSH.
func (m *Machine) mayComeBothWays() bool { return m.Spec.Link == "" || m.Spec.Link == host.LinkAuto }

// Target is how to log in to the host of the machine with a name; fault.NotFound.
func (s *Service) Target(ctx context.Context, name string) (bootstrap.Target, error) {
	m, err := s.load(ctx, name, true)
	if err != nil {
		return bootstrap.Target{}, err
	}
	return s.target(ctx, m)
}

// target is how to log in to a machine's host.
func (s *Service) target(ctx context.Context, m *Machine) (bootstrap.Target, error) {
	d, err := s.driver(m)
	if err != nil {
		return bootstrap.Target{}, err
	}
	target := bootstrap.Target{
		Machine: m.Name, SSH: m.Status.SSH, Key: m.SSHKey, HostKeys: m.Status.SSH.HostKeys, EnginePort: m.EnginePort(),
		MachineUID: m.UID, OwnEngine: ownEngine(m.Spec.Engine),
	}
	if adopter, ok := d.(driver.Adopter); ok {
		if target, err = s.adoptedTarget(ctx, adopter, m); err != nil {
			return bootstrap.Target{}, err
		}
	}
	if holder, ok := d.(driver.Keyholder); ok && (m.Import == nil || m.SSHKey == nil) {
		told, err := s.driverMachine(ctx, m)
		if err != nil {
			return bootstrap.Target{}, err
		}
		if target.Key, err = holder.Key(told); err != nil {
			return bootstrap.Target{}, err
		}
		target.Authorize = m.Spec.AuthorizedKeys
	}
	if m.Import != nil {
		target.Adopted, target.OwnEngine = true, true // its Docker is there, and others may count on all of it
	}
	if m.Status.Phase != Importing { // which looks again and again
		target.Wait = s.remaining(m)
	}
	return target, nil
}

// connected reports whether the host's agent has a session that began in the present phase or before a boot that this
// phase is not about.
func (s *Service) connected(m *Machine) bool {
	observed, ok := s.config.Hosts.Observed(m.UID)
	return ok && observed.Connected
}
