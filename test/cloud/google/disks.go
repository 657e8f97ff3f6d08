package google

import (
	"slices"
	"strconv"
	"strings"

	"google.golang.org/api/compute/v1"

	"mctl/test/cloud/lab"
)

func diskPath(ref lab.Ref) string { return "projects/" + ref.Scope + "/disks/" + ref.Name }

// completeDisk checks a disk to make and fills in what the API adds. field names where it stands in the body.
func completeDisk(project, zone, field string, d *compute.Disk) error {
	if d.Type == "" {
		d.Type = "zones/" + zone + "/diskTypes/pd-standard"
	}
	values := follow(parseLink(d.Type, project), "projects/*/zones/*/diskTypes/*")
	if values == nil || values[1] != zone || !slices.Contains(diskTypes(), values[2]) {
		return invalid(field+".diskType", d.Type, "The referenced resource does not exist.")
	}
	d.Type = link("projects/" + project + "/zones/" + zone + "/diskTypes/" + values[2])
	if d.SourceImage != "" {
		image := findImage(parseLink(d.SourceImage, project))
		if image == nil {
			return invalid(field+".sourceImage", d.SourceImage, "The referenced image resource cannot be found.")
		}
		d.SourceImage, d.SourceImageId, d.Architecture = image.SelfLink, number(image.Id), image.Architecture
		if d.SizeGb == 0 {
			d.SizeGb = image.DiskSizeGb
		}
		if d.SizeGb < image.DiskSizeGb {
			return invalid(field+".diskSizeGb", strconv.FormatInt(d.SizeGb, 10), "Requested disk size cannot be smaller than the image size ("+strconv.FormatInt(image.DiskSizeGb, 10)+" GB)")
		}
	}
	if d.SizeGb == 0 {
		d.SizeGb = 500
	}
	if d.SizeGb < 0 || d.SizeGb > 65536 {
		return invalid(field+".diskSizeGb", strconv.FormatInt(d.SizeGb, 10), "Disk size must be between 10 GB and 65536 GB.")
	}
	d.CreationTimestamp = now()
	return checkLabels(d.Labels)
}

func showDisk(d lab.Disk) *compute.Disk {
	shown := *d.Doc.(*compute.Disk)
	shown.Kind, shown.Id, shown.Name, shown.Status = "compute#disk", d.ID, d.Name, "READY"
	shown.SelfLink, shown.Zone = link(diskPath(d.Ref)), link("projects/"+d.Scope)
	shown.PhysicalBlockSizeBytes, shown.LabelFingerprint = 4096, fingerprint(shown.Labels)
	if (d.User != lab.Ref{}) {
		shown.Users = []string{link(instancePath(d.User))}
	}
	return &shown
}

func (s *Server) getDisk(q *request) (any, error) {
	d, err := s.lab.Disk(q.ref())
	if err != nil {
		return nil, err
	}
	return showDisk(d), nil
}

func (s *Server) listDisks(q *request) (any, error) {
	if q.path["zone"] == "" {
		return aggregated(s, q, "compute#diskAggregatedList", "disks", each(within(s.lab.Disks(), q.path["project"]), showDisk))
	}
	return list(s, q, "compute#diskList", each(within(s.lab.Disks(), q.scope()), showDisk))
}

func (s *Server) insertDisk(q *request) (any, error) {
	doc, err := decode[compute.Disk](q)
	if err != nil {
		return nil, err
	}
	if image := q.query.Get("sourceImage"); image != "" {
		doc.SourceImage = image
	}
	if doc.SourceSnapshot+doc.SourceDisk != "" {
		return nil, invalid("resource", doc.Name, "The lab makes disks from images only.")
	}
	if err := completeDisk(q.path["project"], q.path["zone"], "resource", doc); err != nil {
		return nil, err
	}
	ref := lab.Ref{Scope: q.scope(), Name: doc.Name}
	return s.begin(q, diskPath(ref), func(o lab.Operation) (lab.Operation, error) {
		return q.call.CreateDisk(lab.Disk{Record: lab.Record{Ref: ref, Doc: doc}}, o)
	})
}

func (s *Server) deleteDisk(q *request) (any, error) {
	return s.begin(q, diskPath(q.ref()), func(o lab.Operation) (lab.Operation, error) { return q.call.DeleteDisk(q.ref(), o) })
}

func (s *Server) setDiskLabels(q *request) (any, error) {
	body, err := decode[compute.ZoneSetLabelsRequest](q)
	if err == nil {
		err = checkLabels(body.Labels)
	}
	if err != nil {
		return nil, err
	}
	return s.begin(q, diskPath(q.ref()), func(o lab.Operation) (lab.Operation, error) {
		return q.call.UpdateDisk(q.ref(), o, func(d *lab.Disk) error {
			doc := *d.Doc.(*compute.Disk)
			err := fresh("Labels", body.LabelFingerprint, fingerprint(doc.Labels))
			doc.Labels = body.Labels
			d.Doc = &doc
			return err
		})
	})
}

// within keeps what is in a scope, or below it.
func within[T interface{ Where() lab.Ref }](all []T, scope string) []T {
	return slices.DeleteFunc(all, func(t T) bool {
		return t.Where().Scope != scope && !strings.HasPrefix(t.Where().Scope, scope+"/")
	})
}
