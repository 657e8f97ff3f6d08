package drivertest

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"mctl/internal/controller/driver"
	"mctl/internal/fault"
)

// speaks checks what a driver says of itself.
func (s *suite) speaks() {
	s.Helper()
	info := s.d.Info()
	if info.Name == "" || info.Summary == "" || info.Unusable != "" {
		s.Errorf("Info %+v", info)
	}
	for _, flag := range s.d.Flags() {
		ours := strings.HasPrefix(flag.Name, "plugin-") // how plugins are run
		if !ours && !strings.HasPrefix(flag.Name, info.Name+"-") || flag.Usage == "" || flag.Type == 0 || flag.Kind == 0 {
			s.Errorf("the flag %+v needs the driver's name in front, usage, type and kind", flag)
		}
	}
	if _, err := driver.Resolve(info.Name, s.d.Flags(), s.h.Machine.Options); err != nil {
		s.Errorf("the options do not fit the flags: %v", err)
	}
	if err := s.d.Validate(s.h.Machine.Options); err != nil {
		s.Errorf("Validate: %v", err)
	}
}

func (s *suite) describes() {
	s.speaks()
	ctx, cancel := s.call()
	defer cancel()
	for range 2 {
		if err := s.d.Preflight(ctx, s.machine("checked")); err != nil {
			s.Errorf("Preflight: %v", err)
		}
	}
	s.nothing("a pre-check makes nothing; before the end of")
}

func (s *suite) repeats() {
	m := s.machine("twice")
	first := s.create(m)
	s.on(first)
	m.State = first.State
	second := s.create(m)
	s.on(second)
	if second.ID != first.ID || s.hosts() != 1 {
		s.Errorf("the second Create made another: %+v, then %+v, %d hosts", first, second, s.hosts())
	}
	for range 2 {
		if seen := s.inspect(m); seen.ID != first.ID || seen.Power != driver.Running {
			s.Errorf("Inspect tells %+v of %+v", seen, first)
		}
		s.on(s.start(m))
	}
	for range 2 {
		if off := s.stop(m, true); off.Power != driver.Stopped {
			s.Errorf("after Stop it is %s", off.Power)
		}
	}
	for range 2 {
		s.delete(m)
		s.nothing("after Delete; before the end of")
	}
}

func (s *suite) forgets() {
	m := s.machine("forgotten")
	first := s.create(m)
	s.d = s.h.New()
	// A crash after Create loses the state: the host is found by its labels.
	again := s.create(m)
	if again.ID != first.ID || s.hosts() != 1 {
		s.Errorf("another controller made another host: %+v, then %+v", first, again)
	}
	old := m
	old.State = first.State
	s.stop(old, true)
	s.d = s.h.New()
	s.on(s.start(old)) // with the oldest state there is
	if seen := s.inspect(m); seen.ID != first.ID {
		s.Errorf("without state it is %+v", seen)
	}
	s.d = s.h.New()
	s.delete(m)
}

func (s *suite) cutShort() {
	const moments = 8
	for i := range moments {
		m := s.machine("cut")
		ctx, cancel := context.WithTimeout(s.Context(), s.h.CreateTime*time.Duration(i)/(moments-2))
		early, err := s.d.Create(ctx, m)
		cancel()
		if err != nil && !fault.Retryable(err) {
			s.Errorf("cut short, Create says %s: %v", fault.KindOf(err), err)
		}
		m.State = early.State
		s.d = s.h.New()
		s.on(s.create(m))
		if n := s.hosts(); n != 1 {
			s.Errorf("cut short at moment %d, then repeated: %d hosts", i, n)
		}
		s.delete(m)
	}
}

func (s *suite) deletedEarly() {
	const moments = 6
	for i := range moments {
		m := s.machine("early")
		ctx, cancel := context.WithTimeout(s.Context(), s.h.CreateTime*time.Duration(i)/(moments-1))
		_, _ = s.d.Create(ctx, m)
		cancel()
		s.d = s.h.New()
		s.delete(m)
		s.nothing("deleted early; before the end of")
	}
}

func (s *suite) power() {
	m := s.machine("power")
	before := s.create(m)
	for _, force := range []bool{false, true} {
		off := s.stop(m, force)
		if off.Power != driver.Stopped || s.inspect(m).Power != driver.Stopped {
			s.Errorf("after Stop it is %s", off.Power)
		}
		s.stop(m, force)
		after := s.start(m)
		s.on(after)
		seen := s.inspect(m)
		if seen.ID != before.ID || len(seen.Addresses) == 0 || seen.Addresses[0] != after.Addresses[0] {
			s.Errorf("Inspect tells %+v, Start told %+v", seen, after)
		}
		if changed := after.Addresses[0] != before.Addresses[0]; changed != s.h.NewAddress {
			s.Errorf("another address after Start: %t, want %t", changed, s.h.NewAddress)
		}
		before = after
	}
	if restarter, ok := s.d.(driver.Restarter); ok {
		ctx, cancel := s.call()
		defer cancel()
		again, err := restarter.Restart(ctx, m)
		if err != nil {
			s.Fatalf("Restart: %v", err)
		}
		s.on(again)
		s.stop(m, true)
		if again, err = restarter.Restart(ctx, m); err != nil || again.Power != driver.Running {
			s.Errorf("Restart of one that is off: %+v %v", again, err)
		}
	}
	s.stop(m, true)
	s.delete(m)
}

