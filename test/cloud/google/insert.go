package google

import (
	"fmt"
	"net/netip"
	"slices"

	"google.golang.org/api/compute/v1"

	"mctl/test/cloud/lab"
)

// insertInstance makes an instance, with its disks.
func (s *Server) insertInstance(q *request) (any, error) {
	doc, err := decode[compute.Instance](q)
	if err != nil {
		return nil, err
	}
	for _, parameter := range []string{"sourceInstanceTemplate", "sourceMachineImage"} {
		if q.query.Get(parameter) != "" {
			return nil, invalid(parameter, q.query.Get(parameter), "The lab has no templates and machine images.")
		}
	}
	spec, err := s.instance(q, doc)
	if err != nil {
		return nil, err
	}
	return s.begin(q, instancePath(spec.Ref), func(o lab.Operation) (lab.Operation, error) { return q.call.CreateInstance(spec, o) })
}

// instance checks a description, completes it, and says what the lab shall make of it.
func (s *Server) instance(q *request, doc *compute.Instance) (lab.InstanceSpec, error) {
	var spec lab.InstanceSpec
	spec.Ref, spec.Doc = lab.Ref{Scope: q.scope(), Name: doc.Name}, doc
	if doc.Scheduling == nil {
		doc.Scheduling = &compute.Scheduling{}
	}
	for _, step := range []func() error{
		func() error { return s.completeMachine(q, doc) },
		func() error { return completeScheduling(doc, doc.Scheduling.AutomaticRestart) },
		func() error { return s.completeDisks(q, doc, &spec) },
		func() error { return s.completeInterface(q, doc, &spec) },
		func() error { return checkLabels(doc.Labels) },
	} {
		if err := step(); err != nil {
			return spec, err
		}
	}
	var err error
	if doc.Metadata, err = completeMetadata(doc.Metadata); err != nil {
		return spec, err
	}
	doc.Tags = completeTags(doc.Tags)
	spec.Tags, spec.Guest = doc.Tags.Items, guest(doc, s.projectMetadata(q.path["project"]))
	for n, account := range doc.ServiceAccounts {
		if n > 0 {
			return spec, invalid("resource.serviceAccounts", account.Email, "At most one service account is allowed.")
		}
		if account.Email == "default" {
			account.Email = number(idOf(q.path["project"])%1e12) + "-compute@developer.gserviceaccount.com"
		}
		if len(account.Scopes) == 0 {
			return spec, invalid("resource.serviceAccounts[0].scopes", "", "At least one scope is required.")
		}
	}
	return spec, nil
}

// completeMachine checks machine type and accelerators.
func (s *Server) completeMachine(q *request, doc *compute.Instance) error {
	project, zone := q.path["project"], q.path["zone"]
	values := follow(parseLink(doc.MachineType, project), "projects/*/zones/*/machineTypes/*")
	if values == nil {
		return invalid("resource.machineType", doc.MachineType, "The URL is malformed.")
	}
	if _, ok := findMachine(values[2]); !ok || values[1] != zone {
		return invalid("resource.machineType", doc.MachineType, "The referenced resource does not exist.")
	}
	doc.MachineType = link("projects/" + project + "/zones/" + zone + "/machineTypes/" + values[2])
	for n, a := range doc.GuestAccelerators {
		field := fmt.Sprintf("resource.guestAccelerators[%d].acceleratorType", n)
		values := follow(parseLink(a.AcceleratorType, project), "projects/*/zones/*/acceleratorTypes/*")
		if values == nil || values[1] != zone || !slices.Contains(accelerators(), values[2]) {
			return invalid(field, a.AcceleratorType, "The referenced resource does not exist.")
		}
		if a.AcceleratorCount < 1 || a.AcceleratorCount > 8 {
			return invalid(field, a.AcceleratorType, "The number of accelerators is not valid.")
		}
		a.AcceleratorType = link("projects/" + project + "/zones/" + zone + "/acceleratorTypes/" + values[2])
	}
	return nil
}

// completeScheduling checks what spot instances and those with accelerators must not ask for.
func completeScheduling(doc *compute.Instance, asked *bool) error {
	sc := doc.Scheduling
	spot := sc.Preemptible || sc.ProvisioningModel == "SPOT"
	restart := !spot
	if asked != nil {
		restart = *asked
	}
	switch {
	case spot && restart:
		return invalid("resource.scheduling.automaticRestart", "true", "Scheduling must have automaticRestart be false when preemptible is true.")
	case spot && sc.OnHostMaintenance == "MIGRATE":
		return invalid("resource.scheduling.onHostMaintenance", "MIGRATE", "Scheduling must have onHostMaintenance be TERMINATE when preemptible is true.")
	case len(doc.GuestAccelerators) > 0 && sc.OnHostMaintenance != "TERMINATE" && !spot:
		return invalid("resource.scheduling.onHostMaintenance", sc.OnHostMaintenance, "Instances with guest accelerators do not support live migration.")
	case sc.InstanceTerminationAction != "" && !spot:
		return invalid("resource.scheduling.instanceTerminationAction", sc.InstanceTerminationAction, "It can be given for spot instances only.")
	}
	if sc.AutomaticRestart = &restart; sc.OnHostMaintenance == "" {
		if sc.OnHostMaintenance = "MIGRATE"; spot {
			sc.OnHostMaintenance = "TERMINATE"
		}
	}
	if sc.ProvisioningModel == "" {
		if sc.ProvisioningModel = "STANDARD"; sc.Preemptible {
			sc.ProvisioningModel = "SPOT"
		}
	}
	sc.Preemptible, sc.ForceSendFields = spot, []string{"Preemptible"}
	return nil
}

