package spec

import (
	"maps"
	"slices"
	"strings"

	"google.golang.org/api/compute/v1"

	"mctl/internal/controller/driver"
)

// Instance is the instance to make, with a disk of the machine's that is there already (empty for a new one) and a static external address
// (empty for whichever Google gives).
func (s *Spec) Instance(m driver.Machine, disk, address string) *compute.Instance {
	zone := "zones/" + s.Zone
	boot := &compute.AttachedDisk{Boot: true, AutoDelete: true, Type: "PERSISTENT", Mode: "READ_WRITE"}
	if disk != "" {
		boot.Source = "projects/" + s.Place.Project + "/" + zone + "/disks/" + disk
	} else {
		boot.InitializeParams = &compute.AttachedDiskInitializeParams{
			DiskName: DiskName(m), SourceImage: s.Image.Path(), DiskSizeGb: s.DiskSize, DiskType: "projects/" + s.Place.Project + "/" + zone + "/diskTypes/" + s.DiskType,
			Labels: s.Labelled(m), Description: Description(m),
		}
	}
	nic := &compute.NetworkInterface{Network: s.Network.Path()}
	if s.Subnetwork.Name != "" {
		nic.Subnetwork = s.Subnetwork.Path()
	}
	if !s.NoExternal {
		nic.AccessConfigs = []*compute.AccessConfig{{Name: "external-nat", Type: "ONE_TO_ONE_NAT", NatIP: address}}
	}
	body := &compute.Instance{
		Name: m.Name, Description: Description(m), MachineType: zone + "/machineTypes/" + s.MachineType,
		Disks: []*compute.AttachedDisk{boot}, NetworkInterfaces: []*compute.NetworkInterface{nic},
		Labels: s.Labelled(m), Tags: &compute.Tags{Items: s.AllTags(m.ControllerID)}, Metadata: &compute.Metadata{Items: s.items(m)},
		Scheduling: s.scheduling(),
	}
	if s.account != "" {
		body.ServiceAccounts = []*compute.ServiceAccount{{Email: s.account, Scopes: s.scopes}}
	}
	if s.Accelerator.Type != "" {
		body.GuestAccelerators = []*compute.AcceleratorConfig{{
			AcceleratorType: "projects/" + s.Place.Project + "/" + zone + "/acceleratorTypes/" + s.Accelerator.Type, AcceleratorCount: s.Accelerator.Count,
		}}
	}
	return body
}

// scheduling is nil for an instance that Google moves and restarts as it does by default.
func (s *Spec) scheduling() *compute.Scheduling {
	never := false
	switch {
	case s.Spot:
		return &compute.Scheduling{
			ProvisioningModel: "SPOT", InstanceTerminationAction: "STOP", Preemptible: true, AutomaticRestart: &never, OnHostMaintenance: "TERMINATE",
		}
	case s.Preemptible:
		return &compute.Scheduling{Preemptible: true, AutomaticRestart: &never, OnHostMaintenance: "TERMINATE"}
	case s.Accelerator.Type != "":
		return &compute.Scheduling{OnHostMaintenance: "TERMINATE"} // an accelerator can't be moved
	}
	return nil
}

// items is the instance's metadata. OS Login would have the guest ignore the keys.
func (s *Spec) items(m driver.Machine) []*compute.MetadataItems {
	return itemsOf(s.metadata(m, nil))
}

// Added is what an instance's metadata becomes when it is taken over: ours beside what is there. Nil when nothing is missing.
func (s *Spec) Added(m driver.Machine, now *compute.Metadata) *compute.Metadata {
	if now == nil {
		now = &compute.Metadata{}
	}
	had := metadataOf(now)
	wanted := s.metadata(m, had)
	if maps.Equal(had, wanted) {
		return nil
	}
	return &compute.Metadata{Fingerprint: now.Fingerprint, Items: itemsOf(wanted)}
}

func metadataOf(now *compute.Metadata) map[string]string {
	had := map[string]string{}
	for _, item := range now.Items {
		if item.Value != nil {
			had[item.Key] = *item.Value
		}
	}
	return had
}

// metadata is what an instance with the metadata had shall have.
func (s *Spec) metadata(m driver.Machine, had map[string]string) map[string]string {
	wanted := map[string]string{}
	maps.Copy(wanted, had)
	keys := strings.FieldsFunc(wanted[metaKeys], func(r rune) bool { return r == '\n' })
	for _, key := range m.PublicKeys {
		if line := s.User + ":" + strings.TrimSpace(key); !slices.Contains(keys, line) {
			keys = append(keys, line)
		}
	}
	wanted[metaKeys], wanted[metaOSLogin] = strings.Join(keys, "\n"), "FALSE"
	maps.Copy(wanted, s.Metadata)
	maps.Copy(wanted, bootMetadata(m.UserData))
	return wanted
}

func itemsOf(metadata map[string]string) []*compute.MetadataItems {
	var items []*compute.MetadataItems
	for _, key := range slices.Sorted(maps.Keys(metadata)) {
		value := metadata[key]
		items = append(items, &compute.MetadataItems{Key: key, Value: &value})
	}
	return items
}
