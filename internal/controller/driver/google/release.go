package google

import (
	"context"
	"maps"

	"google.golang.org/api/compute/v1"

	"mctl/internal/controller/driver"
	"mctl/internal/controller/driver/google/cloud"
	"mctl/internal/controller/driver/google/spec"
	"mctl/internal/fault"
)

// Release takes our labels off the disk and off the instance, so that neither is taken for something that was left behind. The firewall
// rule stays: without it nobody reaches the engine. It may be repeated.
func (d *Driver) Release(ctx context.Context, m driver.Machine) error {
	c, err := d.call(ctx, m)
	if err != nil {
		return err
	}
	for range labelTries {
		if err = c.release(ctx); !fault.Is(err, fault.Conflict) {
			return err
		}
	}
	return err
}

// release does so once. A fingerprint that is out of date is fault.Conflict.
func (c *call) release(ctx context.Context) error {
	found, err := c.instance(ctx)
	if err != nil {
		return gone(err)
	}
	disk, err := cloud.Read(ctx, c.Client, func(ctx context.Context) (*compute.Disk, error) {
		return c.Disks.Get(c.Project, c.Zone, spec.DiskName(c.m)).Context(ctx).Do()
	})
	if gone(err) != nil {
		return err
	}
	if err == nil && spec.Owns(c.m, disk.Labels) {
		if err := c.Act(ctx, "", func(ctx context.Context, id string) (*compute.Operation, error) {
			return c.Disks.SetLabels(c.Project, c.Zone, disk.Name, &compute.ZoneSetLabelsRequest{
				Labels: theirs(disk.Labels), LabelFingerprint: disk.LabelFingerprint, ForceSendFields: []string{"Labels"},
			}).RequestId(id).Context(ctx).Do()
		}); err != nil {
			return err
		}
	}
	if !spec.Owns(c.m, found.Labels) {
		return nil
	}
	return c.Act(ctx, "", func(ctx context.Context, id string) (*compute.Operation, error) {
		return c.Instances.SetLabels(c.Project, c.Zone, found.Name, &compute.InstancesSetLabelsRequest{
			Labels: theirs(found.Labels), LabelFingerprint: found.LabelFingerprint, ForceSendFields: []string{"Labels"},
		}).RequestId(id).Context(ctx).Do()
	})
}

// theirs are labels without ours.
func theirs(labels map[string]string) map[string]string {
	left := maps.Clone(labels)
	delete(left, spec.LabelController)
	delete(left, spec.LabelMachine)
	return left
}
