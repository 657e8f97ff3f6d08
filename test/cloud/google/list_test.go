package google_test

import (
	"fmt"
	"slices"
	"testing"

	"google.golang.org/api/compute/v1"

	"mctl/test/cloud/google"
	"mctl/test/cloud/lab"
)

func TestListsArePagedAndFiltered(t *testing.T) {
	w := newWorld(t, lab.Config{}, google.Config{PageSize: 2})
	for n := range 5 {
		i := instance(fmt.Sprintf("web-%d", n))
		i.Labels = map[string]string{"n": fmt.Sprint(n), "odd": fmt.Sprint(n%2 == 1)}
		w.must(w.client.Instances.Insert(project, zone, i).Do())
	}
	w.must(w.client.Instances.Stop(project, zone, "web-3").Do())
	for filter, want := range map[string][]string{
		"":                                     {"web-0", "web-1", "web-2", "web-3", "web-4"},
		"labels.odd = true":                    {"web-1", "web-3"},
		`labels.odd=true AND status="RUNNING"`: {"web-1"},
		"(labels.odd = true) (labels.n > 2)":   {"web-3"},
		"name eq web-[01]":                     {"web-0", "web-1"},
		"labels.none:*":                        nil,
		"NOT name:web-1":                       {"web-0", "web-2", "web-3", "web-4"},
	} {
		var names, everywhere []string
		pages := 0
		err := w.client.Instances.List(project, zone).Filter(filter).MaxResults(100).Pages(t.Context(), func(page *compute.InstanceList) error {
			if pages++; len(page.Items) > 2 {
				t.Errorf("%q: a page has %d", filter, len(page.Items))
			}
			for _, i := range page.Items {
				names = append(names, i.Name)
			}
			return nil
		})
		if err != nil || !slices.Equal(names, want) || pages != max(1, (len(want)+1)/2) {
			t.Errorf("%q: %q on %d pages, %v", filter, names, pages, err)
		}
		err = w.client.Instances.AggregatedList(project).Filter(filter).Pages(t.Context(), func(page *compute.InstanceAggregatedList) error {
			for scope, in := range page.Items {
				if (len(in.Instances) == 0) != (in.Warning != nil) || len(in.Instances) > 0 && scope != "zones/"+zone {
					t.Errorf("%q: in %s %+v", filter, scope, in)
				}
				for _, i := range in.Instances {
					everywhere = append(everywhere, i.Name)
				}
			}
			return nil
		})
		if err != nil || !slices.Equal(everywhere, want) {
			t.Errorf("%q: everywhere %q, %v", filter, everywhere, err)
		}
	}
	_, err := w.client.Instances.List(project, zone).Filter("name = ").Do()
	refused(t, err, 400, "invalid")
	_, err = w.client.Instances.List(project, zone).MaxResults(501).Do()
	refused(t, err, 400, "invalid")
	_, err = w.client.Instances.List(project, zone).OrderBy("status").Do()
	refused(t, err, 400, "invalid")
	newest, err := w.client.Instances.List(project, zone).OrderBy("creationTimestamp desc").Do()
	if err != nil || newest.Items[0].Name != "web-4" {
		t.Errorf("%+v %v", newest, err)
	}
}

func TestTheCatalogueIsWhole(t *testing.T) {
	w := newWorld(t, lab.Config{}, google.Config{})
	p, err := w.client.Projects.Get(project).Do()
	if err != nil || p.Name != project || p.CommonInstanceMetadata.Fingerprint == "" {
		t.Errorf("%+v %v", p, err)
	}
	zones, err := w.client.Zones.List(project).Do()
	if err != nil || len(zones.Items) != 10 {
		t.Errorf("%+v %v", zones, err)
	}
	for _, z := range zones.Items {
		if got, err := w.client.Zones.Get(project, z.Name).Do(); err != nil || got.Region != z.Region {
			t.Errorf("%+v %v", got, err)
		}
		if _, err := w.client.MachineTypes.Get(project, z.Name, "f1-micro").Do(); err != nil {
			t.Error(err)
		}
	}
	regions, err := w.client.Regions.List(project).Do()
	if err != nil || len(regions.Items) != 3 {
		t.Errorf("%+v %v", regions, err)
	}
	w.must(w.client.Instances.Insert(project, zone, instance("web")).Do())
	r, err := w.client.Regions.Get(project, region).Do()
	if err != nil || !slices.ContainsFunc(r.Quotas, func(q *compute.Quota) bool { return q.Metric == "CPUS" && q.Usage == 2 && q.Limit > 2 }) {
		t.Errorf("%+v %v", r, err)
	}
	custom, err := w.client.MachineTypes.Get(project, zone, "custom-4-8192").Do()
	if err != nil || custom.GuestCpus != 4 || custom.MemoryMb != 8192 {
		t.Errorf("%+v %v", custom, err)
	}
	if types, err := w.client.DiskTypes.AggregatedList(project).Do(); err != nil || len(types.Items["zones/"+zone].DiskTypes) == 0 {
		t.Errorf("%+v %v", types, err)
	}
	if types, err := w.client.AcceleratorTypes.List(project, zone).Do(); err != nil || len(types.Items) == 0 {
		t.Errorf("%+v %v", types, err)
	}
	if images, err := w.client.Images.List("ubuntu-os-cloud").Do(); err != nil || len(images.Items) == 0 {
		t.Errorf("%+v %v", images, err)
	}
	_, err = w.client.Zones.Get(project, "mars-north1-a").Do()
	refused(t, err, 404, "notFound")
	_, err = w.client.Projects.Get("nobodys").Do()
	refused(t, err, 404, "notFound")
	_, err = w.client.Images.GetFromFamily("debian-cloud", "debian-99").Do()
	refused(t, err, 404, "notFound")
	_, err = w.client.MachineTypes.Get(project, zone, "huge").Do()
	refused(t, err, 404, "notFound")
}
