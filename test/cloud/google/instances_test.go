package google_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"google.golang.org/api/compute/v1"

	"mctl/test/cloud/google"
	"mctl/test/cloud/lab"
)

func TestTheLifeOfAnInstance(t *testing.T) {
	w := newWorld(t, lab.Config{}, google.Config{})
	w.must(w.client.Instances.Insert(project, zone, instance("web")).Do())
	i := w.get("web")
	nic := i.NetworkInterfaces[0]
	first := nic.AccessConfigs[0].NatIP
	if i.Status != "RUNNING" || first == "" || nic.NetworkIP == "" || !strings.HasSuffix(nic.Subnetwork, "regions/us-central1/subnetworks/default") || i.Disks[0].InitializeParams != nil {
		t.Errorf("running: %+v", i)
	}
	if disk, err := w.client.Disks.Get(project, zone, "web-disk").Do(); err != nil || disk.SizeGb != 10 || !slices.Equal(disk.Users, []string{i.SelfLink}) {
		t.Errorf("%+v %v", disk, err)
	}
	w.must(w.client.Instances.Stop(project, zone, "web").Do())
	w.must(w.client.Instances.Stop(project, zone, "web").Do()) // off already is success
	if i = w.get("web"); i.Status != "TERMINATED" || i.NetworkInterfaces[0].AccessConfigs[0].NatIP != "" {
		t.Errorf("stopped: %+v", i)
	}
	w.must(w.client.Instances.Start(project, zone, "web").Do())
	w.must(w.client.Instances.Reset(project, zone, "web").Do())
	if i = w.get("web"); i.Status != "RUNNING" || i.NetworkInterfaces[0].AccessConfigs[0].NatIP == first || i.NetworkInterfaces[0].NetworkIP != nic.NetworkIP {
		t.Errorf("started: %+v", i)
	}
	w.must(w.client.Instances.Delete(project, zone, "web").Do())
	_, err := w.client.Instances.Get(project, zone, "web").Do()
	refused(t, err, 404, "notFound")
	_, err = w.client.Instances.Delete(project, zone, "web").Do()
	refused(t, err, 404, "notFound")
	w.nothingLeft()
}

func TestWhatAnInstanceMayNotBe(t *testing.T) {
	w := newWorld(t, lab.Config{}, google.Config{})
	on := true
	for name, c := range map[string]struct {
		change func(*compute.Instance)
		code   int
		reason string
	}{
		"name":              {func(i *compute.Instance) { i.Name = "Not_A_Name" }, 400, "invalid"},
		"long name":         {func(i *compute.Instance) { i.Name = strings.Repeat("a", 64) }, 400, "invalid"},
		"no name":           {func(i *compute.Instance) { i.Name = "" }, 400, "required"},
		"machine type":      {func(i *compute.Instance) { i.MachineType = "zones/" + zone + "/machineTypes/huge" }, 400, "invalid"},
		"other zone's type": {func(i *compute.Instance) { i.MachineType = "zones/us-central1-b/machineTypes/e2-medium" }, 400, "invalid"},
		"bare type":         {func(i *compute.Instance) { i.MachineType = "e2-medium" }, 400, "invalid"},
		"image":             {func(i *compute.Instance) { i.Disks[0].InitializeParams.SourceImage = "global/images/nothing" }, 400, "invalid"},
		"small disk":        {func(i *compute.Instance) { i.Disks[0].InitializeParams.DiskSizeGb = 5 }, 400, "invalid"},
		"disk type":         {func(i *compute.Instance) { i.Disks[0].InitializeParams.DiskType = "zones/" + zone + "/diskTypes/tape" }, 400, "invalid"},
		"no disk":           {func(i *compute.Instance) { i.Disks = nil }, 400, "invalid"},
		"network":           {func(i *compute.Instance) { i.NetworkInterfaces[0].Network = "global/networks/nothing" }, 404, "notFound"},
		"subnetwork": {func(i *compute.Instance) {
			i.NetworkInterfaces[0].Subnetwork = "regions/us-central1/subnetworks/nothing"
		}, 404, "notFound"},
		"other region": {func(i *compute.Instance) {
			i.NetworkInterfaces[0].Subnetwork = "regions/europe-west1/subnetworks/default"
		}, 400, "invalid"},
		"no interface": {func(i *compute.Instance) { i.NetworkInterfaces = nil }, 400, "invalid"},
		"address":      {func(i *compute.Instance) { i.NetworkInterfaces[0].AccessConfigs[0].NatIP = "203.0.113.9" }, 400, "invalid"},
		"label":        {func(i *compute.Instance) { i.Labels = map[string]string{"Upper": "x"} }, 400, "invalid"},
		"label value":  {func(i *compute.Instance) { i.Labels = map[string]string{"x": "Not allowed"} }, 400, "invalid"},
		"tag":          {func(i *compute.Instance) { i.Tags = &compute.Tags{Items: []string{"a b"}} }, 400, "invalid"},
		"metadata":     {func(i *compute.Instance) { i.Metadata = metadata("k", "1", "k", "2") }, 400, "invalid"},
		"accelerator": {func(i *compute.Instance) {
			i.GuestAccelerators = []*compute.AcceleratorConfig{{AcceleratorType: "zones/" + zone + "/acceleratorTypes/abacus", AcceleratorCount: 1}}
		}, 400, "invalid"},
		"accelerator that moves": {func(i *compute.Instance) {
			i.GuestAccelerators = []*compute.AcceleratorConfig{{AcceleratorType: "zones/" + zone + "/acceleratorTypes/nvidia-l4", AcceleratorCount: 1}}
		}, 400, "invalid"},
		"spot that restarts": {func(i *compute.Instance) {
			i.Scheduling = &compute.Scheduling{Preemptible: true, AutomaticRestart: &on}
		}, 400, "invalid"},
	} {
		i := instance("web")
		c.change(i)
		_, err := w.client.Instances.Insert(project, zone, i).Do()
		t.Log(name, ": ", err)
		refused(t, err, c.code, c.reason)
	}
	_, err := w.client.Instances.Insert(project, "mars-north1-a", instance("web")).Do()
	refused(t, err, 400, "invalid")
	_, err = w.client.Instances.Insert("nobodys", zone, instance("web")).Do()
	refused(t, err, 404, "notFound")
	w.nothingLeft()
	w.expect = true // "required" counts as undocumented
}

