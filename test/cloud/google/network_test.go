package google_test

import (
	"slices"
	"testing"

	"google.golang.org/api/compute/v1"

	"mctl/test/cloud/google"
	"mctl/test/cloud/lab"
)

func TestTheLifeOfAFirewall(t *testing.T) {
	w := newWorld(t, lab.Config{}, google.Config{})
	rule := &compute.Firewall{
		Name: "docker", Network: "global/networks/default", TargetTags: []string{"docker-machine"}, Description: "ours",
		Allowed: []*compute.FirewallAllowed{{IPProtocol: "tcp", Ports: []string{"2376"}}},
	}
	w.must(w.client.Firewalls.Insert(project, rule).Do())
	f, err := w.client.Firewalls.Get(project, "docker").Do()
	if err != nil || f.Priority != 1000 || f.Direction != "INGRESS" || !slices.Equal(f.SourceRanges, []string{"0.0.0.0/0"}) {
		t.Errorf("%+v %v", f, err)
	}
	// Patch keeps what it does not name; update does not.
	w.must(w.client.Firewalls.Patch(project, "docker", &compute.Firewall{
		Name: "docker", Allowed: []*compute.FirewallAllowed{{IPProtocol: "tcp", Ports: []string{"2376", "3376"}}},
	}).Do())
	if f, err = w.client.Firewalls.Get(project, "docker").Do(); err != nil || len(f.Allowed[0].Ports) != 2 || f.Description != "ours" || len(f.TargetTags) != 1 {
		t.Errorf("%+v %v", f, err)
	}
	w.must(w.client.Firewalls.Update(project, "docker", &compute.Firewall{
		Name: "docker", Network: f.Network, Priority: 500, SourceRanges: []string{"203.0.113.0/24"}, Allowed: f.Allowed,
	}).Do())
	if f, err = w.client.Firewalls.Get(project, "docker").Do(); err != nil || f.Description != "" || f.Priority != 500 || len(f.TargetTags) > 0 || f.SourceRanges[0] != "203.0.113.0/24" {
		t.Errorf("%+v %v", f, err)
	}
	_, err = w.client.Firewalls.Insert(project, rule).Do()
	refused(t, err, 409, "alreadyExists")
	for name, change := range map[string]func(*compute.Firewall){
		"protocol": func(f *compute.Firewall) { f.Allowed[0].IPProtocol = "tcpip" },
		"ports":    func(f *compute.Firewall) { f.Allowed[0].Ports = []string{"9-1"} },
		"range":    func(f *compute.Firewall) { f.SourceRanges = []string{"10.0.0.1/8"} },
		"nothing":  func(f *compute.Firewall) { f.Allowed = nil },
		"egress":   func(f *compute.Firewall) { f.Direction = "EGRESS" },
		"both":     func(f *compute.Firewall) { f.Denied = []*compute.FirewallDenied{{IPProtocol: "udp"}} },
	} {
		bad := &compute.Firewall{Name: "bad", Allowed: []*compute.FirewallAllowed{{IPProtocol: "tcp", Ports: []string{"1"}}}}
		change(bad)
		_, err := w.client.Firewalls.Insert(project, bad).Do()
		t.Log(name, ": ", err)
		refused(t, err, 400, "invalid")
	}
	w.must(w.client.Firewalls.Delete(project, "docker").Do())
	_, err = w.client.Firewalls.Get(project, "docker").Do()
	refused(t, err, 404, "notFound")
	w.nothingLeft()
}

func TestNetworksOfOnesOwn(t *testing.T) {
	w := newWorld(t, lab.Config{}, google.Config{})
	w.must(w.client.Networks.Insert(project, &compute.Network{Name: "own", ForceSendFields: []string{"AutoCreateSubnetworks"}}).Do())
	i := instance("web")
	i.NetworkInterfaces[0].Network = "global/networks/own"
	_, err := w.client.Instances.Insert(project, zone, i).Do()
	refused(t, err, 400, "invalid") // it has no subnetwork for the instance
	w.must(w.client.Subnetworks.Insert(project, region, &compute.Subnetwork{Name: "own-sub", Network: "global/networks/own", IpCidrRange: "10.77.0.0/24"}).Do())
	i.NetworkInterfaces[0] = &compute.NetworkInterface{Subnetwork: "regions/us-central1/subnetworks/own-sub", NetworkIP: "10.77.0.9"}
	w.must(w.client.Instances.Insert(project, zone, i).Do())
	if got := w.get("web").NetworkInterfaces[0]; got.NetworkIP != "10.77.0.9" || len(got.AccessConfigs) > 0 {
		t.Errorf("%+v", got)
	}
	_, err = w.client.Subnetworks.Delete(project, region, "own-sub").Do()
	refused(t, err, 400, "resourceInUseByAnotherResource")
	_, err = w.client.Networks.Delete(project, "own").Do()
	refused(t, err, 400, "resourceInUseByAnotherResource")
	w.must(w.client.Instances.Delete(project, zone, "web").Do())
	w.must(w.client.Subnetworks.Delete(project, region, "own-sub").Do())
	w.must(w.client.Networks.Delete(project, "own").Do())

	w.must(w.client.Networks.Insert(project, &compute.Network{Name: "auto", AutoCreateSubnetworks: true}).Do())
	n, err := w.client.Networks.Get(project, "auto").Do()
	if err != nil || len(n.Subnetworks) != 3 {
		t.Errorf("%+v %v", n, err)
	}
	w.must(w.client.Networks.Delete(project, "auto").Do())
	w.nothingLeft()
}
