package controller

import (
	"context"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"mctl/internal/controller/agentlink"
	"mctl/internal/controller/driver"
	"mctl/internal/controller/driver/fake"
	"mctl/internal/controller/event"
	"mctl/internal/controller/machine"
	"mctl/internal/controller/reconcile"
	"mctl/internal/controller/sshlink"
	"mctl/internal/controller/store/bolt"
	"mctl/internal/controller/store/seal"
	"mctl/internal/fault"
)

// forgetful has no room, and each time tells something else about the host.
type forgetful struct {
	*fake.Driver
	tries atomic.Int32
}

func (f *forgetful) Create(context.Context, driver.Machine) (driver.Instance, error) {
	n := f.tries.Add(1)
	return driver.Instance{State: []byte(strconv.Itoa(int(n)))}, fault.New("forgetful", fault.Quota, "", "no room")
}

// What the loop itself stored is no reason to step at once, or no pause after a failure would last; an edit is one.
func TestOnlyWhatSomebodyAsksForCutsAPauseShort(t *testing.T) {
	directory := t.TempDir()
	store, err := bolt.Open(t.Context(), bolt.Config{Path: filepath.Join(directory, "store.db")})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	sealer, err := seal.Open(filepath.Join(directory, "seal.key"), "")
	if err != nil {
		t.Fatal(err)
	}
	made := &forgetful{Driver: fake.New(new(fake.Cloud))}
	service, err := machine.New(machine.Config{
		Store: store, Sealer: sealer, Drivers: drivers{own: map[string]driver.Driver{"forgetful": made}}, Events: event.NewJournal(time.Now()), Logger: hclog.NewNullLogger(), Now: time.Now,
		Hosts: agentlink.New(agentlink.Config{}), Tunnels: sshlink.New(sshlink.Config{}),
	})
	if err != nil {
		t.Fatal(err)
	}
	loop := reconcile.New(reconcile.Config{
		Step: service.Step, Keys: service.Names, Logger: hclog.NewNullLogger(), FirstPause: time.Minute,
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 2)
	go func() { done <- loop.Run(ctx) }()
	go func() { done <- follow(ctx, service, loop) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	if _, err := service.Create(t.Context(), "", "web", machine.Spec{Driver: "forgetful"}, false); err != nil {
		t.Fatal(err)
	}
	tries := func(want int32) {
		t.Helper()
		deadline, tick := time.After(10*time.Second), time.NewTicker(10*time.Millisecond)
		defer tick.Stop()
		for made.tries.Load() < want {
			select {
			case <-tick.C:
			case <-deadline:
				t.Fatalf("%d tries, want %d", made.tries.Load(), want)
			}
		}
		<-time.After(300 * time.Millisecond)
		if n := made.tries.Load(); n != want {
			t.Fatalf("%d tries, want %d and then a pause", n, want)
		}
	}
	tries(1)
	if _, err := service.Edit(t.Context(), "", "retry", "web", 0, func(s *machine.Spec) { s.Retry++ }); err != nil {
		t.Fatal(err)
	}
	tries(2)
}
