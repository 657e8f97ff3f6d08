package machine

import (
	"context"

	"mctl/internal/controller/driver"
	"mctl/internal/host"
)

// Export is what a docker-machine store has of a machine.
type Export struct {
	Machine      *Machine // without its secrets
	Authority    []byte   // certificate, PEM
	AuthorityKey Secret   // PEM; nil where it is lost
	Key          Secret   // to log in with; nil where there is none
	Config       Secret   // the driver's object of config.json; nil for a machine that docker-machine did not make
	StorePath    string   // where the store was whose paths are in Config
	Driver       string   // what docker-machine knows such a host by
	// Engine is what dockerd will run with, once the host is given back: the machine's options, and those that the host had before. nil
	// where the host was docker-machine's, and gets back what that left there.
	Engine *host.Engine
}

// Export returns what a docker-machine store has of a machine, and changes nothing. Without secrets, keys and driver's object are left
// out. forRelease asks the host, too, and refuses what could not be given back: fault.Precondition, fault.Unavailable where nobody
// answers, fault.Denied where the host lets nobody in.
func (s *Service) Export(ctx context.Context, name string, secrets, forRelease bool) (Export, error) {
	m, err := s.load(ctx, name, true)
	if err != nil {
		return Export{}, err
	}
	var engine *host.Engine
	if forRelease {
		if engine, err = s.offer(ctx, m); err != nil {
			return Export{}, err
		}
	}
	shown, err := s.Get(ctx, name)
	if err != nil {
		return Export{}, err
	}
	e := Export{Machine: shown, Engine: engine, Driver: m.storeDriver()}
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
		if e.Key, err = driver.OpenSSHKey(target.Key); err != nil {
			return Export{}, err
		}
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
