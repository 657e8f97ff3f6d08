package google

import (
	"context"
	"fmt"
	"net/http"
	"path"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mctl/internal/controller/driver"
	"mctl/internal/fault"
)

func create(t *testing.T, d *Driver, m driver.Machine) driver.Instance {
	t.Helper()
	made, err := d.Create(t.Context(), m)
	if err != nil {
		t.Fatalf("Create: %v, hint %q", err, fault.HintOf(err))
	}
	return made
}

func TestTheSeedsOwnCommandMakesWhatItSays(t *testing.T) {
	s := newStub(t)
	s.set("zones/asia-northeast3-a", object{"status": "UP"})
	s.set("zones/asia-northeast3-a/machineTypes/f1-micro", object{})
	s.set("zones/asia-northeast3-a/diskTypes/pd-standard", object{})
	s.set("global/images/ubuntu", object{})
	m := machineOn(t, s, "gcp-host", "google-zone", "asia-northeast3-a", "google-machine-type", "f1-micro", "google-tags", "http-server",
		"google-machine-image", "https://www.googleapis.com/compute/v1/projects/ubuntu-os-cloud/global/images/ubuntu")
	var warned []string
	m.Progress = func(line string) { warned = append(warned, line) }
	d := New(quick(t))
	if err := d.Preflight(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	made := create(t, d, m)
	if made.SSH.User != "docker-user" || made.ID != "gcp-host" {
		t.Errorf("%+v", made)
	}
	got := s.get("zones/asia-northeast3-a/instances/gcp-host")
	if got["machineType"] != "zones/asia-northeast3-a/machineTypes/f1-micro" || !strings.Contains(fmt.Sprint(got["tags"]), "http-server") {
		t.Errorf("%v", got)
	}
	if disk := fmt.Sprint(got["disks"]); !strings.Contains(disk, "sourceImage:projects/ubuntu-os-cloud/global/images/ubuntu") {
		t.Errorf("disk %s", disk)
	}
	if !slices.ContainsFunc(warned, func(line string) bool {
		return strings.Contains(line, "http-server") && strings.Contains(line, "if you cannot connect, check the firewall")
	}) {
		t.Errorf("nobody was warned that no rule matches the tag: %q", warned)
	}
}

func TestATagThatARuleMatchesGetsNoWarning(t *testing.T) {
	s := newStub(t)
	s.set("global/firewalls/default-allow-http", object{
		"network": s.link("global/networks/default"), "direction": "INGRESS", "targetTags": []string{"http-server"},
		"allowed": []object{{"IPProtocol": "tcp", "ports": []string{"80"}}},
	})
	m := machineOn(t, s, "web", "google-tags", "http-server")
	m.Progress = func(line string) {
		if strings.Contains(line, "Warning") {
			t.Error(line)
		}
	}
	create(t, New(quick(t)), m)
}

func TestTheFirewallRulesGoWithTheLastMachine(t *testing.T) {
	s := newStub(t)
	foreign := object{"network": s.link("global/networks/default"), "targetTags": []string{"docker-machine"}, "sourceRanges": []string{"192.0.2.0/24"}}
	s.set("global/firewalls/docker-machines", foreign)
	d := New(quick(t))
	one, two := machineOn(t, s, "one", "google-open-port", "80"), machineOn(t, s, "two", "google-open-port", "80")
	other := machineOn(t, s, "other", "google-source-ranges", "198.51.100.7")
	rules := func() (names []string) {
		for _, p := range s.list() {
			if strings.HasPrefix(p, "global/firewalls/") {
				names = append(names, path.Base(p))
			}
		}
		return names
	}
	for _, m := range []driver.Machine{one, two, other} {
		create(t, d, m)
	}
	if all := rules(); len(all) != 3 || slices.ContainsFunc(all, func(name string) bool { return !strings.HasPrefix(name, "mctl-c1c1c1c1") }) {
		t.Fatalf("rules %v, want two for clients and one for swarms, of the controller's own names", all)
	}
	for i, m := range []driver.Machine{one, other, two} {
		if err := d.Delete(t.Context(), m); err != nil {
			t.Fatal(err)
		}
		if want := []int{3, 2, 0}[i]; len(rules()) > want && i == 2 || len(rules()) < want {
			t.Errorf("after the removal of %s there are %v", m.Name, rules())
		}
	}
	if got := s.get("global/firewalls/docker-machines"); fmt.Sprint(got["sourceRanges"]) != "[192.0.2.0/24]" {
		t.Errorf("docker-machine's rule was changed: %v", got)
	}
}

func TestARuleThatSomebodyNarrowedStaysNarrow(t *testing.T) {
	s := newStub(t)
	d := New(quick(t))
	create(t, d, machineOn(t, s, "one"))
	for _, p := range s.list() {
		if strings.HasPrefix(p, "global/firewalls/") && !strings.Contains(p, "swarm") {
			s.mu.Lock()
			s.objects[p]["sourceRanges"] = []string{"192.0.2.7/32"}
			s.mu.Unlock()
			create(t, New(quick(t)), machineOn(t, s, "two"))
			if got := s.get(p); fmt.Sprint(got["sourceRanges"]) != "[192.0.2.7/32]" {
				t.Errorf("it was opened again: %v", got)
			}
			return
		}
	}
	t.Error("there is no rule")
}

func TestNoneOpensNothing(t *testing.T) {
	s := newStub(t)
	m := machineOn(t, s, "web", "google-source-ranges", "none")
	create(t, New(quick(t)), m)
	for _, p := range s.list() {
		if strings.Contains(p, "firewalls") {
			t.Errorf("there is %s", p)
		}
	}
}

func TestMachinesRemovedAtOnceLeaveNoRule(t *testing.T) {
	s := newStub(t)
	d := New(quick(t))
	var machines []driver.Machine
	var all sync.WaitGroup
	for i := range 8 {
		m := machineOn(t, s, fmt.Sprintf("web-%d", i))
		machines = append(machines, m)
		all.Go(func() {
			if _, err := d.Create(t.Context(), m); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := s.asked(func(r string) bool { return r == "POST global/firewalls" }); n != 2 {
		t.Errorf("%d requests for rules, want 2", n)
	}
	for _, m := range machines {
		all.Go(func() {
			if err := d.Delete(t.Context(), m); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if left := s.list(); len(left) > 0 {
		t.Errorf("left %v", left)
	}
}

func TestAReservedAddressStaysUntilTheMachineGoes(t *testing.T) {
	s := newStub(t)
	d := New(quick(t))
	m := machineOn(t, s, "web", "google-reserve-address", "true")
	made := create(t, d, m)
	address := s.get("regions/us-central1/addresses/web-address")
	if address["address"] != made.Addresses[0] || fmt.Sprint(address["labels"]) != "map[mctl-controller:c1c1c1c1 mctl-machine:uid-web]" {
		t.Errorf("address %v, machine at %v", address, made.Addresses)
	}
	again := create(t, New(quick(t)), m)
	if n := s.asked(func(r string) bool { return r == "POST regions/us-central1/addresses" }); n != 1 || again.Addresses[0] != made.Addresses[0] {
		t.Errorf("%d addresses were reserved, now at %v", n, again.Addresses)
	}
	if err := d.Delete(t.Context(), m); err != nil || len(s.list()) > 0 {
		t.Errorf("%v, left %v", err, s.list())
	}
}

func TestAddressesAreAsAskedFor(t *testing.T) {
	s := newStub(t)
	s.set("regions/us-central1/addresses/mine", object{"address": "198.51.100.77"})
	for want, options := range map[string][]string{
		"198.51.100.77": {"google-address", "mine"}, "198.51.100.99": {"google-address", "198.51.100.99"},
	} {
		made := create(t, New(quick(t)), machineOn(t, s, "web-"+path.Ext(want)[1:], options...))
		if made.Addresses[0] != want || made.SSH.Address != want {
			t.Errorf("%v: %+v", options, made)
		}
	}
	for _, flag := range []string{"google-use-internal-ip-only", "google-use-internal-ip"} {
		made := create(t, New(quick(t)), machineOn(t, s, "in-"+fmt.Sprint(len(flag)), flag, "true"))
		if !strings.HasPrefix(made.Addresses[0], "10.") || flag == "google-use-internal-ip-only" && len(made.Addresses) != 1 {
			t.Errorf("--%s: %v", flag, made.Addresses)
		}
	}
	if err := New(quick(t)).Delete(t.Context(), machineOn(t, s, "web-77", "google-address", "mine")); err != nil || s.get("regions/us-central1/addresses/mine") == nil {
		t.Errorf("%v; an address that was there before must stay", err)
	}
}

func TestWhatIsMadeIsPutTogetherFromTheFlags(t *testing.T) {
	for name, c := range map[string]struct {
		options []string
		want    []string
	}{
		"spot":        {[]string{"google-spot", "true"}, []string{"provisioningModel:SPOT", "instanceTerminationAction:STOP", "automaticRestart:false"}},
		"preemptible": {[]string{"google-preemptible", "true"}, []string{"preemptible:true", "onHostMaintenance:TERMINATE", "automaticRestart:false"}},
		"accelerator": {[]string{"google-accelerator", "count=2,type=nvidia-tesla-t4"}, []string{"acceleratorCount:2", "acceleratorTypes/nvidia-tesla-t4", "onHostMaintenance:TERMINATE"}},
		"account":     {[]string{"google-service-account", "me@proj.iam.gserviceaccount.com", "google-scopes", "cloud-platform"}, []string{"email:me@proj.iam.gserviceaccount.com", "https://www.googleapis.com/auth/cloud-platform"}},
		"subnetwork":  {[]string{"google-subnetwork", "sub"}, []string{"networks/own", "regions/us-central1/subnetworks/sub"}},
		"metadata":    {[]string{"google-metadata", "a=b=c", "google-metadata", "x="}, []string{"key:a value:b=c", "key:x value:", "key:enable-oslogin value:FALSE"}},
		"labels":      {[]string{"google-vm-labels", "team:web,tier:1"}, []string{"team:web", "tier:1", "mctl-controller:c1c1c1c1", "mctl-machine:uid-web"}},
		"disk":        {[]string{"google-disk-size", "30", "google-disk-type", "pd-ssd"}, []string{"diskSizeGb:30", "diskTypes/pd-ssd", "diskName:web-disk", "autoDelete:true"}},
		"defaults":    {nil, []string{"machineTypes/e2-medium", "projects/debian-cloud/global/images/family/debian-12", "diskTypes/pd-standard", "diskSizeGb:10", "email:default", "devstorage.read_only", "docker-user:ssh-ed25519 AAAA caller"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStub(t)
			create(t, New(quick(t)), machineOn(t, s, "web", c.options...))
			got := fmt.Sprint(s.get(zone + "instances/web"))
			for _, want := range c.want {
				if !strings.Contains(got, want) {
					t.Errorf("want %s in %s", want, got)
				}
			}
		})
	}
	s := newStub(t)
	m := machineOn(t, s, "web", "google-service-account", "none")
	m.Options["google-userdata"] = driver.Option{Content: []byte("#cloud-config\n")}
	create(t, New(quick(t)), m)
	if got := s.get(zone + "instances/web"); got["serviceAccounts"] != nil || !strings.Contains(fmt.Sprint(got["metadata"]), "key:user-data value:#cloud-config") {
		t.Errorf("%v", got)
	}
}

func TestAnInstanceThatIsThereIsTakenOver(t *testing.T) {
	s := newStub(t)
	s.set(zone+"instances/old", object{
		"status": "TERMINATED", "labels": map[string]any{"team": "a"}, "labelFingerprint": "0", "tags": object{"items": []string{"keep"}, "fingerprint": "t"},
		"metadata":          object{"fingerprint": "m", "items": []object{{"key": "ssh-keys", "value": "me:ssh-rsa OLD"}, {"key": "startup-script", "value": "true"}}},
		"networkInterfaces": []any{object{"networkIP": "10.0.0.9", "network": s.link("global/networks/default"), "accessConfigs": []any{object{}}}},
	})
	d := New(quick(t))
	m := machineOn(t, s, "old", "google-use-existing", "true")
	if err := d.Preflight(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	made := create(t, d, m)
	got := fmt.Sprint(s.get(zone + "instances/old"))
	for _, want := range []string{"team:a", "mctl-machine:uid-old", "keep", "mctl-c1c1c1c1", "me:ssh-rsa OLD", "docker-user:ssh-ed25519 AAAA", "startup-script", "status:RUNNING"} {
		if !strings.Contains(got, want) {
			t.Errorf("want %s in %s", want, got)
		}
	}
	n := s.asked(func(r string) bool { return strings.HasPrefix(r, "POST ") && strings.Contains(r, "/set") })
	if again := create(t, New(quick(t)), m); again.ID != made.ID || s.asked(func(r string) bool { return strings.Contains(r, "/set") }) != n {
		t.Errorf("the second time something was set again: %+v", again)
	}
	// Another machine may not have it, nor may another controller.
	thief := m
	thief.UID = "uid-thief"
	if _, err := d.Create(t.Context(), thief); !fault.Is(err, fault.Denied) {
		t.Errorf("another machine took it over: %v", err)
	}
	thief.ControllerID = "ffffffff"
	if err := d.Preflight(t.Context(), thief); !fault.Is(err, fault.Denied) {
		t.Errorf("another controller may: %v", err)
	}
	missing := machineOn(t, s, "nope", "google-use-existing", "true")
	if err := d.Preflight(t.Context(), missing); !fault.Is(err, fault.Precondition) || !strings.Contains(err.Error(), "to take over") {
		t.Errorf("%v", err)
	}
	if err := d.Delete(t.Context(), m); err != nil || s.get(zone+"instances/old") != nil {
		t.Errorf("as docker-machine did, rm deletes it: %v", err)
	}
}

func TestAnInstanceOfDockerMachinesIsTakenOverAsItIsAndNeverStarted(t *testing.T) {
	s := newStub(t)
	s.set(zone+"instances/old", object{
		"status": "TERMINATED", "labels": map[string]any{"team": "a"}, "labelFingerprint": "0", "tags": object{"items": []string{"docker-machine"}, "fingerprint": "t"},
		"metadata":          object{"fingerprint": "m", "items": []object{{"key": "ssh-keys", "value": "docker-user:ssh-rsa OLD"}}},
		"networkInterfaces": []any{object{"networkIP": "10.0.0.9", "network": s.link("global/networks/default"), "accessConfigs": []any{object{}}}},
	})
	d, m := New(quick(t)), machineOn(t, s, "old", "google-use-existing", "true")
	for range 2 {
		found, err := d.Import(t.Context(), m)
		if err != nil || found.Power != driver.Stopped {
			t.Fatalf("%+v, %v", found, err)
		}
	}
	got := fmt.Sprint(s.get(zone + "instances/old"))
	for _, want := range []string{"team:a", "mctl-machine:uid-old", "docker-machine", "docker-user:ssh-rsa OLD", "status:TERMINATED"} {
		if !strings.Contains(got, want) {
			t.Errorf("want %s in %s", want, got)
		}
	}
	if found, err := d.Start(t.Context(), m); err != nil || found.Power != driver.Running {
		t.Errorf("its power is ours: %+v, %v", found, err)
	}
	if _, err := d.Import(t.Context(), machineOn(t, s, "nope", "google-use-existing", "true")); !fault.Is(err, fault.NotFound) {
		t.Errorf("one that is gone: %v", err)
	}
	if n := s.asked(func(r string) bool { return strings.HasPrefix(r, "POST ") && strings.HasSuffix(r, "/instances") }); n != 0 {
		t.Errorf("%d instances were made", n)
	}
}

func TestWhatSomebodyElseMadeIsNeverTouched(t *testing.T) {
	s := newStub(t)
	s.set(zone+"instances/web", object{"status": "RUNNING", "labels": map[string]any{"mctl-controller": "ffffffff", "mctl-machine": "uid-web"}})
	s.set(zone+"disks/db-disk", object{"labels": map[string]any{}})
	d := New(quick(t))
	web, db := machineOn(t, s, "web"), machineOn(t, s, "db")
	for _, m := range []driver.Machine{web, db} {
		if err := d.Preflight(t.Context(), m); !fault.Is(err, fault.Precondition) {
			t.Errorf("Preflight of %s: %v", m.Name, err)
		}
		if _, err := d.Create(t.Context(), m); !fault.Is(err, fault.Precondition) {
			t.Errorf("Create of %s: %v", m.Name, err)
		}
		if _, err := d.Stop(t.Context(), m, true); !fault.Is(err, fault.NotFound) {
			t.Errorf("Stop of %s: %v", m.Name, err)
		}
		if err := d.Delete(t.Context(), m); err != nil {
			t.Errorf("Delete of %s: %v", m.Name, err)
		}
	}
	if s.get(zone + "instances/web")["status"] != "RUNNING" || s.get(zone+"disks/db-disk") == nil {
		t.Error("it was touched")
	}
}

func TestAPendingInstanceIsNotGone(t *testing.T) {
	s := newStub(t)
	s.opTime = 200 * time.Millisecond
	config := quick(t)
	config.OperationLimit = 20 * time.Millisecond
	m := machineOn(t, s, "web", "google-source-ranges", "none")
	made, err := New(config).Create(t.Context(), m)
	if !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "has not ended") {
		t.Fatalf("a stuck operation: %v", err)
	}
	m.State = made.State
	if _, err := New(quick(t)).Inspect(t.Context(), m); !fault.Is(err, fault.Unavailable) {
		t.Errorf("Inspect while it is made: %v", err)
	}
	m.State = nil // and one who knows nothing of it removes it all the same
	if err := New(quick(t)).Delete(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	if left := s.list(); len(left) > 0 {
		t.Errorf("left %v", left)
	}
}

func TestARequestIDIsOneAttempts(t *testing.T) {
	s := newStub(t)
	var ids []string
	s.answer = func(_ http.ResponseWriter, r *http.Request, p string) bool {
		if r.Method == http.MethodPost && path.Base(p) == "instances" {
			ids = append(ids, r.URL.Query().Get("requestId"))
		}
		return false
	}
	m := machineOn(t, s, "web")
	faults{s}.Inject("create", "lost answer", 1)
	create(t, New(quick(t)), m)
	if len(ids) != 2 || ids[0] != ids[1] || len(ids[0]) != 36 {
		t.Errorf("ids %v, want one twice", ids)
	}
	ids = nil
	faults{s}.Fill()
	m = machineOn(t, s, "full")
	failed, err := New(quick(t)).Create(t.Context(), m)
	if !fault.Is(err, fault.Quota) {
		t.Fatal(err)
	}
	faults{s}.Heal()
	m.State = failed.State
	create(t, New(quick(t)), m)
	if len(ids) != 2 || ids[0] == ids[1] {
		t.Errorf("ids %v, want another one after a failure", ids)
	}
}

func TestAFullZoneIsToldWithOthersToTry(t *testing.T) {
	s := newStub(t)
	faults{s}.Fill()
	_, err := New(quick(t)).Create(t.Context(), machineOn(t, s, "web"))
	if !fault.Is(err, fault.Quota) || !strings.Contains(err.Error(), "has no room for a machine of type e2-medium") {
		t.Errorf("%v", err)
	}
	if hint := fault.HintOf(err); hint != "zones that could be tried with --google-zone: us-central1-b, us-central1-c, us-east1-b" {
		t.Errorf("hint %q", hint)
	}
	s.fail = func(string, string) (string, string) {
		return "QUOTA_EXCEEDED", "Quota 'CPUS' exceeded.  Limit: 24.0 in region us-central1."
	}
	_, err = New(quick(t)).Create(t.Context(), machineOn(t, s, "web"))
	if !fault.Is(err, fault.Quota) || !strings.Contains(err.Error(), "quota is used up: Quota 'CPUS' exceeded. Limit: 24.0 in region us-central1") || fault.HintOf(err) == "" {
		t.Errorf("%v, hint %q", err, fault.HintOf(err))
	}
}

func TestSuspendedMachinesAreResumed(t *testing.T) {
	s := newStub(t)
	d := New(quick(t))
	m := machineOn(t, s, "web")
	create(t, d, m)
	s.mu.Lock()
	s.objects[zone+"instances/web"]["status"] = "SUSPENDED"
	s.mu.Unlock()
	if seen, err := d.Inspect(t.Context(), m); err != nil || seen.Power != driver.Saved {
		t.Errorf("%+v %v", seen, err)
	}
	if on, err := d.Start(t.Context(), m); err != nil || on.Power != driver.Running || s.asked(func(r string) bool { return strings.HasSuffix(r, "/resume") }) != 1 {
		t.Errorf("%+v %v", on, err)
	}
}

func TestOrphansAreListedAndRemovedWhereverTheyAre(t *testing.T) {
	s := newStub(t)
	d := New(quick(t))
	create(t, d, machineOn(t, s, "web", "google-reserve-address", "true"))
	create(t, d, machineOn(t, s, "far", "google-zone", "us-east1-b"))
	s.set("zones/us-east1-b/disks/lone", object{"labels": map[string]any{"mctl-controller": "c1c1c1c1", "mctl-machine": "uid-lone"}})
	s.set("regions/us-east1/addresses/bare", object{"description": "mctl-controller=c1c1c1c1 mctl-machine=uid-bare"})
	s.set("zones/us-east1-b/instances/foreign", object{"labels": map[string]any{"mctl-controller": "ffffffff", "mctl-machine": "x"}})
	s.set("regions/us-east1/addresses/foreign", object{})
	m := machineOn(t, s, "")
	d = New(quick(t)) // who made them is gone
	found, err := d.List(t.Context(), m)
	var names []string
	for _, r := range found {
		names = append(names, r.Kind+" "+r.ID+" "+r.Location+" "+r.Machine)
	}
	want := []string{
		"instance web us-central1-a uid-web", "instance far us-east1-b uid-far", "disk web-disk us-central1-a uid-web", "disk far-disk us-east1-b uid-far", "disk lone us-east1-b uid-lone",
		"address web-address us-central1 uid-web", "address bare us-east1 uid-bare",
	}
	if err != nil || len(found) != len(want)+2 || !slices.Equal(names[:len(want)], want) {
		t.Fatalf("%v %v", names, err)
	}
	for _, r := range found {
		if err := d.Remove(t.Context(), m, r); err != nil {
			t.Errorf("%s: %v", r.ID, err)
		}
	}
	if left, err := d.List(t.Context(), m); err != nil || len(left) > 0 {
		t.Errorf("left %v %v", left, err)
	}
	for _, r := range []driver.Resource{
		{Kind: "instance", ID: "foreign", Location: "us-east1-b", Machine: "x"}, {Kind: "address", ID: "foreign", Location: "us-east1"},
		{Kind: "firewall", ID: "default-allow-ssh"}, {Kind: "bucket", ID: "b"},
	} {
		if err := d.Remove(t.Context(), m, r); !fault.Is(err, fault.Denied) && !fault.Is(err, fault.Invalid) {
			t.Errorf("%s %s was removed: %v", r.Kind, r.ID, err)
		}
	}
}

func TestAPlanSaysWhatWouldBeMadeAndMakesNothing(t *testing.T) {
	s := newStub(t)
	lines, err := New(quick(t)).Plan(t.Context(), machineOn(t, s, "web", "google-spot", "true", "google-tags", "lonely", "google-reserve-address", "true"))
	text := strings.Join(lines, "\n")
	for _, want := range []string{"instance web (e2-medium, spot) in zone us-central1-a of project proj", "disk web-disk (pd-standard, 10 GB)", "address web-address", "2376/tcp", "0.0.0.0/0", "warning: no ingress rule", "lonely"} {
		if !strings.Contains(text, want) {
			t.Errorf("want %q in\n%s", want, text)
		}
	}
	if err != nil || len(s.list()) > 0 {
		t.Errorf("%v, made %v", err, s.list())
	}
}

func TestFiftyAtOnceDoNotWaitForEachOther(t *testing.T) {
	const machines, latency, rps = 50, 100 * time.Millisecond, 100
	s := newStub(t)
	var now, peak atomic.Int64 // requests under way
	slow := func(_ http.ResponseWriter, r *http.Request, _ string) bool {
		n := now.Add(1)
		defer now.Add(-1)
		for most := peak.Load(); n > most && !peak.CompareAndSwap(most, n); most = peak.Load() {
		}
		timer := time.NewTimer(latency)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-r.Context().Done():
		}
		return false
	}
	s.answer = slow
	config := quick(t)
	config.Rate, config.Burst = rps, 60
	d := New(config)
	make := func(name string) time.Duration {
		m := machineOn(t, s, name)
		start := time.Now()
		if err := d.Preflight(t.Context(), m); err != nil {
			t.Error(err)
		}
		if _, err := d.Create(t.Context(), m); err != nil {
			t.Error(err)
		}
		return time.Since(start)
	}
	alone := make("alone")
	var all sync.WaitGroup
	start := time.Now()
	for i := range machines {
		all.Go(func() { make(fmt.Sprintf("web-%d", i)) })
	}
	all.Wait()
	together := time.Since(start)
	asked := s.asked(func(string) bool { return true })
	t.Logf("one alone %s, %d together %s, %d requests", alone, machines, together, asked)
	if len(instances(s)) != machines+1 {
		t.Errorf("%d instances", len(instances(s)))
	}
	if least := time.Duration(float64(asked-60-20)/rps*float64(time.Second)) - alone; together < least {
		t.Errorf("together %s, which is faster than %d requests a second allow", together, rps)
	}
	if few := int64(rps*latency/time.Second) / 2; peak.Load() < few { // twice as many are under way when nothing but the rate holds them up
		t.Errorf("at most %d requests were under way at a time, want %d or more", peak.Load(), few)
	}
}

func TestOneThatNeverComesUpIsTold(t *testing.T) {
	s := newStub(t)
	config := quick(t)
	config.OperationLimit = 50 * time.Millisecond
	m := machineOn(t, s, "web")
	create(t, New(quick(t)), m)
	s.mu.Lock()
	s.objects[zone+"instances/web"]["status"] = "STAGING"
	s.mu.Unlock()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if _, err := New(config).Create(ctx, m); !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "still STAGING after") {
		t.Errorf("%v", err)
	}
}
