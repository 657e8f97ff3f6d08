//go:build linux

package gcloud

import (
	"strings"
	"testing"

	"google.golang.org/api/compute/v1"
	"google.golang.org/api/option"

	"mctl/test/cloud/google"
)

func TestTheGoClientAndAnInstance(t *testing.T) {
	t.Parallel()
	w := newWorld(t, google.Config{})
	client, err := compute.NewService(t.Context(), option.WithoutAuthentication(), option.WithEndpoint(w.endpoint))
	if err != nil {
		t.Fatal(err)
	}
	must := func(o *compute.Operation, err error) {
		t.Helper()
		for err == nil && o.Status != "DONE" {
			if o.Zone != "" {
				o, err = client.ZoneOperations.Wait(project, zone, o.Name).Do()
			} else {
				o, err = client.GlobalOperations.Wait(project, o.Name).Do()
			}
		}
		if err != nil || o.Error != nil {
			t.Fatalf("%v %+v", err, o)
		}
	}
	get := func() *compute.Instance {
		t.Helper()
		i, err := client.Instances.Get(project, zone, "web").Do()
		if err != nil {
			t.Fatal(err)
		}
		return i
	}
	keys, script := "docker-user:"+w.key, "#!/bin/sh\nid -un >/root/started\n"
	must(client.Instances.Insert(project, zone, &compute.Instance{
		Name: "web", MachineType: "zones/" + zone + "/machineTypes/f1-micro", Tags: &compute.Tags{Items: []string{"docker-machine"}},
		Metadata: &compute.Metadata{Items: []*compute.MetadataItems{{Key: "ssh-keys", Value: &keys}, {Key: "startup-script", Value: &script}}},
		Disks: []*compute.AttachedDisk{{Boot: true, InitializeParams: &compute.AttachedDiskInitializeParams{
			DiskName: "web-disk", SourceImage: "projects/debian-cloud/global/images/family/debian-12",
		}}},
		NetworkInterfaces: []*compute.NetworkInterface{{Network: "global/networks/default", AccessConfigs: []*compute.AccessConfig{{Type: "ONE_TO_ONE_NAT"}}}},
	}).Do())
	i := get()
	nic := i.NetworkInterfaces[0]
	c := w.login(nic.AccessConfigs[0].NatIP, "docker-user")
	if got := w.run(c, "until sudo test -s /root/started; do sleep 0.1; done; sudo cat /root/started; echo kept >here"); got != "root" {
		t.Errorf("the startup script ran as %q", got)
	}
	w.serve(c, "2376")
	if reach(nic.AccessConfigs[0].NatIP, "2376") == nil {
		t.Error("a port is open without a rule")
	}
	if err := reach(nic.NetworkIP, "2376"); err != nil {
		t.Errorf("from inside of the network, which is let in: %v", err)
	}
	must(client.Firewalls.Insert(project, &compute.Firewall{
		Name: "docker-machines", TargetTags: []string{"docker-machine"}, Allowed: []*compute.FirewallAllowed{{IPProtocol: "tcp", Ports: []string{"2376"}}},
	}).Do())
	if err := reach(nic.AccessConfigs[0].NatIP, "2376"); err != nil {
		t.Errorf("with a rule: %v", err)
	}

	// A user who is added to the metadata may log in without a restart.
	more := keys + "\nlate:" + w.key
	must(client.Instances.SetMetadata(project, zone, "web", &compute.Metadata{
		Fingerprint: i.Metadata.Fingerprint, Items: []*compute.MetadataItems{{Key: "ssh-keys", Value: &more}},
	}).Do())
	w.login(nic.AccessConfigs[0].NatIP, "late")
	if said, err := client.Instances.GetSerialPortOutput(project, zone, "web").Do(); err != nil || !strings.Contains(said.Contents, "sshd") || said.Next != int64(len(said.Contents)) {
		t.Errorf("its console: %+v %v", said, err)
	}

	// The disk stays when the instance goes, and another instance boots from it.
	must(client.Instances.Delete(project, zone, "web").Do())
	must(client.Instances.Insert(project, zone, &compute.Instance{
		Name: "web", MachineType: "zones/" + zone + "/machineTypes/f1-micro", Metadata: &compute.Metadata{Items: []*compute.MetadataItems{{Key: "ssh-keys", Value: &keys}}},
		Disks:             []*compute.AttachedDisk{{Boot: true, AutoDelete: true, Source: "zones/" + zone + "/disks/web-disk"}},
		NetworkInterfaces: []*compute.NetworkInterface{{Network: "global/networks/default"}},
	}).Do())
	if got := w.run(w.login(get().NetworkInterfaces[0].NetworkIP, "docker-user"), "cat here"); got != "kept" {
		t.Errorf("the disk has %q", got)
	}
	must(client.Instances.Delete(project, zone, "web").Do())
	must(client.Firewalls.Delete(project, "docker-machines").Do())
}
