package lab_test

import (
	"context"
	"testing"
	"time"

	"go.uber.org/goleak"

	"mctl/test/cloud/lab"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a cloud of records with one network.
type world struct {
	*testing.T
	*lab.Lab
}

var network, subnet = named("net"), named("sub")

func named(name string) lab.Ref { return lab.Ref{Scope: "here/zone", Name: name} }

func newWorld(t *testing.T, config lab.Config) *world {
	t.Helper()
	l, err := lab.New(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t, l}
	t.Cleanup(func() {
		if err := l.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	w.must(l.Setup().CreateNetwork(lab.Network{Record: lab.Record{Ref: network}}, lab.Operation{}))
	w.must(l.Setup().CreateSubnet(lab.Subnet{Record: lab.Record{Ref: subnet}, Network: network}, lab.Operation{}))
	l.Seal()
	return w
}

func (w *world) admit(name, subject string) *lab.Call {
	w.Helper()
	c, err := w.Admit(w.Context(), name, "here/zone", subject)
	if err != nil {
		w.Fatalf("%s of %s: %v", name, subject, err)
	}
	return c
}

// end waits for an operation.
func (w *world) end(o lab.Operation, err error) lab.Operation {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
	if o, err = w.WaitOperation(w.Context(), o.Ref, 10*time.Second); err != nil || o.Ended.IsZero() {
		w.Fatalf("operation %s does not end: %v", o.Name, err)
	}
	return o
}

func (w *world) must(o lab.Operation, err error) {
	w.Helper()
	if o = w.end(o, err); o.Err != nil {
		w.Fatalf("operation failed: %v", o.Err)
	}
}

func spec(name string) lab.InstanceSpec {
	var s lab.InstanceSpec
	s.Ref, s.Subnet, s.HasPublic = named(name), subnet, true
	s.Disks = []lab.DiskSpec{{Disk: lab.Disk{Record: lab.Record{Ref: named(name + "-disk")}}, New: true, Boot: true, AutoDelete: true}}
	return s
}

func (w *world) create(name string) lab.Instance {
	w.Helper()
	w.must(w.admit("create", name).CreateInstance(spec(name), lab.Operation{}))
	return w.get(name)
}

func (w *world) get(name string) lab.Instance {
	w.Helper()
	i, err := w.Instance(w.Context(), named(name))
	if err != nil {
		w.Fatal(err)
	}
	return i
}

func (w *world) nothingLeft() {
	w.Helper()
	if left := w.Leftovers(); len(left) > 0 {
		w.Errorf("left: %+v", left)
	}
}
