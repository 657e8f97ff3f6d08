package google

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"google.golang.org/api/compute/v1"

	"mctl/test/cloud/lab"
)

func zone(project, name string) *compute.Zone {
	path := "projects/" + project + "/zones/" + name
	return &compute.Zone{
		Kind: "compute#zone", Id: idOf(path), Name: name, Description: name, Status: "UP", CreationTimestamp: born,
		Region: link("projects/" + project + "/regions/" + regionOf(name)), SelfLink: link(path), AvailableCpuPlatforms: []string{"Intel Broadwell", "Intel Skylake"},
	}
}

func (s *Server) region(ctx context.Context, project, name string) *compute.Region {
	path := "projects/" + project + "/regions/" + name
	r := &compute.Region{
		Kind: "compute#region", Id: idOf(path), Name: name, Description: name, Status: "UP", CreationTimestamp: born, SelfLink: link(path),
		Quotas: s.quotas(ctx, project, name),
	}
	for _, z := range zones() {
		if regionOf(z) == name {
			r.Zones = append(r.Zones, link("projects/"+project+"/zones/"+z))
		}
	}
	return r
}

// quotas are those of a region, with what is used of them. Their limits are not enforced: see lab.Fault for quota errors.
func (s *Server) quotas(ctx context.Context, project, region string) []*compute.Quota {
	var instances, cpus, inUse, reserved, gigabytes float64
	for _, i := range within(s.lab.Instances(ctx), project) {
		if regionOf(last(i.Scope)) != region {
			continue
		}
		m, _ := findMachine(last(i.Doc.(*compute.Instance).MachineType))
		instances, cpus = instances+1, cpus+float64(m.cpus)
		if i.Public.IsValid() {
			inUse++
		}
	}
	for _, a := range within(s.lab.Addresses(), project+"/regions/"+region) {
		if reserved++; (a.User == lab.Ref{}) {
			inUse++
		}
	}
	for _, d := range within(s.lab.Disks(), project) {
		if regionOf(last(d.Scope)) == region {
			gigabytes += float64(d.Doc.(*compute.Disk).SizeGb)
		}
	}
	var quotas []*compute.Quota
	for _, q := range []struct {
		metric       string
		limit, usage float64
	}{
		{"CPUS", 50000, cpus}, {"DISKS_TOTAL_GB", 5e6, gigabytes}, {"STATIC_ADDRESSES", 20000, reserved}, {"IN_USE_ADDRESSES", 20000, inUse}, {"INSTANCES", 20000, instances},
	} {
		quotas = append(quotas, &compute.Quota{Metric: q.metric, Limit: q.limit, Usage: q.usage, ForceSendFields: []string{"Usage"}})
	}
	return quotas
}

// place refuses projects, zones and regions that there are not.
func (s *Server) place(q *request) error {
	project := q.path["project"]
	public := slices.ContainsFunc(images(), func(i *compute.Image) bool { return strings.HasPrefix(i.SelfLink, link("projects/"+project+"/")) })
	if !slices.Contains(s.config.Projects, project) && (!public || !strings.HasPrefix(q.name(), "image")) {
		return &apiError{Code: http.StatusNotFound, Reason: "notFound", Message: "The resource 'projects/" + project + "' was not found"}
	}
	if zone := q.path["zone"]; zone != "" && !slices.Contains(zones(), zone) {
		if q.name() == "zones.get" {
			return notFound("projects/" + project + "/zones/" + zone)
		}
		return invalid("zone", zone, "Unknown zone.")
	}
	if region := q.path["region"]; region != "" && !slices.Contains(regions(), region) {
		if q.name() == "regions.get" {
			return notFound("projects/" + project + "/regions/" + region)
		}
		return invalid("region", region, "Unknown region.")
	}
	return nil
}

func (s *Server) getZone(q *request) (any, error) {
	return zone(q.path["project"], q.path["zone"]), nil
}
func (s *Server) getRegion(q *request) (any, error) {
	return s.region(q.Context(), q.path["project"], q.path["region"]), nil
}

func (s *Server) listZones(q *request) (any, error) {
	return list(s, q, "compute#zoneList", each(zones(), func(z string) *compute.Zone { return zone(q.path["project"], z) }))
}

func (s *Server) listRegions(q *request) (any, error) {
	return list(s, q, "compute#regionList", each(regions(), func(r string) *compute.Region { return s.region(q.Context(), q.path["project"], r) }))
}
