package machine

import (
	"context"
	"fmt"

	"mctl/internal/controller/driver"
	"mctl/internal/fault"
)

// driver returns the one of a machine. An imported machine can do without: what its driver alone could do is refused then.
func (s *Service) driver(m *Machine) (driver.Driver, error) {
	d, err := s.config.Drivers.Driver(m.Spec.Driver)
	if err != nil && m.Import != nil && !fault.Retryable(err) {
		return absent{name: m.Spec.Driver, cause: err}, nil
	}
	return d, err
}

// absent stands for a driver that the controller does not have.
type absent struct {
	name  string
	cause error
}

var (
	_ driver.Driver    = absent{}
	_ driver.Powerless = absent{}
)

func (a absent) Info() driver.Info {
	return driver.Info{Name: a.name, Unusable: a.cause.Error()}
}

func (absent) Flags() []driver.Flag          { return nil }
func (absent) Validate(driver.Options) error { return nil }

func (a absent) Preflight(_ context.Context, m driver.Machine) error {
	return a.Powerless("make", m.Name)
}

func (a absent) Create(_ context.Context, m driver.Machine) (driver.Instance, error) {
	return driver.Instance{}, a.Powerless("make", m.Name)
}

// Inspect knows nothing new: power and address stay as they were known last.
func (absent) Inspect(context.Context, driver.Machine) (driver.Instance, error) {
	return driver.Instance{}, nil
}

func (a absent) Delete(_ context.Context, m driver.Machine) error {
	return a.Powerless("remove", m.Name)
}

func (a absent) Start(_ context.Context, m driver.Machine) (driver.Instance, error) {
	return driver.Instance{}, a.Powerless("start", m.Name)
}

func (a absent) Stop(_ context.Context, m driver.Machine, _ bool) (driver.Instance, error) {
	return driver.Instance{}, a.Powerless("stop", m.Name)
}

// Powerless implements driver.Powerless.
func (a absent) Powerless(verb, machine string) error {
	return fault.E("machine.absent", fault.Precondition, machine, fmt.Errorf("can't %s the host of %q: %w", verb, machine, a.cause)).
		WithHint(fault.HintOf(a.cause))
}

// powerless refuses an edit that asks for power which nobody has, before anything is noted.
func (s *Service) powerless(m *Machine, before Spec) error {
	d, err := s.driver(m)
	if err != nil {
		return nil //nolint:nilerr // the step says it
	}
	without, ok := d.(driver.Powerless)
	switch {
	case !ok:
		return nil
	case m.Spec.Power == PowerOff && m.Spec.Force:
		return without.Powerless("kill", m.Name)
	case m.Spec.Power == PowerOff:
		return without.Powerless("stop", m.Name)
	case m.Spec.Restart != before.Restart:
		return without.Powerless("restart", m.Name)
	}
	return nil
}
