package googledriver_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"mctl/internal/controller/driver"
	"mctl/internal/controller/driver/google"
	front "mctl/test/cloud/google"
	"mctl/test/cloud/lab"
)

// implied are the permissions that calls need besides those of their own names.
var implied = map[string][]string{
	"instances.insert": {
		"instances.create", "instances.setLabels", "instances.setMetadata", "instances.setTags", "instances.setServiceAccount", "disks.create", "disks.setLabels", "disks.use",
		"images.useReadOnly", "networks.use", "networks.useExternalIp", "subnetworks.use", "subnetworks.useExternalIp", "addresses.use",
	},
	"firewalls.insert": {"firewalls.create", "networks.updatePolicy"},
	"firewalls.delete": {"firewalls.delete", "networks.updatePolicy"},
	"addresses.insert": {"addresses.create"},
}

// permissions are what Google wants of one who makes a call.
func permissions(call string) []string {
	if more, ok := implied[call]; ok {
		return more
	}
	resource, verb, _ := strings.Cut(call, ".")
	return []string{resource + "." + map[string]string{"aggregatedList": "list", "wait": "get"}[verb] + strings.TrimSuffix(strings.TrimSuffix(verb, "aggregatedList"), "wait")}
}

// TestThePageListsExactlyThePermissionsOfTheCallsMade has the driver do all that it can, and holds the least-privilege role on its page against
// the calls that it made.
func TestThePageListsExactlyThePermissionsOfTheCallsMade(t *testing.T) {
	w := newWorld(t, lab.Config{}, front.Config{PageSize: 1, WaitLimit: 1})
	d := google.New(w.quick())
	life := func(m driver.Machine) {
		t.Helper()
		if err := d.Preflight(t.Context(), m); err != nil {
			t.Errorf("Preflight: %v", err)
		}
		if _, err := d.Plan(t.Context(), m); err != nil {
			t.Errorf("Plan: %v", err)
		}
		w.create(d, m)
		if _, err := d.Stop(t.Context(), m, false); err != nil {
			t.Error(err)
		}
		if _, err := d.Start(t.Context(), m); err != nil {
			t.Error(err)
		}
		if _, err := d.List(t.Context(), m); err != nil {
			t.Error(err)
		}
		if _, err := d.BootUserData(t.Context(), m); err != nil {
			t.Error(err)
		}
	}
	all := w.machine("web", "google-reserve-address", "true", "google-accelerator", "type=nvidia-tesla-t4", "google-subnetwork", "default")
	life(all)
	w.delete(all)
	w.delete(all) // one that is gone is looked for among what is being made
	_ = d.Preflight(t.Context(), w.machine("web", "google-zone", "mars-west1-a", "google-machine-image", "mine"))
	_ = d.Preflight(t.Context(), w.machine("web", "google-machine-type", "z9-huge"))
	made, _ := w.lab.Calls()
	page, err := os.ReadFile("../../../docs/drivers/google.md")
	if err != nil {
		t.Fatal(err)
	}
	var listed []string
	for _, match := range regexp.MustCompile(`(?m)^- compute\.(\S+)$`).FindAllStringSubmatch(string(page), -1) {
		listed = append(listed, match[1])
	}
	if len(listed) < 40 || !slices.IsSorted(listed) {
		t.Errorf("the page lists %q", listed)
	}
	// These are made in lives that the lab has no way to.
	needed := []string{"instances.resume", "disks.delete", "regionOperations.list"}
	for call := range made {
		needed = append(needed, permissions(call)...)
	}
	for _, permission := range needed {
		if !slices.Contains(listed, permission) {
			t.Errorf("the page lacks compute.%s", permission)
		}
	}
	for _, permission := range listed {
		if !slices.Contains(needed, permission) {
			t.Errorf("nothing needs compute.%s", permission)
		}
	}
}