func metadata(pairs ...string) *compute.Metadata {
	m := &compute.Metadata{}
	for i := 0; i < len(pairs); i += 2 {
		m.Items = append(m.Items, &compute.MetadataItems{Key: pairs[i], Value: &pairs[i+1]})
	}
	return m
}

func TestImagesAreFoundInEveryWayOfNamingThem(t *testing.T) {
	w := newWorld(t, lab.Config{}, google.Config{})
	family, err := w.client.Images.GetFromFamily("debian-cloud", "debian-12").Do()
	if err != nil || family.Deprecated != nil {
		t.Fatalf("%+v %v", family, err)
	}
	for n, reference := range []string{
		"projects/debian-cloud/global/images/family/debian-12", "projects/debian-cloud/global/images/" + family.Name, family.SelfLink,
		"https://compute.googleapis.com/compute/v1/projects/debian-cloud/global/images/family/debian-12",
		w.server.URL + google.BasePath + "projects/debian-cloud/zones/-/imageFamilyViews/debian-12",
	} {
		i := instance("web-" + string(rune('a'+n)))
		i.Disks[0].InitializeParams.SourceImage = reference
		w.must(w.client.Instances.Insert(project, zone, i).Do())
		if disk, err := w.client.Disks.Get(project, zone, i.Name+"-disk").Do(); err != nil || disk.SourceImage != family.SelfLink {
			t.Errorf("%s: %+v %v", reference, disk, err)
		}
	}
}

func TestChangesNeedTheFingerprintOfWhatTheyChange(t *testing.T) {
	w := newWorld(t, lab.Config{}, google.Config{})
	i := instance("web")
	i.Metadata = metadata("a", "1")
	w.must(w.client.Instances.Insert(project, zone, i).Do())
	i = w.get("web")
	_, err := w.client.Instances.SetTags(project, zone, "web", &compute.Tags{Items: []string{"x"}, Fingerprint: "AAAA"}).Do()
	refused(t, err, 412, "conditionNotMet")
	_, err = w.client.Instances.SetMetadata(project, zone, "web", metadata("b", "2")).Do()
	refused(t, err, 412, "conditionNotMet")
	w.must(w.client.Instances.SetTags(project, zone, "web", &compute.Tags{Items: []string{"x"}, Fingerprint: i.Tags.Fingerprint}).Do())
	m := metadata("b", "2")
	m.Fingerprint = i.Metadata.Fingerprint
	w.must(w.client.Instances.SetMetadata(project, zone, "web", m).Do())
	w.must(w.client.Instances.SetLabels(project, zone, "web", &compute.InstancesSetLabelsRequest{
		Labels: map[string]string{"k": "v"}, LabelFingerprint: i.LabelFingerprint,
	}).Do())
	_, err = w.client.Instances.SetLabels(project, zone, "web", &compute.InstancesSetLabelsRequest{LabelFingerprint: i.LabelFingerprint}).Do()
	refused(t, err, 412, "conditionNotMet")
	if i = w.get("web"); i.Tags.Items[0] != "x" || i.Metadata.Items[0].Key != "b" || i.Labels["k"] != "v" {
		t.Errorf("now %+v", i)
	}
}