func (s *suite) vanishes() {
	m := s.machine("never")
	ctx, cancel := s.call()
	defer cancel()
	if _, err := s.d.Inspect(ctx, m); !fault.Is(err, fault.NotFound) {
		s.Errorf("Inspect of what never was: %v", err)
	}
	if _, err := s.d.Start(ctx, m); !fault.Is(err, fault.NotFound) {
		s.Errorf("Start of what never was: %v", err)
	}
	if _, err := s.d.Stop(ctx, m, true); !fault.Is(err, fault.NotFound) {
		s.Errorf("Stop of what never was: %v", err)
	}
	s.delete(m)
	if s.h.Vanish == nil {
		s.Skip("nobody can take a host away from this driver")
	}
	m = s.machine("vanished")
	s.create(m)
	if err := s.h.Vanish(ctx, m); err != nil {
		s.Fatal(err)
	}
	seen, err := s.d.Inspect(ctx, m)
	if fault.KindOf(err) != s.h.Vanished || err == nil && seen.Power != driver.Stopped {
		s.Errorf("Inspect of what vanished: %+v %v", seen, err)
	}
	s.delete(m)
	s.delete(m)
}

func (s *suite) mute() {
	if s.h.Mute == nil {
		s.Skip("hosts of this driver always boot")
	}
	m := s.machine("mute")
	s.h.Mute(m)
	ctx, cancel := context.WithTimeout(s.Context(), max(10*s.h.CreateTime, time.Second))
	defer cancel()
	made, err := s.d.Create(ctx, m)
	if err != nil && !fault.Retryable(err) || err == nil && made.Power == driver.Running {
		s.Errorf("Create of one that never boots: %+v %v", made, err)
	}
	m.State = made.State
	if seen := s.inspect(m); seen.Power == driver.Running || seen.Power == driver.Stopped {
		s.Errorf("Inspect of one that never boots: %+v", seen)
	}
	for range 2 {
		s.delete(m)
	}
}

func (s *suite) two() {
	machines := []driver.Machine{s.machine("one"), s.machine("other")}
	instances := make([]driver.Instance, len(machines))
	var all sync.WaitGroup
	for i, m := range machines {
		all.Go(func() { instances[i] = s.create(m) })
	}
	all.Wait()
	if s.Failed() {
		return
	}
	if instances[0].ID == instances[1].ID || instances[0].Addresses[0] == instances[1].Addresses[0] || s.hosts() != 2 {
		s.Errorf("they are not two: %+v", instances)
	}
	all.Go(func() { s.delete(machines[0]) })
	all.Go(func() { s.stop(machines[1], true); s.start(machines[1]) })
	all.Wait()
	if s.Failed() {
		return
	}
	s.on(s.inspect(machines[1]))
	s.delete(machines[1])
}

func (s *suite) lists() {
	lister, ok := s.d.(driver.Lister)
	if !ok {
		s.Skip("the driver does not list")
	}
	ctx, cancel := s.call()
	defer cancel()
	m := s.machine("listed")
	made := s.create(m)
	found, err := lister.List(ctx, m)
	if err != nil || !slices.ContainsFunc(found, func(r driver.Resource) bool { return r.ID == made.ID && r.Machine == m.UID }) {
		s.Errorf("List: %+v %v, want %s", found, err, made.ID)
	}
	other := m
	other.ControllerID = "somebody-else"
	if others, err := lister.List(ctx, other); err != nil || len(others) > 0 {
		s.Errorf("List of another controller: %+v %v", others, err)
	}
	if remover, ok := s.d.(driver.Remover); ok {
		for _, resource := range found {
			if err := remover.Remove(ctx, other, resource); !fault.Is(err, fault.Denied) {
				s.Errorf("%s %s of another controller: %v, want denied", resource.Kind, resource.ID, err)
			}
		}
		for _, resource := range append(found, found...) { // instances first, as they were listed; each twice
			if err := remover.Remove(ctx, m, resource); err != nil {
				s.Errorf("Remove of %s %s: %v", resource.Kind, resource.ID, err)
			}
		}
		if left, err := lister.List(ctx, m); err != nil || len(left) > 0 {
			s.Errorf("after everything was removed: %+v %v", left, err)
		}
	}
	s.delete(m)
}
