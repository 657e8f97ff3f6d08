package machine

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"mctl/internal/controller/bootstrap"
	"mctl/internal/fault"
	"mctl/internal/host"
)

// offerLimit bounds what a host is asked before it is given back.
const offerLimit = 30 * time.Second

// importedAuthority begins the names of authorities that came with a store.
const importedAuthority = "imported-"

// getsOldLayout reports whether the host gets back what docker-machine left on it: nothing else was ever there, or its certificates are
// from the CA of the store still. Any other is handed over anew.
func (m *Machine) getsOldLayout() bool {
	return m.agentless() || m.Import != nil && strings.HasPrefix(m.Status.Authority, importedAuthority)
}

// storeDriver is what docker-machine knows a host by. One that it has no driver for is a host with an address and a key to it.
func (m *Machine) storeDriver() string {
	name, plugin := strings.CutPrefix(m.Spec.Driver, "plugin:")
	name, _, _ = strings.Cut(name, "@")
	if plugin || m.Import != nil || slices.Contains([]string{"generic", "google", "none"}, name) {
		return name
	}
	return "generic"
}

// releasable says why a host can't be given back to docker-machine, as far as that is known without asking it.
func (m *Machine) releasable() error {
	const op = "machine.releasable"
	refuse := func(hint, sentence string, args ...any) error {
		return fault.E(op, fault.Precondition, m.Name, fmt.Errorf(sentence, args...)).WithHint(fmt.Sprintf(hint, m.Name))
	}
	switch {
	case m.Spec.Deleted && m.Spec.DeleteRelease: // it is under way
		return nil
	case m.Spec.Deleted:
		return refuse("`mctl ls` tells when %s is gone", "%q is being removed", m.Name)
	case m.Spec.Swarm != nil:
		return refuse("remove it with `mctl rm %s`, or export it without --release", "%q is a member of a swarm, and docker-machine knows nothing of that", m.Name)
	case m.Spec.Port != 0 && m.Spec.Port != DefaultEnginePort && m.storeDriver() != "generic":
		return refuse("remove it with `mctl rm %s`, or export it without --release", "the engine of %q is served at another port than docker-machine's %s driver looks for it", m.Name, m.storeDriver())
	case m.Status.Phase == Importing:
		return refuse("`mctl rm --forget %s` forgets it; the store that it came from is as it was", "%q has not been taken over yet, so there is nothing to give back", m.Name)
	case m.Status.Phase == Stopped || m.Status.Phase == Stopping:
		return refuse("`mctl start %s` first", "%q is stopped, and is given back while it runs", m.Name)
	case m.Status.Phase != Running || m.Status.Failure != nil:
		return refuse("`mctl retry %[1]s` or `mctl provision %[1]s` first; `mctl ls` tells how it is", "%q is not ready, and only a machine that is can be given back", m.Name)
	}
	return nil
}

// offer asks the host whether it could be given back, and changes nothing: whatever would fail shall do so before. engine is nil for
// one that gets back what docker-machine left there, and one that is on its way back.
func (s *Service) offer(ctx context.Context, m *Machine) (engine *host.Engine, err error) {
	if err := m.releasable(); err != nil || m.agentless() || m.Spec.Deleted {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, offerLimit)
	defer cancel()
	target, err := s.target(ctx, m)
	if err != nil {
		return nil, err
	}
	target.Wait = 0
	if m.getsOldLayout() {
		err := s.config.Bootstrap.Greet(ctx, target)
		if s.lockedOut(target, err) && s.connected(m) {
			return nil, nil // its agent does it
		}
		return nil, err
	}
	if signs, err := s.config.Authorities.Issues(ctx, m.Status.Authority, 0); err != nil || !signs {
		return nil, fault.E("machine.offer", fault.Precondition, m.Name, fmt.Errorf("the authority %s of %q can't sign any more", m.Status.Authority, m.Name)).
			WithHint(fmt.Sprintf("`mctl regenerate-certs %s` moves it to another", m.Name))
	}
	offer, err := s.config.Bootstrap.Offer(ctx, target, s.handOver(m))
	if err != nil {
		return nil, err
	}
	return &offer.Engine, nil
}

// lockedOut reports whether a host lets nobody in, or nobody has a key.
func (s *Service) lockedOut(target bootstrap.Target, err error) bool {
	return fault.Is(err, fault.Denied) || target.Key == nil && fault.Is(err, fault.Unavailable)
}

// handOver is how the host shall be left.
func (s *Service) handOver(m *Machine) host.HandOver {
	return host.HandOver{Port: m.EnginePort(), Provider: m.storeDriver(), Engine: m.Spec.Engine}
}

// giveBack leaves the host to docker-machine: as that left it, or with a certificate that lasts.
func (s *Service) giveBack(ctx context.Context, m *Machine) error {
	if m.getsOldLayout() {
		return s.release(ctx, m)
	}
	ctx, cancel := context.WithTimeout(ctx, releaseLimit)
	defer cancel()
	target, err := s.target(ctx, m)
	if err != nil {
		return err
	}
	target.Wait = 0
	h := s.handOver(m)
	if h.ClientCA, err = s.config.Authorities.EngineCA(ctx, m.Status.Authority); err != nil {
		return err
	}
	sign := func(request []byte) ([]byte, error) {
		return s.config.Authorities.SignEngineHandOver(ctx, m.Status.Authority, m.Name, sans(m), request)
	}
	return s.config.Bootstrap.HandOver(ctx, target, h, sign, s.reporter(m))
}
