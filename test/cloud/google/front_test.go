package google_test

import (
	"context"
	"net/http/httptest"
	"testing"
	"time"

	"google.golang.org/api/compute/v1"
	"google.golang.org/api/option"

	"mctl/test/cloud/google"
	"mctl/test/cloud/lab"
)

// world is a cloud, and a client of the compute API that we did not write.
type world struct {
	*testing.T
	lab    *lab.Lab
	front  *google.Server
	client *compute.Service
}

const (
	project = "lab-project"
	zone    = "us-central1-a"
	region  = "us-central1"
)

func newWorld(t *testing.T, cloud lab.Config, config google.Config) *world {
	t.Helper()
	l, err := lab.New(t.Context(), cloud)
	if err != nil {
		t.Fatal(err)
	}
	front, err := google.New(t.Context(), l, config)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(front)
	client, err := compute.NewService(t.Context(), option.WithoutAuthentication(), option.WithEndpoint(server.URL+google.BasePath), option.WithHTTPClient(server.Client()))
	if err != nil {
		t.Fatal(err)
	}
	w := &world{T: t, lab: l, front: front, client: client}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
		defer cancel()
		server.Close()
		if err := l.Close(ctx); err != nil {
			t.Errorf("close: %v", err)
		}
		if wrong := front.Undocumented(); len(wrong) > 0 {
			t.Errorf("undocumented requests: %q", wrong)
		}
	})
	return w
}

// instance describes one as drivers do.
func instance(name string) *compute.Instance {
	return &compute.Instance{
		Name: name, MachineType: "zones/" + zone + "/machineTypes/e2-medium", Labels: map[string]string{"mctl-machine": name},
		Disks: []*compute.AttachedDisk{{Boot: true, AutoDelete: true, InitializeParams: &compute.AttachedDiskInitializeParams{
			SourceImage: "projects/debian-cloud/global/images/family/debian-12", DiskSizeGb: 10, DiskName: name + "-disk",
		}}},
		NetworkInterfaces: []*compute.NetworkInterface{{Network: "global/networks/default", AccessConfigs: []*compute.AccessConfig{{Type: "ONE_TO_ONE_NAT"}}}},
	}
}

// await waits for a zone's operation.
func (w *world) await(o *compute.Operation, err error) *compute.Operation {
	w.Helper()
	for err == nil && o.Status != "DONE" {
		o, err = w.client.ZoneOperations.Wait(project, zone, o.Name).Context(w.Context()).Do()
	}
	if err != nil {
		w.Fatal(err)
	}
	return o
}

func (w *world) must(o *compute.Operation, err error) {
	w.Helper()
	if o := w.await(o, err); o.Error != nil {
		w.Fatalf("operation failed: %+v", o.Error.Errors[0])
	}
}

func TestAnInstanceLives(t *testing.T) {
	w := newWorld(t, lab.Config{}, google.Config{})
	w.must(w.client.Instances.Insert(project, zone, instance("web")).Do())
	i, err := w.client.Instances.Get(project, zone, "web").Do()
	if err != nil || i.Status != "RUNNING" {
		t.Fatalf("%+v %v", i, err)
	}
	first := i.NetworkInterfaces[0].AccessConfigs[0].NatIP
	w.must(w.client.Instances.Stop(project, zone, "web").Do())
	if i, err = w.client.Instances.Get(project, zone, "web").Do(); err != nil || i.Status != "TERMINATED" || i.NetworkInterfaces[0].AccessConfigs[0].NatIP != "" {
		t.Errorf("%+v %v", i, err)
	}
	w.must(w.client.Instances.Start(project, zone, "web").Do())
	if i, err = w.client.Instances.Get(project, zone, "web").Do(); err != nil || i.Status != "RUNNING" || i.NetworkInterfaces[0].AccessConfigs[0].NatIP == first {
		t.Errorf("%+v %v", i, err)
	}
	w.must(w.client.Instances.Delete(project, zone, "web").Do())
	if left := w.lab.Leftovers(); len(left) > 0 {
		t.Errorf("left: %+v", left)
	}
}
