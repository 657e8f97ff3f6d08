package machine

import (
	"context"
	"fmt"

	"mctl/internal/controller/driver"
	"mctl/internal/fault"
	"mctl/internal/host"
)

// Create checks a wish and stores it. The name must be free (fault.Exists), the options right (fault.Invalid with
// fault.ReasonUsage), and the driver's pre-check must pass (its fault with fault.ReasonPrecheck); otherwise nothing is
// stored. With validateOnly nothing is stored in any case. The same request id again returns the machine that it made.
func (s *Service) Create(ctx context.Context, requestID, name string, spec Spec, validateOnly bool) (*Machine, error) {
	const op = "machine.Create"
	if err := checkName(name); err != nil {
		return nil, err
	}
	if m, err := s.made(ctx, requestID, name); m != nil || err != nil {
		return m, err
	}
	d, err := s.config.Drivers.Driver(spec.Driver)
	if err != nil {
		return nil, err
	}
	if spec.Options, err = driver.Resolve(spec.Driver, d.Flags(), spec.Options); err != nil {
		return nil, err
	}
	if err := checkCredential(d, spec); err != nil {
		return nil, err
	}
	if err := checkLink(spec.Link); err != nil {
		return nil, err
	}
	if err := d.Validate(spec.Options); err != nil {
		return nil, reasoned(op, name, fault.ReasonUsage, err)
	}
	now := s.config.Now()
	m := &Machine{
		UID: newUID(), Name: name, Generation: 1, Created: now, Spec: spec,
		Status: Status{Phase: Pending, PhaseTime: now},
	}
	m.Spec.Power = PowerOn
	m.requests = m.requests.With(requestID, "create", now)
	if err := s.checkSwarm(ctx, m); err != nil {
		return nil, err
	}
	if err := s.check(ctx, d, m); err != nil {
		return nil, reasoned(op, name, fault.ReasonPrecheck, err)
	}
	if validateOnly {
		return m, nil
	}
	value, err := s.codec.encode(m)
	if err != nil {
		return nil, err
	}
	m.Revision, err = s.config.Store.Create(ctx, prefix+name, value)
	if fault.Is(err, fault.Exists) { // perhaps by the same request, sent once more while this one was checked
		if first, err := s.made(ctx, requestID, name); first != nil || err != nil {
			return first, err
		}
		return nil, exists(op, name) // made and removed meanwhile
	}
	if err != nil {
		return nil, err
	}
	s.learn(m)
	return m, s.stillThere(ctx, m)
}

// stillThere looks once more for the credential that a stored machine names: whoever removes one takes it away before looking
// for machines, so that one of both sees the other. A machine that lost is removed.
func (s *Service) stillThere(ctx context.Context, m *Machine) error {
	_, err := s.withCredential(ctx, m.Spec.Driver, m.Spec.Options, m.Spec.Credential)
	if err == nil {
		return nil
	}
	if _, err := s.Delete(context.WithoutCancel(ctx), "", m.Name, 0, Deletion{Force: true}); err != nil {
		s.config.Logger.Error("cannot remove a machine without its credential", "machine", m.Name, "error", err)
	}
	return reasoned("machine.Create", m.Name, fault.ReasonPrecheck, err)
}

// made returns the machine that a create request made before; nil where the name is free. One that another request made is
// fault.Exists, one that was removed since is fault.NotFound.
func (s *Service) made(ctx context.Context, requestID, name string) (*Machine, error) {
	const op = "machine.Create"
	m, err := s.Get(ctx, name)
	if fault.Is(err, fault.NotFound) {
		uid, err := s.doneBefore(ctx, name, requestID, "create")
		if uid != "" {
			err = fault.E(op, fault.NotFound, name, fmt.Errorf("%q was created, and removed since", name))
		}
		return nil, err
	}
	if err != nil {
		return nil, err
	}
	known, err := m.requests.Knows(requestID, "create")
	if !known && err == nil {
		err = exists(op, name)
	}
	if err != nil {
		return nil, err
	}
	return m, nil
}

// check runs the driver's pre-check, and looks at a host that shall be adopted.
func (s *Service) check(ctx context.Context, d driver.Driver, m *Machine) error {
	ctx, cancel := context.WithTimeout(ctx, checkLimit)
	defer cancel()
	told, err := s.driverMachine(ctx, m)
	if err != nil {
		return err
	}
	if err := s.checkUserData(m); err != nil {
		return err
	}
	if err := d.Preflight(ctx, told); err != nil {
		return err
	}
	adopter, ok := d.(driver.Adopter)
	if !ok {
		return nil
	}
	target, err := s.adoptedTarget(ctx, adopter, m)
	if err != nil {
		return err
	}
	if m.Spec.Link == host.LinkSSH && target.Key == nil {
		return fault.New("machine.check", fault.Precondition, m.Name, "the link ssh needs a key that the controller keeps, and the ssh-agent is only lent to it").
			WithHint("give the key's file, or leave --link out")
	}
	target.Wait, target.Swarm = 0, s.swarmToBe(ctx, m)
	return s.config.Bootstrap.Check(ctx, target)
}
