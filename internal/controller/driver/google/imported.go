package google

import (
	"context"

	"mctl/internal/controller/driver"
)

// Import takes over an instance that docker-machine made, as it is: its labels, tags and keys are added to, and it is neither made nor
// started. It may be repeated.
func (d *Driver) Import(ctx context.Context, m driver.Machine) (driver.Instance, error) {
	c, err := d.call(ctx, m)
	if err != nil {
		return driver.Instance{}, err
	}
	found, err := c.instance(ctx)
	if err != nil {
		return driver.Instance{}, err
	}
	if err := c.takeOver(ctx); err != nil {
		return driver.Instance{}, err
	}
	return c.told(found), nil
}
