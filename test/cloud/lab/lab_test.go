package lab_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"mctl/test/cloud/lab"
)

func TestAnAddressChangesOnStopAndStartUnlessItIsReserved(t *testing.T) {
	w := newWorld(t, lab.Config{})
	w.must(w.admit("reserve", "fixed").ReserveAddress(lab.Address{Record: lab.Record{Ref: named("fixed")}}, lab.Operation{}))
	reserved, err := w.Address(named("fixed"))
	if err != nil {
		t.Fatal(err)
	}
	fixed := spec("fixed")
	fixed.Address = reserved.Ref
	w.must(w.admit("create", "fixed").CreateInstance(fixed, lab.Operation{}))
	before := w.create("moving")
	for _, name := range []string{"fixed", "moving"} {
		w.must(w.admit("stop", name).StopInstance(named(name), false, lab.Operation{}))
	}
	if off := w.get("moving"); off.State != lab.Stopped || off.Public.IsValid() || off.Private != before.Private {
		t.Errorf("off: %+v", off)
	}
	if off := w.get("fixed"); off.Public != reserved.IP {
		t.Errorf("a reserved address was taken away: %+v", off)
	}
	for _, name := range []string{"fixed", "moving"} {
		w.must(w.admit("start", name).StartInstance(named(name), lab.Operation{}))
	}
	if on := w.get("moving"); on.State != lab.Running || !on.Public.IsValid() || on.Public == before.Public || on.Private != before.Private {
		t.Errorf("before %+v, after %+v", before, on)
	}
	if on := w.get("fixed"); on.Public != reserved.IP {
		t.Errorf("want %s, got %+v", reserved.IP, on)
	}
	if _, err := w.admit("release", "fixed").ReleaseAddress(reserved.Ref, lab.Operation{}); lab.KindOf(err) != lab.InUse {
		t.Errorf("an address in use was released: %v", err)
	}
	for _, name := range []string{"fixed", "moving"} {
		w.must(w.admit("delete", name).DeleteInstance(named(name), lab.Operation{}))
	}
	w.must(w.admit("release", "fixed").ReleaseAddress(reserved.Ref, lab.Operation{}))
	w.nothingLeft()
}

func TestADiskOutlivesItsInstanceUnlessItGoesWithIt(t *testing.T) {
	w := newWorld(t, lab.Config{})
	kept := spec("web")
	kept.Disks[0].AutoDelete = false
	w.must(w.admit("create", "web").CreateInstance(kept, lab.Operation{}))
	if _, err := w.admit("delete", "disk").DeleteDisk(named("web-disk"), lab.Operation{}); lab.KindOf(err) != lab.InUse {
		t.Errorf("a disk in use was deleted: %v", err)
	}
	w.must(w.admit("delete", "web").DeleteInstance(named("web"), lab.Operation{}))
	if left := w.Leftovers(); len(left) != 1 || left[0].Kind != "disk" || left[0].Name != "web-disk" {
		t.Fatalf("left: %+v", left)
	}
	if _, err := w.admit("create", "web").CreateInstance(kept, lab.Operation{}); lab.KindOf(err) != lab.Exists {
		t.Errorf("a disk was made twice: %v", err)
	}
	kept.Disks[0].New, kept.Disks[0].AutoDelete = false, true
	w.must(w.admit("create", "web").CreateInstance(kept, lab.Operation{}))
	w.must(w.admit("delete", "web").DeleteInstance(named("web"), lab.Operation{}))
	w.nothingLeft()
}