func TestADiskAndAReservedAddressAreUsedAgain(t *testing.T) {
	w := newWorld(t, lab.Config{}, google.Config{})
	w.must(w.client.Addresses.Insert(project, region, &compute.Address{Name: "fixed"}).Do())
	address, err := w.client.Addresses.Get(project, region, "fixed").Do()
	if err != nil || address.Status != "RESERVED" {
		t.Fatalf("%+v %v", address, err)
	}
	i := instance("web")
	i.Disks[0].AutoDelete = false
	i.NetworkInterfaces[0].AccessConfigs[0].NatIP = address.Address
	w.must(w.client.Instances.Insert(project, zone, i).Do())
	if got := w.get("web").NetworkInterfaces[0].AccessConfigs[0].NatIP; got != address.Address {
		t.Errorf("want %s, got %s", address.Address, got)
	}
	_, err = w.client.Addresses.Delete(project, region, "fixed").Do()
	refused(t, err, 400, "resourceInUseByAnotherResource")
	w.must(w.client.Instances.Delete(project, zone, "web").Do())
	_, err = w.client.Instances.Insert(project, zone, instance("web")).Do() // its disk is there
	refused(t, err, 409, "alreadyExists")
	i = instance("web")
	i.Disks = []*compute.AttachedDisk{{Boot: true, AutoDelete: true, Source: "zones/" + zone + "/disks/web-disk"}}
	i.NetworkInterfaces[0].AccessConfigs = nil
	w.must(w.client.Instances.Insert(project, zone, i).Do())
	if got := w.get("web"); len(got.NetworkInterfaces[0].AccessConfigs) > 0 {
		t.Errorf("an internal instance has %+v", got.NetworkInterfaces[0].AccessConfigs[0])
	}
	w.must(w.client.Instances.Delete(project, zone, "web").Do())
	w.must(w.client.Addresses.Delete(project, region, "fixed").Do())
	w.nothingLeft()
}

func TestARequestIDMakesOneOfTwoInserts(t *testing.T) {
	w := newWorld(t, lab.Config{}, google.Config{})
	const id = "6f9619ff-8b86-4d01-b42d-00cf4fc964ff"
	w.lab.Fail(lab.Fault{Call: "instances.insert", LoseAnswer: true})
	if _, err := w.client.Instances.Insert(project, zone, instance("web")).RequestId(id).Do(); err == nil {
		t.Fatal("the answer was not lost")
	}
	again, err := w.client.Instances.Insert(project, zone, instance("web")).RequestId(id).Do()
	w.must(again, err)
	_, err = w.client.Instances.Insert(project, zone, instance("web")).RequestId("6f9619ff-8b86-4d01-b42d-00cf4fc964fe").Do()
	refused(t, err, 409, "alreadyExists")
	for _, bad := range []string{"web", "00000000-0000-0000-0000-000000000000"} {
		_, err = w.client.Instances.Insert(project, zone, instance("other")).RequestId(bad).Do()
		refused(t, err, 400, "invalid")
	}
	if len(w.lab.Instances(t.Context())) != 1 {
		t.Error("there is not one instance")
	}
}

func TestAProtectedInstanceCannotBeDeleted(t *testing.T) {
	w := newWorld(t, lab.Config{}, google.Config{})
	w.must(w.client.Instances.Insert(project, zone, instance("web")).Do())
	w.must(w.client.Instances.SetDeletionProtection(project, zone, "web").Do())
	_, err := w.client.Instances.Delete(project, zone, "web").Do()
	refused(t, err, http.StatusBadRequest, "invalid")
	w.must(w.client.Instances.SetDeletionProtection(project, zone, "web").DeletionProtection(false).Do())
	w.must(w.client.Instances.Delete(project, zone, "web").Do())
}
