package google

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"sync"

	"google.golang.org/api/compute/v1"

	"mctl/internal/controller/driver"
	"mctl/internal/controller/driver/google/cloud"
	"mctl/internal/controller/driver/google/spec"
	"mctl/internal/fault"
)

// Preflight asks whether Create could work: credentials, project, names, and what stands in the way. Everything is asked at once; of
// several things that are wrong the first in this order is told.
func (d *Driver) Preflight(ctx context.Context, m driver.Machine) error {
	c, err := d.call(ctx, m)
	if err != nil {
		return err
	}
	if err := spec.CheckName(m, c.Spec); err != nil {
		return err
	}
	c.Client = c.Hasty()
	checks := []func(context.Context) error{c.checkProject, c.checkZone, c.checkNetwork}
	if c.Existing {
		checks = append(checks, c.checkExisting)
	} else {
		checks = append(checks, c.checkMachineType, c.checkImage, c.checkDiskType, c.checkAccelerator, c.checkAddress, c.checkFree)
	}
	errs := make([]error, len(checks))
	var all sync.WaitGroup
	for i, check := range checks {
		all.Go(func() { errs[i] = check(ctx) })
	}
	all.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// exists asks for something that must be there; what is not is one sentence.
func exists[T any](ctx context.Context, c *call, key string, ask func(ctx context.Context) (T, error), missing func() error) (T, error) {
	found, err := cloud.Remember(ctx, c.Client, key, func(ctx context.Context) (T, error) { return cloud.Read(ctx, c.Client, ask) })
	if fault.Is(err, fault.NotFound) {
		err = missing()
	}
	return found, err
}

func lacks(subject, sentence, hint string) error {
	return fault.New("google.Preflight", fault.Precondition, subject, sentence).WithHint(hint)
}

func (c *call) checkProject(ctx context.Context) error {
	_, err := exists(ctx, c, "project", func(ctx context.Context) (*compute.Project, error) {
		return c.Projects.Get(c.Project).Context(ctx).Do()
	}, func() error {
		return lacks(c.Project, fmt.Sprintf("there is no project %q, or the credentials may not see it", c.Project), "check --"+spec.FlagProject+", which takes the project's id")
	})
	return err
}

func (c *call) checkZone(ctx context.Context) error {
	zone, err := exists(ctx, c, "zone "+c.Zone, func(ctx context.Context) (*compute.Zone, error) {
		return c.Zones.Get(c.Project, c.Zone).Context(ctx).Do()
	}, func() error {
		zones, _ := c.AllZones(ctx)
		hint := "gcloud compute zones list"
		if others := c.near(zones); len(others) > 0 {
			hint = "there are " + strings.Join(others, ", ") + " and others"
		}
		return lacks(c.Zone, fmt.Sprintf("there is no zone %q", c.Zone), hint)
	})
	if err == nil && zone.Status == "DOWN" {
		return lacks(c.Zone, fmt.Sprintf("zone %s is down", c.Zone), "choose another with --"+spec.FlagZone)
	}
	return err
}

func (c *call) checkMachineType(ctx context.Context) error {
	_, err := exists(ctx, c, "machine type "+c.Zone+"/"+c.MachineType, func(ctx context.Context) (*compute.MachineType, error) {
		return c.MachineTypes.Get(c.Project, c.Zone, c.MachineType).Context(ctx).Do()
	}, func() error {
		zones, _ := c.ZonesWith(ctx, c.MachineType)
		hint := "gcloud compute machine-types list --zones " + c.Zone
		if others := c.near(zones); len(others) > 0 {
			hint = "zones that have it: " + strings.Join(others, ", ")
		}
		return lacks(c.MachineType, fmt.Sprintf("there is no machine type %q in zone %s", c.MachineType, c.Zone), hint)
	})
	return err
}

func (c *call) checkImage(ctx context.Context) error {
	image, err := exists(ctx, c, "image "+c.Image.Path(), func(ctx context.Context) (*compute.Image, error) {
		if family, ok := strings.CutPrefix(c.Image.Name, "family/"); ok {
			return c.Images.GetFromFamily(c.Image.Project, family).Context(ctx).Do()
		}
		return c.Images.Get(c.Image.Project, c.Image.Name).Context(ctx).Do()
	}, func() error {
		return lacks(c.Image.Name, fmt.Sprintf("there is no image %s in project %s", c.Image.Name, c.Image.Project),
			"gcloud compute images list; a family is named PROJECT/global/images/family/NAME")
	})
	if fault.Is(err, fault.Denied) {
		return lacks(c.Image.Name, fmt.Sprintf("the credentials may not use image %s of project %s", c.Image.Name, c.Image.Project), "check --"+spec.FlagImage)
	}
	if err == nil && image.DiskSizeGb > c.DiskSize {
		return lacks(c.Image.Name, fmt.Sprintf("image %s needs a disk of %d GB, %d are given", image.Name, image.DiskSizeGb, c.DiskSize), fmt.Sprintf("give --%s %d", spec.FlagDiskSize, image.DiskSizeGb))
	}
	return err
}

func (c *call) checkDiskType(ctx context.Context) error {
	_, err := exists(ctx, c, "disk type "+c.Zone+"/"+c.DiskType, func(ctx context.Context) (*compute.DiskType, error) {
		return c.DiskTypes.Get(c.Project, c.Zone, c.DiskType).Context(ctx).Do()
	}, func() error {
		return lacks(c.DiskType, fmt.Sprintf("there is no disk type %q in zone %s", c.DiskType, c.Zone), "gcloud compute disk-types list --zones "+c.Zone)
	})
	return err
}

func (c *call) checkAccelerator(ctx context.Context) error {
	if c.Accelerator.Type == "" {
		return nil
	}
	found, err := exists(ctx, c, "accelerator "+c.Zone+"/"+c.Accelerator.Type, func(ctx context.Context) (*compute.AcceleratorType, error) {
		return c.AcceleratorTypes.Get(c.Project, c.Zone, c.Accelerator.Type).Context(ctx).Do()
	}, func() error {
		return lacks(c.Accelerator.Type, fmt.Sprintf("there is no accelerator %q in zone %s", c.Accelerator.Type, c.Zone), "gcloud compute accelerator-types list")
	})
	if err == nil && found.MaximumCardsPerInstance > 0 && c.Accelerator.Count > found.MaximumCardsPerInstance {
		return lacks(c.Accelerator.Type, fmt.Sprintf("a machine has at most %d accelerators of the type %s", found.MaximumCardsPerInstance, c.Accelerator.Type), "")
	}
	return err
}

// learnNetwork asks which network a subnetwork belongs to, where the subnetwork alone was named.
func (c *call) learnNetwork(ctx context.Context) error {
	if c.Subnetwork.Name == "" {
		return nil
	}
	if c.Subnetwork.Scope != "regions/"+c.Region() {
		return lacks(c.Subnetwork.Name, fmt.Sprintf("subnetwork %s is in %s, and zone %s in regions/%s", c.Subnetwork.Name, c.Subnetwork.Scope, c.Zone, c.Region()),
			"name a subnetwork of that region with --"+spec.FlagSubnetwork+", or another --"+spec.FlagZone)
	}
	found, err := exists(ctx, c, "subnetwork "+c.Subnetwork.Path(), func(ctx context.Context) (*compute.Subnetwork, error) {
		_, region, _ := strings.Cut(c.Subnetwork.Scope, "/")
		return c.Subnetworks.Get(c.Subnetwork.Project, region, c.Subnetwork.Name).Context(ctx).Do()
	}, func() error {
		return lacks(c.Subnetwork.Name, fmt.Sprintf("there is no subnetwork %q in region %s", c.Subnetwork.Name, c.Region()), "gcloud compute networks subnets list")
	})
	if err != nil {
		return err
	}
	switch network := cloud.Parse(found.Network); {
	case c.AnyNetwork && network.Name != "":
		c.Network.Name = network.Name
		if network.Project != "" {
			c.Network.Project = network.Project
		}
	case network.Name != "" && network.Name != c.Network.Name:
		return lacks(c.Subnetwork.Name, fmt.Sprintf("subnetwork %s belongs to network %s, not to %s", c.Subnetwork.Name, network.Name, c.Network.Name), "leave --"+spec.FlagNetwork+" out")
	}
	return nil
}

func (c *call) checkNetwork(ctx context.Context) error {
	if err := c.learnNetwork(ctx); err != nil {
		return err
	}
	found, err := exists(ctx, c, "network "+c.Network.Path(), func(ctx context.Context) (*compute.Network, error) {
		return c.Networks.Get(c.Network.Project, c.Network.Name).Context(ctx).Do()
	}, func() error {
		return lacks(c.Network.Name, fmt.Sprintf("there is no network %q in project %s", c.Network.Name, c.Network.Project), "name another with --"+spec.FlagNetwork)
	})
	if err == nil && !found.AutoCreateSubnetworks && found.IPv4Range == "" && c.Subnetwork.Name == "" && len(found.Subnetworks) > 0 {
		return lacks(c.Network.Name, fmt.Sprintf("network %s makes no subnetworks by itself, so one must be named", c.Network.Name), "give --"+spec.FlagSubnetwork)
	}
	return err
}

func (c *call) checkAddress(ctx context.Context) error {
	if _, err := netip.ParseAddr(c.Address); err == nil || c.Address == "" {
		return nil
	}
	found, err := c.findAddress(ctx, c.Address)
	switch {
	case err != nil:
		return err
	case found == nil:
		return c.noAddress()
	case len(found.Users) > 0:
		return lacks(c.Address, fmt.Sprintf("the address %s is in use already", c.Address), "reserve another one")
	}
	return nil
}

// checkFree refuses names that are in use.
func (c *call) checkFree(ctx context.Context) error {
	found, err := c.instance(ctx)
	if err == nil {
		return taken("instance", found.Name, c.Zone, found.Labels)
	}
	if !fault.Is(err, fault.NotFound) {
		return err
	}
	_, err = c.disk(ctx)
	return err
}

func (c *call) checkExisting(ctx context.Context) error {
	found, err := c.instance(ctx)
	if fault.Is(err, fault.NotFound) {
		return c.noExisting()
	}
	if err != nil {
		return err
	}
	return c.takeable(found)
}

// warn tells of what will likely be missed. It is no reason to stop.
func (c *call) warn(ctx context.Context) {
	for _, line := range c.warnings(ctx) {
		c.m.Progress("Warning: " + line)
	}
}

func (c *call) warnings(ctx context.Context) []string {
	all, err := cloud.Remember(ctx, c.Client, "firewalls "+c.Network.Project, func(ctx context.Context) ([]*compute.Firewall, error) {
		return c.FirewallsOf(ctx, c.Network.Project)
	})
	if err != nil {
		return nil
	}
	return c.Warnings(c.m.ControllerID, all)
}
