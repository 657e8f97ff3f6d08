// Package drivertest is what every driver must do, whatever makes its hosts: each act may be repeated, a Create cut short
// makes one host in the end, a lost host is told, and Delete leaves nothing.
package drivertest

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"mctl/internal/controller/driver"
	"mctl/internal/fault"
)

// Harness is a driver over an empty world of its own.
type Harness struct {
	// New returns a driver value over the world. Each call is a controller that starts anew.
	New func() driver.Driver
	// Machine is a machine to make: controller, options and keys. The suite sets UID and name.
	Machine driver.Machine
	// List names everything that there is in the world on behalf of hosts: instances, and whatever is made besides. It must
	// ask the world, not the driver.
	List func(ctx context.Context) ([]string, error)
	// Vanish destroys a host behind the driver's back. Nil where that is impossible.
	Vanish func(ctx context.Context, m driver.Machine) error
	// Vanished is what a host that Vanish destroyed counts as: fault.NotFound for gone, empty for off.
	Vanished fault.Kind
	// Mute has the host of a machine, which is not there yet, never finish booting. Nil where the driver does not wait for that,
	// or where it is impossible.
	Mute func(m driver.Machine)
	// Faults injects faults into the world; nil where that is impossible.
	Faults Faults
	// Instances counts the hosts among what List names; nil to count every line.
	Instances func(line string) bool
	// NewAddress is set where a host has another address after it was stopped and started.
	NewAddress bool
	// CreateTime is about how long a Create takes. It is cut short at moments spread over it.
	CreateTime time.Duration
}

// Faults lets a world fail.
type Faults interface {
	// Inject has the next requests of the world that belong to an act fail.
	Inject(act Act, f Fault, times int)
	// Fill lets the world have no room for another host, until Heal.
	Fill()
	// Heal ends what Inject and Fill began.
	Heal()
}

// Act is what the driver is asked to do when a fault strikes.
type Act string

// The acts.
const (
	Create  Act = "create"
	Inspect Act = "inspect"
	Start   Act = "start"
	Stop    Act = "stop"
	Delete  Act = "delete"
)

// Fault is how a request fails.
type Fault string

// The faults.
const (
	Throttled   Fault = "throttled"   // HTTP 429
	Unavailable Fault = "unavailable" // HTTP 503
	Timeout     Fault = "timeout"     // no answer, nothing done
	LostAnswer  Fault = "lost answer" // done, but no answer
)

// limit bounds one call.
const limit = 5 * time.Minute

// Run checks a driver. It asks for a new world for each test.
func Run(t *testing.T, world func(t *testing.T) Harness) {
	for _, c := range []struct {
		name string
		test func(*suite)
	}{
		{"what it says of itself holds", (*suite).describes},
		{"each act twice is once", (*suite).repeats},
		{"a new driver value and old state go on", (*suite).forgets},
		{"create cut short makes one host", (*suite).cutShort},
		{"delete during create leaves nothing", (*suite).deletedEarly},
		{"stop, start and restart", (*suite).power},
		{"a host that vanished is told and can be deleted", (*suite).vanishes},
		{"a host that never boots is told and can be deleted", (*suite).mute},
		{"two hosts do not get in each other's way", (*suite).two},
		{"a list has the controller's hosts", (*suite).lists},
		{"passing faults are said to be passing", (*suite).faults},
		{"no room is said to be no room", (*suite).full},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := &suite{T: t, h: world(t)}
			s.d = s.h.New()
			s.nothing("before")
			c.test(s)
			s.nothing("after")
		})
	}
}

type suite struct {
	*testing.T
	h Harness
	d driver.Driver
}

// machine is one to make. Whatever the test comes to, it is deleted at its end.
func (s *suite) machine(name string) driver.Machine {
	m := s.h.Machine
	m.UID, m.Name = "uid-"+name, name
	m.Progress = func(line string) { s.Logf("%s: %s", name, line) }
	s.Cleanup(func() {
		if s.Failed() {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(s.Context()), limit)
			defer cancel()
			if err := s.h.New().Delete(ctx, m); err != nil {
				s.Logf("clean up: %v", err)
			}
		}
	})
	return m
}

// call bounds one call.
func (s *suite) call() (context.Context, context.CancelFunc) {
	return context.WithTimeout(s.Context(), limit)
}

func (s *suite) create(m driver.Machine) driver.Instance {
	s.Helper()
	ctx, cancel := s.call()
	defer cancel()
	instance, err := s.d.Create(ctx, m)
	if err != nil {
		s.Fatalf("Create: %v", err)
	}
	return instance
}

func (s *suite) inspect(m driver.Machine) driver.Instance {
	s.Helper()
	ctx, cancel := s.call()
	defer cancel()
	instance, err := s.d.Inspect(ctx, m)
	if err != nil {
		s.Fatalf("Inspect: %v", err)
	}
	return instance
}

func (s *suite) delete(m driver.Machine) {
	s.Helper()
	ctx, cancel := s.call()
	defer cancel()
	if err := s.d.Delete(ctx, m); err != nil {
		s.Fatalf("Delete: %v", err)
	}
}

func (s *suite) start(m driver.Machine) driver.Instance {
	s.Helper()
	ctx, cancel := s.call()
	defer cancel()
	instance, err := s.d.Start(ctx, m)
	if err != nil {
		s.Fatalf("Start: %v", err)
	}
	return instance
}

func (s *suite) stop(m driver.Machine, force bool) driver.Instance {
	s.Helper()
	ctx, cancel := s.call()
	defer cancel()
	instance, err := s.d.Stop(ctx, m, force)
	if err != nil {
		s.Fatalf("Stop: %v", err)
	}
	return instance
}

// hosts counts the hosts in the world.
func (s *suite) hosts() int {
	s.Helper()
	count := 0
	for _, line := range s.list() {
		if s.h.Instances == nil || s.h.Instances(line) {
			count++
		}
	}
	return count
}

func (s *suite) list() []string {
	s.Helper()
	found, err := s.h.List(context.WithoutCancel(s.Context()))
	if err != nil {
		s.Fatalf("List: %v", err)
	}
	return found
}

func (s *suite) nothing(when string) {
	s.Helper()
	if left := s.list(); len(left) > 0 {
		s.Errorf("%s the test there is:\n%s", when, strings.Join(left, "\n"))
	}
}

// on checks what an instance that is on must tell.
func (s *suite) on(instance driver.Instance) {
	s.Helper()
	if instance.Power != driver.Running || instance.ID == "" || len(instance.Addresses) == 0 || instance.Addresses[0] == "" {
		s.Errorf("want a running instance with id and address, got %+v", instance)
	}
	if instance.SSH.Address != "" && (instance.SSH.User == "" || instance.SSH.Port == 0 || !slices.Contains(instance.Addresses, instance.SSH.Address)) {
		s.Errorf("SSH needs user, port and one of %v: %+v", instance.Addresses, instance.SSH)
	}
}
