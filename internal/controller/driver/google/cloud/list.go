package cloud

import (
	"context"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"google.golang.org/api/compute/v1"

	"mctl/internal/fault"
)

// maxPages bounds a list that never ends.
const maxPages = 1000

// pages reads a list to its end.
func pages[T any](ctx context.Context, c *Client, ask func(ctx context.Context, page string) ([]T, string, error)) ([]T, error) {
	type answer struct {
		items []T
		next  string
	}
	var all []T
	page := ""
	for range maxPages {
		got, err := Read(ctx, c, func(ctx context.Context) (answer, error) {
			items, next, err := ask(ctx, page)
			return answer{items, next}, err
		})
		if err != nil {
			return nil, err
		}
		if all = append(all, got.items...); got.next == "" {
			return all, nil
		}
		page = got.next
	}
	return nil, c.strange()
}

// unreachable is why a list over all zones is incomplete.
func unreachable(zones []string) error {
	if len(zones) == 0 {
		return nil
	}
	return fault.E("cloud", fault.Unavailable, "", fmt.Errorf("Google does not reach %s at present", plain(path.Base(zones[0])))) //nolint:staticcheck // a name
}

// Labelled is a filter for what carries a label.
func labelled(label, value string) string { return fmt.Sprintf("labels.%s=%s", label, value) }

// Instances lists the project's instances that carry a label, in every zone. A list that may be incomplete is
// fault.Unavailable.
func (c *Client) InstancesWith(ctx context.Context, label, value string) ([]*compute.Instance, error) {
	return pages(ctx, c, func(ctx context.Context, page string) ([]*compute.Instance, string, error) {
		list, err := c.Instances.AggregatedList(c.Project).Filter(labelled(label, value)).PageToken(page).Context(ctx).Do()
		if err != nil {
			return nil, "", err
		}
		var found []*compute.Instance
		for _, scope := range sorted(list.Items) {
			found = append(found, list.Items[scope].Instances...)
		}
		return found, list.NextPageToken, unreachable(list.Unreachables)
	})
}

// DisksWith lists the project's disks that carry a label, in every zone.
func (c *Client) DisksWith(ctx context.Context, label, value string) ([]*compute.Disk, error) {
	return pages(ctx, c, func(ctx context.Context, page string) ([]*compute.Disk, string, error) {
		list, err := c.Disks.AggregatedList(c.Project).Filter(labelled(label, value)).PageToken(page).Context(ctx).Do()
		if err != nil {
			return nil, "", err
		}
		var found []*compute.Disk
		for _, scope := range sorted(list.Items) {
			found = append(found, list.Items[scope].Disks...)
		}
		return found, list.NextPageToken, unreachable(list.Unreachables)
	})
}

// AllAddresses lists the project's reserved addresses in every region. One that was just made has no labels yet, so it cannot be
// asked for by them.
func (c *Client) AllAddresses(ctx context.Context) ([]*compute.Address, error) {
	return pages(ctx, c, func(ctx context.Context, page string) ([]*compute.Address, string, error) {
		list, err := c.Addresses.AggregatedList(c.Project).PageToken(page).Context(ctx).Do()
		if err != nil {
			return nil, "", err
		}
		var found []*compute.Address
		for _, scope := range sorted(list.Items) {
			found = append(found, list.Items[scope].Addresses...)
		}
		return found, list.NextPageToken, unreachable(list.Unreachables)
	})
}

// FirewallsOf lists a project's firewall rules.
func (c *Client) FirewallsOf(ctx context.Context, project string) ([]*compute.Firewall, error) {
	return pages(ctx, c, func(ctx context.Context, page string) ([]*compute.Firewall, string, error) {
		list, err := c.Firewalls.List(project).PageToken(page).Context(ctx).Do()
		if err != nil {
			return nil, "", err
		}
		return list.Items, list.NextPageToken, nil
	})
}

// AllZones lists the zones, those of the region first.
func (c *Client) AllZones(ctx context.Context) ([]string, error) {
	return Remember(ctx, c, "zones", func(ctx context.Context) ([]string, error) {
		return pages(ctx, c, func(ctx context.Context, page string) ([]string, string, error) {
			list, err := c.Zones.List(c.Project).PageToken(page).Context(ctx).Do()
			if err != nil {
				return nil, "", err
			}
			var names []string
			for _, zone := range list.Items {
				if zone.Status != "DOWN" {
					names = append(names, zone.Name)
				}
			}
			return names, list.NextPageToken, nil
		})
	})
}

// ZonesWith lists the zones that have a machine type.
func (c *Client) ZonesWith(ctx context.Context, machineType string) ([]string, error) {
	return Remember(ctx, c, "zones with "+machineType, func(ctx context.Context) ([]string, error) {
		return pages(ctx, c, func(ctx context.Context, page string) ([]string, string, error) {
			list, err := c.MachineTypes.AggregatedList(c.Project).Filter("name=" + machineType).PageToken(page).Context(ctx).Do()
			if err != nil {
				return nil, "", err
			}
			var names []string
			for _, scope := range sorted(list.Items) {
				// A filter that was not understood must not send people to zones without the type.
				if zone, ok := strings.CutPrefix(scope, "zones/"); ok && slices.ContainsFunc(list.Items[scope].MachineTypes, func(t *compute.MachineType) bool { return t.Name == machineType }) {
					names = append(names, zone)
				}
			}
			return names, list.NextPageToken, nil
		})
	})
}

func sorted[T any](items map[string]T) []string { return slices.Sorted(maps.Keys(items)) }
