package google

import (
	"fmt"
	"hash/fnv"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/api/compute/v1"
)

// What there is to choose from, everywhere the same. Facts of the real cloud, cut down.

func regions() []string { return []string{"us-central1", "europe-west1", "asia-northeast3"} }

func zones() []string {
	var all []string
	for region, letters := range map[string]string{"us-central1": "abcf", "europe-west1": "bcd", "asia-northeast3": "abc"} {
		for _, letter := range letters {
			all = append(all, region+"-"+string(letter))
		}
	}
	slices.Sort(all)
	return all
}

// places are the scopes of aggregated lists.
func places() []string {
	all := []string{"global"}
	for _, r := range regions() {
		all = append(all, "regions/"+r)
	}
	for _, z := range zones() {
		all = append(all, "zones/"+z)
	}
	return all
}

// born is when everything that was there from the start was made.
const born = "2020-01-01T00:00:00.000-08:00"

// idOf is the id of something that has none of the lab's.
func idOf(path string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(path))
	return h.Sum64() >> 1
}

// machine is a machine type.
type machine struct {
	name       string
	cpus       int64
	memoryMB   int64
	shared     bool
	armChassis bool
}

func machines() []machine {
	return []machine{
		{"e2-medium", 2, 4096, true, false}, {"e2-micro", 2, 1024, true, false}, {"e2-small", 2, 2048, true, false},
		{"e2-standard-2", 2, 8192, false, false}, {"e2-standard-4", 4, 16384, false, false}, {"f1-micro", 1, 614, true, false},
		{"g1-small", 1, 1740, true, false}, {"n1-standard-1", 1, 3840, false, false}, {"n1-standard-2", 2, 7680, false, false},
		{"n2-standard-2", 2, 8192, false, false}, {"t2a-standard-1", 1, 4096, false, true},
	}
}

var customMachine = regexp.MustCompile(`^(?:(?:n1|n2|e2)-)?custom-(\d{1,2})-(\d{3,6})(?:-ext)?$`)

func findMachine(name string) (machine, bool) {
	if parts := customMachine.FindStringSubmatch(name); parts != nil {
		cpus, _ := strconv.ParseInt(parts[1], 10, 64)
		memory, _ := strconv.ParseInt(parts[2], 10, 64)
		return machine{name: name, cpus: cpus, memoryMB: memory}, true
	}
	all := machines()
	i := slices.IndexFunc(all, func(m machine) bool { return m.name == name })
	if i < 0 {
		return machine{}, false
	}
	return all[i], true
}

func machineType(project, zone string, m machine) *compute.MachineType {
	path := "projects/" + project + "/zones/" + zone + "/machineTypes/" + m.name
	shown := &compute.MachineType{
		Kind: "compute#machineType", Id: idOf(m.name), Name: m.name, Description: fmt.Sprintf("%d vCPU, %d MB RAM", m.cpus, m.memoryMB),
		GuestCpus: m.cpus, MemoryMb: m.memoryMB, IsSharedCpu: m.shared, MaximumPersistentDisks: 128, MaximumPersistentDisksSizeGb: 263168,
		Zone: zone, SelfLink: link(path), CreationTimestamp: born, Architecture: "X86_64",
	}
	if m.armChassis {
		shown.Architecture = "ARM64"
	}
	return shown
}

func diskTypes() []string {
	return []string{"pd-standard", "pd-balanced", "pd-ssd", "pd-extreme", "hyperdisk-balanced"}
}

func diskType(project, zone, name string) *compute.DiskType {
	path := "projects/" + project + "/zones/" + zone + "/diskTypes/" + name
	return &compute.DiskType{
		Kind: "compute#diskType", Id: idOf(name), Name: name, Description: name, ValidDiskSize: "10GB-65536GB", DefaultDiskSizeGb: 500,
		Zone: link("projects/" + project + "/zones/" + zone), SelfLink: link(path), CreationTimestamp: born,
	}
}

func accelerators() []string { return []string{"nvidia-l4", "nvidia-tesla-t4", "nvidia-tesla-v100"} }

func acceleratorType(project, zone, name string) *compute.AcceleratorType {
	path := "projects/" + project + "/zones/" + zone + "/acceleratorTypes/" + name
	return &compute.AcceleratorType{
		Kind: "compute#acceleratorType", Id: idOf(name), Name: name, Description: name, MaximumCardsPerInstance: 4,
		Zone: link("projects/" + project + "/zones/" + zone), SelfLink: link(path), CreationTimestamp: born,
	}
}

