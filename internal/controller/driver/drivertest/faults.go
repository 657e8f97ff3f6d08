package drivertest

import (
	"mctl/internal/controller/driver"
	"mctl/internal/fault"
)

// faults has every act meet every fault: what is said may be tried again, and trying again works.
func (s *suite) faults() {
	if s.h.Faults == nil {
		s.Skip("no faults can be injected into this driver's world")
	}
	for _, f := range []Fault{Throttled, Unavailable, Timeout, LostAnswer} {
		m := s.machine("faulty")
		var made driver.Instance
		s.meets(Create, f, func() (err error) {
			ctx, cancel := s.call()
			defer cancel()
			made, err = s.d.Create(ctx, m)
			return err
		})
		if n := s.hosts(); n != 1 {
			s.Fatalf("%s at create, then repeated: %d hosts", f, n)
		}
		m.State = made.State
		ctx, cancel := s.call()
		s.meets(Inspect, f, func() error { _, err := s.d.Inspect(ctx, m); return err })
		s.meets(Stop, f, func() error { _, err := s.d.Stop(ctx, m, true); return err })
		s.meets(Start, f, func() error { _, err := s.d.Start(ctx, m); return err })
		s.on(s.inspect(m))
		s.meets(Delete, f, func() error { return s.d.Delete(ctx, m) })
		cancel()
		s.nothing(string(f) + " at delete; before the end of")
	}
}

// meets injects a fault and repeats an act until it works, as the controller does.
func (s *suite) meets(act Act, f Fault, do func() error) {
	s.Helper()
	s.h.Faults.Inject(act, f, 2)
	defer s.h.Faults.Heal()
	const patience = 10
	for range patience {
		err := do()
		if err == nil {
			return
		}
		if !fault.Retryable(err) {
			s.Fatalf("%s at %s became %s, which nobody tries again: %v", f, act, fault.KindOf(err), err)
		}
	}
	s.Fatalf("%s at %s did not pass", f, act)
}

func (s *suite) full() {
	if s.h.Faults == nil {
		s.Skip("this driver's world cannot be filled")
	}
	s.h.Faults.Fill()
	m := s.machine("one-too-many")
	ctx, cancel := s.call()
	defer cancel()
	if _, err := s.d.Create(ctx, m); !fault.Is(err, fault.Quota) {
		s.Errorf("Create without room: %v", err)
	}
	s.h.Faults.Heal()
	s.on(s.create(m))
	s.delete(m)
}
