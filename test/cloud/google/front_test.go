package google_test

import (
	"context"
	"errors"
	"net/http/httptest"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/api/compute/v1"
	"google.golang.org/api/googleapi"
	"google.golang.org/api/option"

	"mctl/test/cloud/google"
	"mctl/test/cloud/lab"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a cloud, and a client of the compute API that we did not write.
type world struct {
	*testing.T
	lab    *lab.Lab
	front  *google.Server
	client *compute.Service
	server *httptest.Server
	// expect says that requests are wrong on purpose, which are looked at by the test itself.
	expect bool
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
	w := &world{T: t, lab: l, front: front, client: client, server: server}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
		defer cancel()
		server.Close()
		if err := l.Close(ctx); err != nil {
			t.Errorf("close: %v", err)
		}
		if wrong := front.Undocumented(); len(wrong) > 0 && !w.expect {
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

// await waits for an operation, wherever it is.
func (w *world) await(o *compute.Operation, err error) *compute.Operation {
	w.Helper()
	for err == nil && o.Status != "DONE" {
		switch {
		case o.Zone != "":
			o, err = w.client.ZoneOperations.Wait(project, zone, o.Name).Context(w.Context()).Do()
		case o.Region != "":
			o, err = w.client.RegionOperations.Wait(project, region, o.Name).Context(w.Context()).Do()
		default:
			o, err = w.client.GlobalOperations.Wait(project, o.Name).Context(w.Context()).Do()
		}
	}
	if err != nil {
		w.Fatal(err)
	}
	return o
}

// refused checks how the API refuses.
func refused(t *testing.T, err error, code int, reason string) {
	t.Helper()
	var e *googleapi.Error
	if !errors.As(err, &e) || e.Code != code || len(e.Errors) == 0 || e.Errors[0].Reason != reason {
		t.Errorf("want %d %s, got %v", code, reason, err)
	}
}

func (w *world) get(name string) *compute.Instance {
	w.Helper()
	i, err := w.client.Instances.Get(project, zone, name).Do()
	if err != nil {
		w.Fatal(err)
	}
	return i
}

func (w *world) nothingLeft() {
	w.Helper()
	if left := w.lab.Leftovers(); len(left) > 0 {
		w.Errorf("left: %+v", left)
	}
}

func (w *world) must(o *compute.Operation, err error) {
	w.Helper()
	if o := w.await(o, err); o.Error != nil {
		w.Fatalf("operation failed: %+v", o.Error.Errors[0])
	}
}