// images are those of public projects. The last of a family is its newest.
func images() []*compute.Image {
	var all []*compute.Image
	for _, i := range []struct {
		project, name, family string
		arm, deprecated       bool
	}{
		{"debian-cloud", "debian-11-bullseye-v20240815", "debian-11", false, true},
		{"debian-cloud", "debian-12-bookworm-v20261001", "debian-12", false, true},
		{"debian-cloud", "debian-12-bookworm-v20261110", "debian-12", false, false},
		{"debian-cloud", "debian-12-bookworm-arm64-v20261110", "debian-12-arm64", true, false},
		{"ubuntu-os-cloud", "ubuntu-1604-xenial-v20170721", "ubuntu-1604-lts", false, true},
		{"ubuntu-os-cloud", "ubuntu-2204-jammy-v20261105", "ubuntu-2204-lts", false, false},
		{"ubuntu-os-cloud", "ubuntu-2404-noble-amd64-v20261105", "ubuntu-2404-lts-amd64", false, false},
	} {
		path := "projects/" + i.project + "/global/images/" + i.name
		image := &compute.Image{
			Kind: "compute#image", Id: idOf(path), Name: i.name, Family: i.family, Description: i.name, Status: "READY", SourceType: "RAW",
			DiskSizeGb: 10, ArchiveSizeBytes: 1 << 30, Architecture: "X86_64", CreationTimestamp: born, SelfLink: link(path), LabelFingerprint: fingerprint(nil),
		}
		if i.arm {
			image.Architecture = "ARM64"
		}
		if i.deprecated {
			image.Deprecated = &compute.DeprecationStatus{State: "DEPRECATED"}
		}
		all = append(all, image)
	}
	return all
}

// findImage follows an image reference: an image, or a family's newest that is not deprecated; nil when there is none.
func findImage(path string) *compute.Image {
	family := follow(path, "projects/*/global/images/family/*")
	if view := follow(path, "projects/*/zones/*/imageFamilyViews/*"); view != nil {
		family = []string{view[0], view[2]}
	}
	var found *compute.Image
	for _, i := range images() {
		switch {
		case family != nil:
			if i.Deprecated == nil && i.Family == family[1] && strings.HasPrefix(i.SelfLink, link("projects/"+family[0]+"/")) {
				found = i
			}
		case i.SelfLink == link(path):
			return i
		}
	}
	return found
}

func (s *Server) getMachineType(q *request) (any, error) {
	m, ok := findMachine(q.subject())
	if !ok {
		return nil, notFound(q.resource())
	}
	return machineType(q.path["project"], q.path["zone"], m), nil
}

func (s *Server) getDiskType(q *request) (any, error) {
	if !slices.Contains(diskTypes(), q.subject()) {
		return nil, notFound(q.resource())
	}
	return diskType(q.path["project"], q.path["zone"], q.subject()), nil
}

func (s *Server) getAcceleratorType(q *request) (any, error) {
	if !slices.Contains(accelerators(), q.subject()) {
		return nil, notFound(q.resource())
	}
	return acceleratorType(q.path["project"], q.path["zone"], q.subject()), nil
}

func (s *Server) getImage(q *request) (any, error) {
	if image := findImage(strings.TrimPrefix(q.URL.Path, BasePath)); image != nil {
		return image, nil
	}
	return nil, notFound(q.resource())
}

func (s *Server) listImages(q *request) (any, error) {
	all := slices.DeleteFunc(images(), func(i *compute.Image) bool {
		return !strings.HasPrefix(i.SelfLink, link("projects/"+q.path["project"]+"/"))
	})
	return list(s, q, "compute#imageList", all)
}

func (s *Server) getImageFamilyView(q *request) (any, error) {
	image := findImage(q.resource())
	if image == nil {
		return nil, notFound(q.resource())
	}
	return &compute.ImageFamilyView{Image: image}, nil
}

// inZones answers a list, or an aggregated one, of what every zone has.
func inZones[T, V any](kind, plural string, all func() []T, show func(project, zone string, value T) V) handler {
	return func(s *Server, q *request) (any, error) {
		in := func(zone string) []V {
			return each(all(), func(value T) V { return show(q.path["project"], zone, value) })
		}
		if q.path["zone"] != "" {
			return list(s, q, kind+"List", in(q.path["zone"]))
		}
		return aggregated(s, q, kind+"AggregatedList", plural, slices.Concat(each(zones(), in)...))
	}
}

func each[T, V any](all []T, f func(T) V) []V {
	results := make([]V, len(all))
	for i, value := range all {
		results[i] = f(value)
	}
	return results
}