func TestWishesThatCannotBeFulfilledLeaveNothing(t *testing.T) {
	w := newWorld(t, lab.Config{})
	one := w.create("one")
	for name, c := range map[string]struct {
		change func(*lab.InstanceSpec)
		want   lab.Kind
	}{
		"same name":      {func(s *lab.InstanceSpec) { s.Ref = one.Ref }, lab.Exists},
		"no subnet":      {func(s *lab.InstanceSpec) { s.Subnet = named("nowhere") }, lab.NotFound},
		"no disk":        {func(s *lab.InstanceSpec) { s.Disks[0].New = false }, lab.NotFound},
		"disk in use":    {func(s *lab.InstanceSpec) { s.Disks[0].New, s.Disks[0].Ref = false, one.Disks[0].Disk }, lab.InUse},
		"no address":     {func(s *lab.InstanceSpec) { s.Address = named("nothing") }, lab.NotFound},
		"private taken":  {func(s *lab.InstanceSpec) { s.Wish = one.Private }, lab.Invalid},
		"outside subnet": {func(s *lab.InstanceSpec) { s.Wish = one.Public }, lab.Invalid},
	} {
		s := spec("two")
		c.change(&s)
		if _, err := w.admit("create", "two").CreateInstance(s, lab.Operation{}); lab.KindOf(err) != c.want {
			t.Errorf("%s: want %s, got %v", name, c.want, err)
		}
	}
	w.must(w.admit("delete", "one").DeleteInstance(one.Ref, lab.Operation{}))
	w.nothingLeft()
}

func TestATokenMakesOneOfManyCalls(t *testing.T) {
	w := newWorld(t, lab.Config{})
	names := make(chan string, 8)
	var all sync.WaitGroup
	for range cap(names) {
		all.Go(func() {
			o, err := w.Once(t.Context(), "token", func() (lab.Operation, error) {
				return w.admit("create", "web").CreateInstance(spec("web"), lab.Operation{})
			})
			if err != nil {
				t.Error(err)
			}
			names <- o.Name
		})
	}
	all.Wait()
	close(names)
	first := <-names
	for name := range names {
		if name != first {
			t.Errorf("operations %s and %s", first, name)
		}
	}
	if len(w.Instances(t.Context())) != 1 {
		t.Error("there is not one instance")
	}
	// What was refused may be tried again with the same token.
	refused := func() (lab.Operation, error) {
		return w.admit("create", "web").CreateInstance(spec("web"), lab.Operation{})
	}
	if _, err := w.Once(t.Context(), "other", refused); lab.KindOf(err) != lab.Exists {
		t.Error(err)
	}
	if _, err := w.Once(t.Context(), "other", func() (lab.Operation, error) {
		return w.admit("create", "two").CreateInstance(spec("two"), lab.Operation{})
	}); err != nil {
		t.Error(err)
	}
}

func TestFiftyCreatesAtOnceDoNotWaitForEachOther(t *testing.T) {
	const latency = 200 * time.Millisecond
	w := newWorld(t, lab.Config{Latency: latency})
	began := time.Now()
	var all sync.WaitGroup
	for n := range 50 {
		all.Go(func() { w.create(fmt.Sprintf("host-%d", n)) })
	}
	all.Wait()
	if took := time.Since(began); took < latency || took > 25*latency { // one after the other it would be 50
		t.Errorf("it took %s", took)
	}
	var addresses []string
	for _, i := range w.Instances(t.Context()) {
		addresses = append(addresses, i.Public.String(), i.Private.String())
	}
	slices.Sort(addresses)
	if unique := slices.Compact(addresses); len(unique) != 100 {
		t.Errorf("fifty instances have %d addresses", len(unique))
	}
}

func TestSubnetsOfANetworkDoNotOverlap(t *testing.T) {
	w := newWorld(t, lab.Config{})
	there, err := w.Subnet(subnet)
	if err != nil {
		t.Fatal(err)
	}
	again := lab.Subnet{Record: lab.Record{Ref: named("again")}, Network: network, Range: there.Range}
	if _, err := w.admit("create", "again").CreateSubnet(again, lab.Operation{}); lab.KindOf(err) != lab.Invalid {
		t.Errorf("two subnets have %s: %v", there.Range, err)
	}
	if _, err := w.admit("delete", "net").DeleteNetwork(network, lab.Operation{}); lab.KindOf(err) != lab.InUse {
		t.Errorf("a network went before its subnets: %v", err)
	}
	w.create("web")
	if _, err := w.admit("delete", "sub").DeleteSubnet(subnet, lab.Operation{}); lab.KindOf(err) != lab.InUse {
		t.Errorf("a subnet went before its instances: %v", err)
	}
}
