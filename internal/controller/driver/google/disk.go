package google

import (
	"context"
	"net/netip"

	"google.golang.org/api/compute/v1"

	"mctl/internal/controller/driver/google/cloud"
	"mctl/internal/controller/driver/google/spec"
	"mctl/internal/fault"
)

// findDisk asks for the disk of our name; nil when there is none.
func (c *call) findDisk(ctx context.Context) (*compute.Disk, error) {
	found, err := cloud.Read(ctx, c.Client, func(ctx context.Context) (*compute.Disk, error) {
		return c.Disks.Get(c.Project, c.Zone, spec.DiskName(c.m)).Context(ctx).Do()
	})
	if fault.Is(err, fault.NotFound) {
		return nil, nil
	}
	return found, err
}

// disk returns the machine's disk where an earlier call left it without an instance; empty for none. Another's of the name is refused.
func (c *call) disk(ctx context.Context) (string, error) {
	found, err := c.findDisk(ctx)
	if err != nil || found == nil {
		return "", err
	}
	if !spec.Owns(c.m, found.Labels) {
		return "", taken("disk", found.Name, c.Zone, found.Labels)
	}
	return found.Name, nil
}

// deleteDisk removes a disk that did not go with its instance.
func (c *call) deleteDisk(ctx context.Context) error {
	found, err := c.findDisk(ctx)
	if err != nil || found == nil || !spec.Owns(c.m, found.Labels) {
		return err
	}
	return gone(c.Act(ctx, "", func(ctx context.Context, id string) (*compute.Operation, error) {
		return c.Disks.Delete(c.Project, c.Zone, found.Name).RequestId(id).Context(ctx).Do()
	}))
}

// findAddress asks for a reserved address; nil when there is none of the name.
func (c *call) findAddress(ctx context.Context, name string) (*compute.Address, error) {
	found, err := cloud.Read(ctx, c.Client, func(ctx context.Context) (*compute.Address, error) {
		return c.Addresses.Get(c.Project, c.Region(), name).Context(ctx).Do()
	})
	if fault.Is(err, fault.NotFound) {
		return nil, nil
	}
	return found, err
}

// staticAddress is the external address that the machine shall have: the one given, the one of that name, or one that is reserved
// for it now. Empty for whichever Google gives.
func (c *call) staticAddress(ctx context.Context) (string, error) {
	if c.Reserve {
		return c.reserveAddress(ctx)
	}
	if _, err := netip.ParseAddr(c.Address); err == nil || c.Address == "" {
		return c.Address, nil
	}
	found, err := c.findAddress(ctx, c.Address)
	if err != nil {
		return "", err
	}
	if found == nil {
		return "", c.noAddress()
	}
	return found.Address, nil
}

func (c *call) noAddress() error {
	return fault.New("google", fault.Precondition, c.Address, "there is no reserved address "+c.Address+" in region "+c.Region()).
		WithHint("gcloud compute addresses list; --" + spec.FlagReserve + " makes one")
}

// reserveAddress makes the machine's own address, or finds it. Labels can only be given to one that is there, so its
// description says whose it is from the first moment on.
func (c *call) reserveAddress(ctx context.Context) (string, error) {
	name := spec.AddressName(c.m)
	found, err := c.findAddress(ctx, name)
	if err == nil && found == nil {
		err = c.Act(ctx, "", func(ctx context.Context, id string) (*compute.Operation, error) {
			return c.Addresses.Insert(c.Project, c.Region(), &compute.Address{Name: name, AddressType: "EXTERNAL", Description: spec.Description(c.m)}).RequestId(id).Context(ctx).Do()
		})
		if err == nil || fault.Is(err, fault.Exists) {
			found, err = c.findAddress(ctx, name)
		}
		if err == nil && found == nil {
			return "", fault.New("google", fault.Unavailable, name, "the address "+name+" was reserved but is not to be seen yet")
		}
	}
	if err != nil {
		return "", err
	}
	if !spec.OwnsAddress(c.m, found) {
		return "", taken("address", name, c.Region(), found.Labels)
	}
	if spec.Owns(c.m, found.Labels) {
		return found.Address, nil
	}
	err = c.Act(ctx, "", func(ctx context.Context, id string) (*compute.Operation, error) {
		return c.Addresses.SetLabels(c.Project, c.Region(), name, &compute.RegionSetLabelsRequest{
			Labels: c.Labelled(c.m), LabelFingerprint: found.LabelFingerprint,
		}).RequestId(id).Context(ctx).Do()
	})
	return found.Address, err
}

// deleteAddress releases the machine's own address.
func (c *call) deleteAddress(ctx context.Context) error {
	if !c.Reserve {
		return nil
	}
	name := spec.AddressName(c.m)
	found, err := c.findAddress(ctx, name)
	if err == nil && found == nil {
		if err := c.awaitPending(ctx, "regions/"+c.Region(), "addresses", name); err != nil {
			return err
		}
		found, err = c.findAddress(ctx, name)
	}
	if err != nil || found == nil || !spec.OwnsAddress(c.m, found) {
		return err
	}
	return gone(c.Act(ctx, "", func(ctx context.Context, id string) (*compute.Operation, error) {
		return c.Addresses.Delete(c.Project, c.Region(), found.Name).RequestId(id).Context(ctx).Do()
	}))
}
