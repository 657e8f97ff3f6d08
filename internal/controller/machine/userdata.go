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

// booter returns the driver of a machine whose host joins by its user data; false for any other.
func (s *Service) booter(m *Machine) (driver.UserDataBooter, bool) {
	d, err := s.driver(m)
	if err != nil {
		return nil, false
	}
	booter, able := d.(driver.UserDataBooter)
	asked, err := driver.ParseBootstrap(m.Spec.Driver, m.Spec.Options)
	return booter, able && asked && err == nil
}

// checkUserData refuses what a host that joins by its user data can't have.
func (s *Service) checkUserData(m *Machine) error {
	if _, joins := s.booter(m); !joins {
		return nil
	}
	const op = "machine.checkUserData"
	switch {
	case len(s.config.Advertise) == 0:
		return fault.New(op, fault.Precondition, m.Name, "a host that joins by its user data must be told where the controller is, and nobody has said so").
			WithHint("start the controller with --advertise HOST[:PORT] (MCTL_ADVERTISE), an address that the host reaches")
	case m.Spec.Link == host.LinkSSH:
		return fault.New(op, fault.Precondition, m.Name, "a host that joins by its user data dials the controller, so its link can't be ssh").
			WithHint("leave --link out")
	}
	return nil
}

// invite makes the join ticket that a host finds in its user data. It is stored before anybody sees it, so that a step that is
// done once more hands out the same.
func (s *Service) invite(ctx context.Context, m *Machine) error {
	ticket, err := s.config.Authorities.IssueTicket(ctx, pki.MachineSubject(m.UID), orDefault(m.Spec.Waits.Boot, defaultWaitBoot))
	if err == nil {
		m.BootTicket, m.Status.BootWritten = Secret(ticket.Text()), false
	}
	return err
}

// withUserData completes what a driver is told.
func (s *Service) withUserData(m *Machine, told driver.Machine) (driver.Machine, error) {
	data, err := s.config.Bootstrap.UserData(bootstrap.Payload{
		MachineUID: m.UID, Ticket: string(m.BootTicket), Endpoints: s.config.Advertise, Hostname: m.Name,
	}, m.EnginePort(), s.config.Authorities.ControlCA())
	told.UserData = &data
	return told, err
}

// bootingByUserData waits for nobody's login: the host was handed what it needs as it was made. Who tries again hands it a
// fresh ticket.
func (s *Service) bootingByUserData(ctx context.Context, booter driver.UserDataBooter, m *Machine) (outcome, error) {
	switch {
	case s.connected(m):
		return outcome{next: Joining}, nil
	case m.BootTicket == nil:
		return outcome{again: true}, s.invite(ctx, m)
	case !m.Status.BootWritten:
		told, err := s.driverMachine(ctx, m)
		if err == nil {
			told, err = s.withUserData(m, told)
		}
		if err != nil {
			return outcome{}, err
		}
		s.report(m, "Restarting the host with a fresh join ticket...")
		instance, err := booter.BootUserData(ctx, told)
		m.learnInstance(instance)
		if err != nil {
			return outcome{}, err
		}
		m.Status.BootWritten = true
	}
	if asksRepository(m) {
		go s.repository() // installing needs the answer
	}
	m.Status.Endpoints, m.Status.Link = s.config.Advertise, host.WayDirect
	return outcome{next: Joining}, nil
}

// joined forgets the ticket that a host has used up.
func (m *Machine) joined() { m.BootTicket, m.Status.BootWritten = nil, false }

// notBooted is the fault of a host that did not join by its user data. Its ticket is of no use any more.
func (s *Service) notBooted(m *Machine) error {
	m.joined()
	return fault.E("machine.joining", fault.Precondition, m.Name,
		fmt.Errorf("the host of %q did not join: it boots no further, or it does not reach the controller at %v", m.Name, s.config.Advertise)).
		WithHint(fmt.Sprintf("see the host's console at its provider; `mctl retry %s` restarts it with a fresh join ticket", m.Name))
}
