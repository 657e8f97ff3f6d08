package google

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/api/compute/v1"

	"mctl/internal/controller/driver"
	"mctl/internal/controller/driver/google/cloud"
	"mctl/internal/controller/driver/google/spec"
	"mctl/internal/fault"
)

// Start turns the instance on. Its external address may be another one then.
func (d *Driver) Start(ctx context.Context, m driver.Machine) (driver.Instance, error) {
	c, err := d.call(ctx, m)
	if err != nil {
		return driver.Instance{}, err
	}
	found, err := c.turnOn(ctx, nil)
	if err != nil {
		return driver.Instance{}, err
	}
	return c.told(found), nil
}

// Stop turns the instance off. Google knows one way, which cuts the power after a minute and a half.
func (d *Driver) Stop(ctx context.Context, m driver.Machine, _ bool) (driver.Instance, error) {
	c, err := d.call(ctx, m)
	if err != nil {
		return driver.Instance{}, err
	}
	asked := false
	found, err := c.until(ctx, nil, func(ctx context.Context, i *compute.Instance) (next, error) {
		switch now := power(i.Status); {
		case now == driver.Stopped:
			return enough, nil
		case asked || now == driver.Stopping:
			return wait, nil
		}
		asked = true
		return again, c.Act(ctx, "", func(ctx context.Context, id string) (*compute.Operation, error) {
			return c.Instances.Stop(c.Project, c.Zone, m.Name).RequestId(id).Context(ctx).Do()
		})
	})
	if err != nil {
		return driver.Instance{}, err
	}
	return c.told(found), nil
}

// turnOn has an instance that is there run, and waits for its address. seen is how it was seen last; nil to look.
func (c *call) turnOn(ctx context.Context, seen *compute.Instance) (*compute.Instance, error) {
	asked := ""
	return c.until(ctx, seen, func(ctx context.Context, i *compute.Instance) (next, error) {
		switch now := power(i.Status); {
		case now == driver.Running && c.complete(i):
			return enough, nil
		case now != driver.Stopped && now != driver.Saved || asked == i.LastStopTimestamp+i.Status:
			return wait, nil
		}
		asked = i.LastStopTimestamp + i.Status
		err := c.Act(ctx, "", func(ctx context.Context, id string) (*compute.Operation, error) {
			if power(i.Status) == driver.Saved {
				return c.Instances.Resume(c.Project, c.Zone, i.Name).RequestId(id).Context(ctx).Do()
			}
			return c.Instances.Start(c.Project, c.Zone, i.Name).RequestId(id).Context(ctx).Do()
		})
		return again, c.elsewhere(ctx, err)
	})
}

// elsewhere adds to a zone's being full where else there might be room. It is best effort: the fault itself counts.
func (c *call) elsewhere(ctx context.Context, err error) error {
	if !errors.Is(err, cloud.ErrStockOut) {
		return err
	}
	zones, _ := c.ZonesWith(ctx, c.MachineType)
	hint := "try again later, or another --" + spec.FlagMachineType
	if others := c.near(zones); len(others) > 0 {
		hint = fmt.Sprintf("zones that could be tried with --%s: %s", spec.FlagZone, strings.Join(others, ", "))
	}
	return fault.E("google", fault.Quota, c.Zone, fmt.Errorf("zone %s has no room for a machine of type %s at present: %w", c.Zone, c.MachineType, err)).WithHint(hint)
}

// near leaves the machine's own zone out, puts those of its region first, and makes the list short.
func (c *call) near(zones []string) []string {
	zones = slices.DeleteFunc(slices.Clone(zones), func(z string) bool { return z == c.Zone })
	same := func(z string) int {
		switch {
		case cloud.RegionOf(z) == c.Region():
			return 0
		case strings.Split(z, "-")[0] == strings.Split(c.Zone, "-")[0]:
			return 1
		}
		return 2
	}
	slices.SortStableFunc(zones, func(a, b string) int { return same(a) - same(b) })
	return zones[:min(len(zones), maxZones)]
}

// maxZones is how many zones a hint names.
const maxZones = 6
