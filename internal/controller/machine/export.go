package machine

import (
	"context"
	"fmt"
	"strings"

	"mctl/internal/controller/driver"
	"mctl/internal/fault"
)

// Export is what a docker-machine store has of a machine.
type Export struct {
	Machine      *Machine // without its secrets
	Authority    []byte   // certificate, PEM
	AuthorityKey Secret   // PEM; nil where it is lost
	Key          Secret   // to log in with; nil where there is none
	Config       Secret   // the driver's object of config.json; nil for a machine that docker-machine did not make
	StorePath    string   // where the store was whose paths are in Config
}

// Export returns what a docker-machine store has of a machine, and changes nothing. Without secrets, keys and driver's object are left
// out. forRelease refuses, by fault.Precondition, a machine whose host could not be given back.
func (s *Service) Export(ctx context.Context, name string, secrets, forRelease bool) (Export, error) {
	m, err := s.load(ctx, name, true)
	if err != nil {
		return Export{}, err
	}
	if forRelease {
		if err := m.releasable(); err != nil {
			return Export{}, err
		}
	}
	shown, err := s.Get(ctx, name)
	if err != nil {
		return Export{}, err
	}
	e := Export{Machine: shown}
	if m.Status.Authority != "" {
		if e.Authority, err = s.config.Authorities.EngineCA(ctx, m.Status.Authority); err != nil {
			return Export{}, err
		}
	}
	if !secrets {
		return e, nil
	}
	if m.Status.Authority != "" {
		if e.AuthorityKey, err = s.config.Authorities.EngineKey(ctx, m.Status.Authority); err != nil {
			return Export{}, err
		}
	}
	if target, err := s.target(ctx, m); err == nil { // one that is not made yet has none
		e.Key = target.Key
	}
	e.Config, e.StorePath, err = s.driverConfig(ctx, m)
	return e, err
}

// driverConfig is the driver's object of config.json: what its plugin told last, or else what it was imported with.
func (s *Service) driverConfig(ctx context.Context, m *Machine) (Secret, string, error) {
	d, err := s.driver(m)
	if err != nil {
		return nil, "", err
	}
	told, err := s.driverMachine(ctx, m)
	if err != nil {
		return nil, "", err
	}
	if exporter, ok := d.(driver.Exporter); ok {
		from, err := exporter.Export(told)
		return from.Config, from.StorePath, err
	}
	if m.Import == nil {
		return nil, "", nil
	}
	return m.Import.Config, m.Import.StorePath, nil
}

// importedAuthority begins the names of authorities that came with a store.
const importedAuthority = "imported-"

// releasable says why a host can't be given back to docker-machine: what it finds there is what its own store knew.
func (m *Machine) releasable() error {
	const op = "machine.releasable"
	switch {
	case m.Import == nil:
		return fault.E(op, fault.Precondition, m.Name, fmt.Errorf("docker-machine did not make the host of %q, so that it can't be given back to it", m.Name)).
			WithHint("export it without --release, or remove it with `mctl rm`")
	case !strings.HasPrefix(m.Status.Authority, importedAuthority):
		return fault.E(op, fault.Precondition, m.Name, fmt.Errorf("the engine of %q has certificates of mctl's own, and docker-machine's would be on the host again", m.Name)).
			WithHint("`mctl rm` gives a host back as it was; docker-machine takes it up anew with its generic driver")
	}
	return nil
}
