package drivertest

import (
	"cmp"
	"reflect"
	"testing"

	"mctl/internal/controller/driver"
	"mctl/internal/fault"
)

// Adoption is a driver of hosts that were there before, and one such host.
type Adoption struct {
	// New returns a driver value. Each call is a controller that starts anew.
	New func() driver.Driver
	// Machine is one whose options name a host that is there and answers.
	Machine driver.Machine
	// There reports whether the host is there and as it was.
	There func() bool
	// Silence has the host answer no more.
	Silence func()
}

// RunAdopter checks a driver whose hosts were there before: it makes nothing, takes nothing, and leaves them as they are. It
// asks for a new world for each test.
func RunAdopter(t *testing.T, world func(t *testing.T) Adoption) {
	for _, c := range []struct {
		name string
		test func(*adoption)
	}{
		{"what it says of itself holds", (*adoption).describes},
		{"each act twice is once", (*adoption).repeats},
		{"a host that is silent is not taken for gone", (*adoption).silent},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := world(t)
			s := &adoption{
				suite: suite{T: t, h: Harness{New: a.New, Machine: a.Machine}, d: a.New()}, world: a,
			}
			s.m = a.Machine
			s.m.UID, s.m.Name = "uid-adopted", cmp.Or(s.m.Name, "adopted")
			s.m.Progress = func(line string) { s.Log(line) }
			c.test(s)
		})
	}
}

type adoption struct {
	suite
	world Adoption
	m     driver.Machine
}

func (s *adoption) describes() {
	s.speaks()
	ctx, cancel := s.call()
	defer cancel()
	if err := s.d.Preflight(ctx, s.m); err != nil {
		s.Errorf("Preflight: %v", err)
	}
	if s.d.Info().Rank != 0 {
		s.Error("a driver that needs a host must not be chosen unasked")
	}
	target, err := s.d.(driver.Adopter).Target(s.m)
	if made := s.create(s.m); err != nil || !reflect.DeepEqual(target.SSH, made.SSH) || target.EnginePort != made.Port {
		s.Errorf("Target says %+v %v, Create %+v", target, err, made)
	}
}

func (s *adoption) repeats() {
	first := s.create(s.m)
	s.on(first)
	s.m.State = first.State
	s.d = s.h.New()
	for what, again := range map[string]driver.Instance{"Create": s.create(s.m), "Inspect": s.inspect(s.m), "Start": s.start(s.m)} {
		if !reflect.DeepEqual(again, first) {
			s.Errorf("%s: first %+v, then %+v", what, first, again)
		}
	}
	ctx, cancel := s.call()
	defer cancel()
	for _, force := range []bool{false, true} {
		if _, err := s.d.Stop(ctx, s.m, force); !fault.Is(err, fault.Precondition) || fault.HintOf(err) == "" {
			s.Errorf("Stop with force %t: %v", force, err)
		}
	}
	for range 2 {
		s.delete(s.m)
	}
	if !s.world.There() {
		s.Error("the host is not as it was")
	}
}

func (s *adoption) silent() {
	first := s.create(s.m)
	s.world.Silence()
	if seen := s.inspect(s.m); seen.ID != first.ID || seen.Power != driver.Unknown {
		s.Errorf("Inspect: %+v", seen)
	}
	ctx, cancel := s.call()
	defer cancel()
	if _, err := s.d.Start(ctx, s.m); !fault.Is(err, fault.Precondition) || fault.HintOf(err) == "" {
		s.Errorf("Start: %v", err)
	}
	s.delete(s.m)
}
