package google

import (
	"context"
	"maps"

	"google.golang.org/api/compute/v1"

	"mctl/internal/controller/driver"
	"mctl/internal/controller/driver/google/spec"
	"mctl/internal/fault"
)

// labelTries is how often labels are read anew that somebody else has changed meanwhile.
const labelTries = 5

// Label adds labels to the instance.
func (d *Driver) Label(ctx context.Context, m driver.Machine, labels map[string]string) error {
	if err := spec.CheckLabels(labels); err != nil {
		return err
	}
	c, err := d.call(ctx, m)
	if err != nil {
		return err
	}
	for range labelTries {
		if err = c.label(ctx, labels); !fault.Is(err, fault.Conflict) {
			return err
		}
	}
	return err
}

// label adds what is missing. A fingerprint that is out of date is fault.Conflict.
func (c *call) label(ctx context.Context, labels map[string]string) error {
	found, err := c.own(ctx)
	if err != nil {
		return err
	}
	wanted := maps.Clone(found.Labels) // ours are among them
	maps.Copy(wanted, labels)
	if maps.Equal(wanted, found.Labels) {
		return nil
	}
	return c.Act(ctx, "", func(ctx context.Context, id string) (*compute.Operation, error) {
		return c.Instances.SetLabels(c.Project, c.Zone, found.Name, &compute.InstancesSetLabelsRequest{
			Labels: wanted, LabelFingerprint: found.LabelFingerprint,
		}).RequestId(id).Context(ctx).Do()
	})
}
