package google

import (
	"context"
	"fmt"
	"path"

	"google.golang.org/api/compute/v1"

	"mctl/internal/controller/driver"
	"mctl/internal/controller/driver/google/cloud"
	"mctl/internal/controller/driver/google/spec"
	"mctl/internal/fault"
)

// The kinds of what the driver makes, in Google's words.
const (
	kindInstance = "instance"
	kindDisk     = "disk"
	kindAddress  = "address"
	kindRule     = "firewall"
)

// List lists what the controller made in the project, in every zone: instances, disks, addresses, then firewall rules.
func (d *Driver) List(ctx context.Context, m driver.Machine) ([]driver.Resource, error) {
	c, err := d.call(ctx, m)
	if err != nil {
		return nil, err
	}
	var found []driver.Resource
	instances, err := c.InstancesWith(ctx, spec.LabelController, m.ControllerID)
	if err != nil {
		return nil, err
	}
	for _, i := range instances {
		if i.Labels[spec.LabelController] == m.ControllerID {
			found = append(found, driver.Resource{Kind: kindInstance, ID: i.Name, Location: path.Base(i.Zone), Machine: i.Labels[spec.LabelMachine]})
		}
	}
	disks, err := c.DisksWith(ctx, spec.LabelController, m.ControllerID)
	if err != nil {
		return nil, err
	}
	for _, disk := range disks {
		if disk.Labels[spec.LabelController] == m.ControllerID {
			found = append(found, driver.Resource{Kind: kindDisk, ID: disk.Name, Location: path.Base(disk.Zone), Machine: disk.Labels[spec.LabelMachine]})
		}
	}
	addresses, err := c.AllAddresses(ctx)
	if err != nil {
		return nil, err
	}
	for _, address := range addresses {
		if controller, machine := spec.Described(address.Description); controller == m.ControllerID {
			found = append(found, driver.Resource{Kind: kindAddress, ID: address.Name, Location: path.Base(address.Region), Machine: machine})
		}
	}
	rules, err := c.FirewallsOf(ctx, c.Network.Project)
	if err != nil {
		return nil, err
	}
	for _, rule := range rules {
		if spec.OfController(rule, m.ControllerID) {
			found = append(found, driver.Resource{Kind: kindRule, ID: rule.Name})
		}
	}
	return found, nil
}

// Remove removes one of them. Whose it is is asked once more: a name may be another's by now.
func (d *Driver) Remove(ctx context.Context, m driver.Machine, r driver.Resource) error {
	c, err := d.call(ctx, m)
	if err != nil {
		return err
	}
	var ours bool
	var remove func(ctx context.Context, id string) (*compute.Operation, error)
	switch r.Kind {
	case kindInstance:
		d.book.Release(c.rulesPlace(), r.Machine)
		var found *compute.Instance
		found, err = cloud.Read(ctx, c.Client, func(ctx context.Context) (*compute.Instance, error) {
			return c.Instances.Get(c.Project, r.Location, r.ID).Context(ctx).Do()
		})
		ours = err == nil && found.Labels[spec.LabelController] == m.ControllerID && found.Labels[spec.LabelMachine] == r.Machine
		remove = func(ctx context.Context, id string) (*compute.Operation, error) {
			return c.Instances.Delete(c.Project, r.Location, r.ID).RequestId(id).Context(ctx).Do()
		}
	case kindDisk:
		var found *compute.Disk
		found, err = cloud.Read(ctx, c.Client, func(ctx context.Context) (*compute.Disk, error) {
			return c.Disks.Get(c.Project, r.Location, r.ID).Context(ctx).Do()
		})
		ours = err == nil && found.Labels[spec.LabelController] == m.ControllerID && found.Labels[spec.LabelMachine] == r.Machine
		remove = func(ctx context.Context, id string) (*compute.Operation, error) {
			return c.Disks.Delete(c.Project, r.Location, r.ID).RequestId(id).Context(ctx).Do()
		}
	case kindAddress:
		var found *compute.Address
		found, err = cloud.Read(ctx, c.Client, func(ctx context.Context) (*compute.Address, error) {
			return c.Addresses.Get(c.Project, r.Location, r.ID).Context(ctx).Do()
		})
		ours = err == nil && spec.OwnsAddress(driver.Machine{ControllerID: m.ControllerID, UID: r.Machine}, found)
		remove = func(ctx context.Context, id string) (*compute.Operation, error) {
			return c.Addresses.Delete(c.Project, r.Location, r.ID).RequestId(id).Context(ctx).Do()
		}
	case kindRule:
		return c.removeOrphan(ctx, r.ID)
	default:
		return fault.New("google.Remove", fault.Invalid, r.ID, fmt.Sprintf("the google driver makes nothing of the kind %q", r.Kind))
	}
	switch {
	case fault.Is(err, fault.NotFound):
		return nil
	case err != nil:
		return err
	case !ours:
		return foreign(r.Kind, r.ID)
	}
	return gone(c.Act(ctx, "", remove))
}

func foreign(kind, name string) error {
	return fault.New("google.Remove", fault.Denied, name, fmt.Sprintf("%s %s was not made by this controller", kind, name))
}

// Plan says what Create would make.
func (d *Driver) Plan(ctx context.Context, m driver.Machine) ([]string, error) {
	c, err := d.call(ctx, m)
	if err != nil {
		return nil, err
	}
	c.Client = c.Hasty()
	if err := c.learnNetwork(ctx); err != nil {
		return nil, err
	}
	var lines []string
	if c.Existing {
		lines = append(lines, fmt.Sprintf("instance %s in zone %s is taken over", m.Name, c.Zone))
	} else {
		kind := c.MachineType
		switch {
		case c.Spot:
			kind += ", spot"
		case c.Preemptible:
			kind += ", preemptible"
		}
		if c.Accelerator.Type != "" {
			kind += fmt.Sprintf(", %d × %s", c.Accelerator.Count, c.Accelerator.Type)
		}
		lines = append(lines,
			fmt.Sprintf("instance %s (%s) in zone %s of project %s", m.Name, kind, c.Zone, c.Project),
			fmt.Sprintf("disk %s (%s, %d GB) from image %s of project %s", spec.DiskName(m), c.DiskType, c.DiskSize, c.Image.Name, c.Image.Project))
		switch {
		case c.Reserve:
			lines = append(lines, fmt.Sprintf("address %s, reserved in region %s", spec.AddressName(m), c.Region()))
		case c.NoExternal:
			lines = append(lines, "no external address")
		}
	}
	for _, rule := range c.Rules(c.m.ControllerID) {
		var opens []string
		for _, allowed := range rule.Allowed {
			for _, port := range allowed.Ports {
				opens = append(opens, port+"/"+allowed.IPProtocol)
			}
		}
		from := rule.SourceRanges
		if len(from) == 0 {
			from = []string{"this controller's machines"}
		}
		lines = append(lines, fmt.Sprintf("firewall rule %s on network %s: %v from %v, unless it is there", rule.Name, c.Network.Name, opens, from))
	}
	for _, warning := range c.warnings(ctx) {
		lines = append(lines, "warning: "+warning)
	}
	return lines, nil
}