// completeDisks checks the disks and lists them for the lab.
func (s *Server) completeDisks(q *request, doc *compute.Instance, spec *lab.InstanceSpec) error {
	project, zone := q.path["project"], q.path["zone"]
	if boots := slices.IndexFunc(doc.Disks, func(d *compute.AttachedDisk) bool { return d.Boot }); boots != 0 {
		return invalid("resource.disks", "", "The first disk must be the boot disk.")
	}
	for n, d := range doc.Disks {
		field := fmt.Sprintf("resource.disks[%d]", n)
		made := lab.DiskSpec{Boot: d.Boot, AutoDelete: d.AutoDelete, New: d.InitializeParams != nil}
		switch {
		case d.Type == "SCRATCH":
			return invalid(field+".type", d.Type, "The lab has no local disks.")
		case n > 0 && d.Boot:
			return invalid(field+".boot", "true", "Only one disk can be the boot disk.")
		case made.New == (d.Source != ""):
			return invalid(field, d.Source, "Exactly one of source and initializeParams is needed.")
		case made.New:
			p := d.InitializeParams
			disk := &compute.Disk{
				Name: p.DiskName, Description: p.Description, Labels: p.Labels, SourceImage: p.SourceImage, Type: p.DiskType, SizeGb: p.DiskSizeGb,
			}
			if disk.SizeGb == 0 {
				disk.SizeGb = d.DiskSizeGb
			}
			if disk.Name == "" {
				if disk.Name = doc.Name; n > 0 {
					disk.Name = fmt.Sprintf("%s-%d", doc.Name, n)
				}
			}
			if d.Boot && p.SourceImage == "" {
				return invalid(field+".initializeParams.sourceImage", "", "A boot disk needs an image.")
			}
			if err := completeDisk(project, zone, field+".initializeParams", disk); err != nil {
				return err
			}
			made.Record = lab.Record{Ref: lab.Ref{Scope: q.scope(), Name: disk.Name}, Doc: disk}
			d.DiskSizeGb = disk.SizeGb
		default:
			values := follow(parseLink(d.Source, project), "projects/*/zones/*/disks/*")
			if values == nil || values[1] != zone {
				return invalid(field+".source", d.Source, "The URL is malformed.")
			}
			made.Record.Ref = lab.Ref{Scope: values[0] + "/zones/" + values[1], Name: values[2]}
			if _, err := s.lab.Disk(made.Ref); err != nil {
				return notFound(diskPath(made.Ref))
			}
		}
		spec.Disks = append(spec.Disks, made)
		completeAttachment(d, made.Ref, n)
	}
	return nil
}

func completeAttachment(d *compute.AttachedDisk, disk lab.Ref, n int) {
	d.InitializeParams, d.Source, d.Kind, d.Type = nil, link(diskPath(disk)), "compute#attachedDisk", "PERSISTENT"
	if d.Mode == "" {
		d.Mode = "READ_WRITE"
	}
	if d.Interface == "" {
		d.Interface = "SCSI"
	}
	if d.DeviceName == "" {
		d.DeviceName = fmt.Sprintf("persistent-disk-%d", n)
	}
}

// completeInterface checks the network interface and where its addresses come from.
func (s *Server) completeInterface(q *request, doc *compute.Instance, spec *lab.InstanceSpec) error {
	if len(doc.NetworkInterfaces) != 1 {
		return invalid("resource.networkInterfaces", "", "The lab's instances have exactly one network interface.")
	}
	const field = "resource.networkInterfaces[0]."
	nic := doc.NetworkInterfaces[0]
	subnet, err := s.subnet(q, nic)
	if err != nil {
		return err
	}
	spec.Subnet = subnet.Ref
	if nic.NetworkIP != "" {
		if spec.Wish, err = netip.ParseAddr(nic.NetworkIP); err != nil {
			return invalid(field+"networkIP", nic.NetworkIP, "Must be an IP address.")
		}
	}
	if nic.Kind, nic.Name, nic.StackType = "compute#networkInterface", "nic0", "IPV4_ONLY"; len(nic.AccessConfigs) == 0 {
		return nil
	}
	if len(nic.AccessConfigs) > 1 {
		return invalid(field+"accessConfigs", "", "At most one access config is supported.")
	}
	access := nic.AccessConfigs[0]
	if access.Kind, access.Type = "compute#accessConfig", "ONE_TO_ONE_NAT"; access.Name == "" {
		access.Name = "External NAT"
	}
	if access.NetworkTier == "" {
		access.NetworkTier = "PREMIUM"
	}
	if spec.HasPublic = true; access.NatIP == "" {
		return nil
	}
	region := q.path["project"] + "/regions/" + regionOf(q.path["zone"])
	all := s.lab.Addresses()
	n := slices.IndexFunc(all, func(a lab.Address) bool { return a.Scope == region && a.IP.String() == access.NatIP })
	if n < 0 {
		return invalid(field+"accessConfigs[0].natIP", access.NatIP, "The specified external IP address '"+access.NatIP+"' was not found in region '"+regionOf(q.path["zone"])+"'.")
	}
	spec.Address = all[n].Ref
	return nil
}
