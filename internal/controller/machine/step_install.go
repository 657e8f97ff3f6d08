package machine

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"mctl/internal/controller/agentlink"
	"mctl/internal/fault"
	"mctl/internal/host"
)

// installing leaves the whole wish for the host and waits until the host has fulfilled it.
func (s *Service) installing(ctx context.Context, m *Machine) (outcome, error) {
	wish, err := s.wish(ctx, m)
	if err != nil {
		return outcome{}, err
	}
	s.config.Hosts.SetDesired(m.UID, wish)
	observed, _ := s.config.Hosts.Observed(m.UID)
	applied := observed.Applied
	fulfilled := observed.Connected && applied.Digest == wish.Desired.Digest() && applied.Failure == nil
	since := s.settledSince(m, fulfilled)
	switch {
	case fulfilled:
		if starting := engineGrace - s.config.Now().Sub(since); starting > 0 && (observed.Health == nil || !observed.Health.EngineUp) {
			s.report(m, "Checking connection to Docker...")
			return outcome{after: starting}, nil
		}
		// Here, so that it is known also while the swarm is waited for.
		s.learnHost(m, observed)
		if attached, out, err := s.attach(ctx, m); !attached {
			return out, err
		}
		s.settledSince(m, false)
		m.reached()
		return outcome{next: Running}, nil
	case observed.Connected && applied.Digest == wish.Desired.Digest() && !passing(applied.Failure):
		f := applied.Failure
		return outcome{}, fault.E("machine.installing", fault.Kind(f.Kind), m.Name,
			fmt.Errorf("Error running provisioning: %s", f.Message)).WithHint(named(f.Hint, m.Name)) //nolint:staticcheck // docker-machine's words
	}
	if left := s.remaining(m); left > 0 {
		return outcome{after: left}, nil
	}
	if !observed.Connected { // whoever tries again sees to the agent first
		return outcome{next: Booting}, s.installTimeout(m, observed)
	}
	return outcome{}, s.installTimeout(m, observed)
}

// settledSince returns since when the host is known to have done what was asked. The controller's own start counts too.
func (s *Service) settledSince(m *Machine, fulfilled bool) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !fulfilled {
		delete(s.settled, m.UID)
		return time.Time{}
	}
	since, known := s.settled[m.UID]
	if !known {
		since = s.config.Now()
		s.settled[m.UID] = since
	}
	return since
}

// named completes a host's hint with what the host does not know: what its machine is called.
func named(hint, name string) string {
	return strings.ReplaceAll(hint, "`mctl retry`", "`mctl retry "+name+"`")
}

// passing reports whether the agent goes on trying by itself.
func passing(f *host.Failure) bool {
	return fault.Retryable(fault.New("", fault.Kind(f.Kind), "", f.Message))
}

func (s *Service) installTimeout(m *Machine, observed host.Observed) error {
	cause := errors.New("the host did not finish installing Docker in time")
	if f := observed.Applied.Failure; f != nil {
		cause = fmt.Errorf("the host did not finish installing Docker in time: %s", f.Message)
	} else if !observed.Connected {
		cause = errors.New("the agent was lost while Docker was installed")
	}
	return fault.E("machine.installing", fault.Precondition, m.Name, cause).
		WithHint(fmt.Sprintf("`mctl retry %s` waits once more; --wait-install sets the limit", m.Name))
}

// wish is what the host shall be, made of spec and status alone, so that it is the same after a restart.
func (s *Service) wish(ctx context.Context, m *Machine) (agentlink.Wish, error) {
	if err := s.leaveAuthority(ctx, m); err != nil {
		return agentlink.Wish{}, err
	}
	ca, err := s.config.Authorities.EngineCA(ctx, m.Status.Authority)
	if err != nil {
		return agentlink.Wish{}, err
	}
	engine := m.Spec.Engine
	engine.Labels = append(slices.Clone(engine.Labels), "provider="+m.Spec.Driver)
	engine.Upgrade, engine.Provision = m.Spec.Upgrade, m.Spec.Provision
	engine.SwarmMember = m.Spec.Swarm != nil
	engine.RepositoryReachable = asksRepository(m) && s.repository()
	endpoints := m.Status.Endpoints
	switch {
	case m.Spec.Link == host.LinkSSH:
		endpoints = nil
	case len(s.config.Advertise) > 0: // the controller may have moved since the host was told
		endpoints = s.config.Advertise
	}
	front := host.Front{Port: m.EnginePort(), SANs: sans(m), ClientCA: ca, Rotation: m.Spec.Regenerate, SwarmPort: m.SwarmPort()}
	keeps, err := s.keepsPair(ctx, m)
	if err != nil {
		return agentlink.Wish{}, err
	}
	if keeps {
		front.Certificate, front.Key = m.Import.ServerCertificate, host.Secret(m.Import.ServerKey)
	}
	return agentlink.Wish{
		Name: m.Name, Authority: m.Status.Authority, Endpoints: endpoints,
		Desired: host.Desired{Generation: m.Generation, Engine: engine, Front: front},
	}, nil
}

// asksRepository reports whether it matters if Docker's own repository can be reached.
func asksRepository(m *Machine) bool {
	return m.Spec.Engine.Install == host.InstallAuto && m.Spec.Engine.InstallURL == ""
}

// sans are the names that the engine's certificate covers: the machine's own, those asked for, and every address.
func sans(m *Machine) []string {
	names := append([]string{m.Name, "localhost", net.IPv4(127, 0, 0, 1).String()}, m.Spec.TLSSANs...)
	names = append(names, m.Status.Addresses...)
	slices.Sort(names)
	return slices.Compact(names)
}

// learnHost keeps what the agent told.
func (s *Service) learnHost(m *Machine, observed host.Observed) {
	m.Status.Host, m.Status.AgentVersion = observed.Facts, observed.AgentVersion
	m.Status.Engine, m.Status.Front = observed.Applied.Engine, observed.Applied.Front
	m.Status.AppliedDigest = observed.Applied.Digest
}
