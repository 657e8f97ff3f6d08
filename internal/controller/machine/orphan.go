package machine

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"mctl/internal/controller/driver"
	"mctl/internal/fault"
)

// Limits of one listing at a provider, and of one listing and removal: an instance is stopped first, which takes minutes.
const (
	listLimit   = 2 * time.Minute
	removeLimit = 8 * time.Minute
)

// Scope is where a driver looks for orphans, and as whom. Without options it is every place where machines of the driver are.
type Scope struct {
	Driver     string
	Options    driver.Options
	Credential string
}

// orphan is something that no machine has, and the place where it was found.
type orphan struct {
	resource driver.Resource
	place    driver.Machine
}

// Orphans lists what a driver made for this controller and no machine has, in an order in which it can be removed.
// fault.Precondition where the driver cannot list.
func (s *Service) Orphans(ctx context.Context, scope Scope) ([]driver.Resource, error) {
	ctx, cancel := context.WithTimeout(ctx, listLimit)
	defer cancel()
	found, err := s.orphans(ctx, scope)
	if err != nil {
		return nil, err
	}
	resources := make([]driver.Resource, len(found))
	for i, o := range found {
		resources[i] = o.resource
	}
	return resources, nil
}

func (s *Service) orphans(ctx context.Context, scope Scope) ([]orphan, error) {
	d, places, err := s.places(ctx, scope)
	if err != nil {
		return nil, err
	}
	lister, ok := d.(driver.Lister)
	if !ok {
		return nil, fault.New("machine.Orphans", fault.Precondition, scope.Driver, "the driver "+scope.Driver+" cannot list what it made")
	}
	var orphans []orphan
	for _, place := range places {
		// The records are read after the provider: a record is there before anything is made for it.
		found, err := lister.List(ctx, place)
		if err != nil {
			return nil, err
		}
		uids, shared, err := s.owners(ctx, scope.Driver)
		if err != nil {
			return nil, err
		}
		for _, r := range found {
			owned := uids[r.Machine] || r.Machine == "" && shared
			if !owned && !slices.ContainsFunc(orphans, func(o orphan) bool { return o.resource == r }) {
				orphans = append(orphans, orphan{r, place})
			}
		}
	}
	return orphans, nil
}

// RemoveOrphan removes one, where it is, after looking once more whether it is one: fault.NotFound when it is none, or is
// gone. The same request id again is success, as long as this process lives.
func (s *Service) RemoveOrphan(ctx context.Context, requestID string, scope Scope, resource driver.Resource) error {
	const op, method = "machine.RemoveOrphan", "remove orphan"
	s.mu.Lock()
	known, err := s.removed.Knows(requestID, method)
	s.mu.Unlock()
	if known || err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, removeLimit)
	defer cancel()
	d, err := s.config.Drivers.Driver(scope.Driver)
	if err != nil {
		return err
	}
	remover, ok := d.(driver.Remover)
	if !ok {
		return fault.New(op, fault.Precondition, scope.Driver, "the driver "+scope.Driver+" cannot remove what it lists")
	}
	orphans, err := s.orphans(ctx, scope)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(orphans, func(o orphan) bool { return o.resource == resource })
	if i < 0 {
		return fault.E(op, fault.NotFound, resource.ID, fmt.Errorf("%s %q is no orphan", resource.Kind, resource.ID)).
			WithHint("`mctl orphans` lists those that there are")
	}
	if err := remover.Remove(ctx, orphans[i].place, resource); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.removed = s.removed.With(requestID, method, s.config.Now())
	return nil
}

// places are the machines, without uid and name, under which a driver shall look.
func (s *Service) places(ctx context.Context, scope Scope) (driver.Driver, []driver.Machine, error) {
	d, err := s.config.Drivers.Driver(scope.Driver)
	if err != nil {
		return nil, nil, err
	}
	if len(scope.Options) > 0 || scope.Credential != "" {
		options, err := driver.Resolve(scope.Driver, d.Flags(), scope.Options)
		if err != nil {
			return nil, nil, err
		}
		if options, err = s.withCredential(ctx, scope.Driver, options, scope.Credential); err != nil {
			return nil, nil, err
		}
		return d, []driver.Machine{{ControllerID: s.config.ControllerID, Options: options, Progress: func(string) {}}}, nil
	}
	all, _, err := s.List(ctx)
	if err != nil {
		return nil, nil, err
	}
	var places []driver.Machine
	seen := map[[sha256.Size]byte]bool{}
	for _, m := range all {
		if m.Spec.Driver != scope.Driver {
			continue
		}
		if m, err = s.load(ctx, m.Name, true); fault.Is(err, fault.NotFound) {
			continue
		}
		if err != nil {
			return nil, nil, err
		}
		told, err := s.driverMachine(ctx, m)
		if err != nil {
			return nil, nil, err
		}
		if place := placeOf(d, told.Options); !seen[place] {
			seen[place] = true
			places = append(places, driver.Machine{ControllerID: s.config.ControllerID, Options: told.Options, Progress: func(string) {}})
		}
	}
	if len(places) == 0 && !slices.ContainsFunc(d.Flags(), func(f driver.Flag) bool { return f.Scope }) {
		options, err := driver.Resolve(scope.Driver, d.Flags(), nil)
		places = append(places, driver.Machine{ControllerID: s.config.ControllerID, Options: options, Progress: func(string) {}})
		return d, places, err
	}
	return d, places, nil
}

// placeOf tells places apart by the flags that make them.
func placeOf(d driver.Driver, options driver.Options) [sha256.Size]byte {
	var parts []any
	for _, flag := range d.Flags() {
		if flag.Scope {
			parts = append(parts, options[flag.Name])
		}
	}
	text, _ := json.Marshal(parts) // texts and bytes alone
	return sha256.Sum256(text)
}

// owners are the uids of all machines; shared says whether the driver has any, which then own what is shared among them.
func (s *Service) owners(ctx context.Context, driverName string) (uids map[string]bool, shared bool, err error) {
	all, _, err := s.List(ctx)
	uids = map[string]bool{}
	for _, m := range all {
		uids[m.UID] = true
		shared = shared || m.Spec.Driver == driverName
	}
	return uids, shared, err
}
