package api

import (
	"fmt"
	"testing"

	"google.golang.org/protobuf/proto"

	machines "mctl/internal/controller/machine"
	controllerv1 "mctl/proto/mctl/controller/v1"
)

// BenchmarkListMachines is a page of a thousand records, from the store to the bytes that go over the wire.
func BenchmarkListMachines(b *testing.B) {
	w := newWorld(b)
	for i := range maxPage {
		name := fmt.Sprint("machine", i)
		if _, err := w.service.Create(b.Context(), "", name, machines.Spec{Driver: "pretend"}, false); err != nil {
			b.Fatal(err)
		}
	}
	handler := &machineService{server: w.server}
	b.ReportAllocs()
	for b.Loop() {
		response, err := handler.ListMachines(b.Context(), &controllerv1.ListMachinesRequest{View: controllerv1.MachineView_MACHINE_VIEW_BASIC})
		if err != nil {
			b.Fatal(err)
		}
		encoded, err := proto.Marshal(response)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(len(encoded)), "bytes")
	}
}
