package google

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"google.golang.org/api/compute/v1"

	"mctl/internal/controller/driver/google/spec"
	"mctl/internal/fault"
)

// takeOver makes an instance that is there the machine's: labels, tags and keys are added, what it has stays. It may be repeated.
func (c *call) takeOver(ctx context.Context) error {
	if err := c.ensureRules(ctx); err != nil {
		return err
	}
	found, err := c.instance(ctx)
	if fault.Is(err, fault.NotFound) {
		return c.noExisting()
	}
	if err != nil {
		return err
	}
	if err := c.takeable(found); err != nil {
		return err
	}
	c.warn(ctx)
	// A fingerprint that is out of date is fault.Conflict: the next call reads anew.
	if !spec.Owns(c.m, found.Labels) {
		labels := maps.Clone(found.Labels)
		if labels == nil {
			labels = map[string]string{}
		}
		maps.Copy(labels, c.Labelled(c.m))
		if err := c.Act(ctx, "", func(ctx context.Context, id string) (*compute.Operation, error) {
			return c.Instances.SetLabels(c.Project, c.Zone, found.Name, &compute.InstancesSetLabelsRequest{
				Labels: labels, LabelFingerprint: found.LabelFingerprint,
			}).RequestId(id).Context(ctx).Do()
		}); err != nil {
			return err
		}
	}
	if err := c.addTags(ctx, found.Tags); err != nil {
		return err
	}
	return c.addKeys(ctx, found.Metadata)
}

func (c *call) noExisting() error {
	return fault.E("google", fault.Precondition, c.m.Name, fmt.Errorf("there is no instance %q in zone %s to take over", c.m.Name, c.Zone)).
		WithHint("check --" + spec.FlagZone + ", or leave --" + spec.FlagExisting + " out")
}

// takeable refuses an instance that is some machine's already, of this controller or of another.
func (c *call) takeable(i *compute.Instance) error {
	if i.Labels[spec.LabelController] == "" || spec.Owns(c.m, i.Labels) {
		return nil
	}
	return fault.E("google", fault.Denied, c.m.Name, fmt.Errorf("the instance %q is a machine of mctl already", c.m.Name)).
		WithHint("remove that machine first")
}

func (c *call) addTags(ctx context.Context, tags *compute.Tags) error {
	wanted := &compute.Tags{}
	if tags != nil {
		wanted.Items, wanted.Fingerprint = slices.Clone(tags.Items), tags.Fingerprint
	}
	had := len(wanted.Items)
	for _, tag := range c.AllTags(c.m.ControllerID) {
		if !slices.Contains(wanted.Items, tag) {
			wanted.Items = append(wanted.Items, tag)
		}
	}
	if len(wanted.Items) == had {
		return nil
	}
	return c.Act(ctx, "", func(ctx context.Context, id string) (*compute.Operation, error) {
		return c.Instances.SetTags(c.Project, c.Zone, c.m.Name, wanted).RequestId(id).Context(ctx).Do()
	})
}

// addKeys lets our keys in beside those that are there.
func (c *call) addKeys(ctx context.Context, now *compute.Metadata) error {
	wanted := c.Added(c.m, now)
	if wanted == nil {
		return nil
	}
	return c.Act(ctx, "", func(ctx context.Context, id string) (*compute.Operation, error) {
		return c.Instances.SetMetadata(c.Project, c.Zone, c.m.Name, wanted).RequestId(id).Context(ctx).Do()
	})
}
