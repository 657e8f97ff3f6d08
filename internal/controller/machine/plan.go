package machine

import (
	"context"

	"mctl/internal/controller/driver"
)

// Plan says what the driver would make for a machine that was checked: a line for each thing, none where the driver can't
// tell. Nothing is made.
func (s *Service) Plan(ctx context.Context, m *Machine) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, checkLimit)
	defer cancel()
	d, err := s.config.Drivers.Driver(m.Spec.Driver)
	if err != nil {
		return nil, err
	}
	planner, ok := d.(driver.Planner)
	if !ok {
		return nil, nil
	}
	told, err := s.driverMachine(ctx, m)
	if err != nil {
		return nil, err
	}
	return planner.Plan(ctx, told)
}
