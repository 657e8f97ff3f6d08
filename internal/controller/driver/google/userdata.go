package google

import (
	"context"

	"google.golang.org/api/compute/v1"

	"mctl/internal/controller/driver"
)

var _ driver.UserDataBooter = (*Driver)(nil)

// BootUserData puts other user data into the instance's metadata and resets it, or turns it on. What it ran was not yet of use to
// anybody, or is lost to its controller.
func (d *Driver) BootUserData(ctx context.Context, m driver.Machine) (driver.Instance, error) {
	c, err := d.call(ctx, m)
	if err != nil {
		return driver.Instance{}, err
	}
	found, err := c.own(ctx)
	if err != nil {
		return driver.Instance{}, err
	}
	if found.Metadata == nil {
		found.Metadata = &compute.Metadata{}
	}
	// A fingerprint that is out of date is fault.Conflict: the next call reads anew.
	if wanted := c.Rebooted(m, found.Metadata); wanted != nil {
		if err := c.Act(ctx, "", func(ctx context.Context, id string) (*compute.Operation, error) {
			return c.Instances.SetMetadata(c.Project, c.Zone, m.Name, wanted).RequestId(id).Context(ctx).Do()
		}); err != nil {
			return driver.Instance{}, err
		}
	}
	if power(found.Status) == driver.Running {
		if err := c.Act(ctx, "", func(ctx context.Context, id string) (*compute.Operation, error) {
			return c.Instances.Reset(c.Project, c.Zone, m.Name).RequestId(id).Context(ctx).Do()
		}); err != nil {
			return driver.Instance{}, err
		}
	}
	if found, err = c.turnOn(ctx, nil); err != nil {
		return driver.Instance{}, err
	}
	return c.told(found), nil
}
