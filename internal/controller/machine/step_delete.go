package machine

import (
	"context"
	"fmt"
	"time"

	"mctl/internal/controller/agentlink"
	"mctl/internal/controller/driver"
	"mctl/internal/controller/event"
	"mctl/internal/fault"
	"mctl/internal/host"
	"mctl/internal/pki"
)

// releaseLimit is how long a host may take to give itself back.
const releaseLimit = 2 * time.Minute

// deleting removes the host, or gives an adopted one back, and in a step of its own all that we know of it: who comes back
// from a crash has no agent any more that could give a host back twice. The record goes last, so that a crash before leaves
// something to go on from.
func (s *Service) deleting(ctx context.Context, m *Machine) (outcome, error) {
	if !m.Status.HostGone && !m.Spec.DeleteAbandon {
		if left, out, err := s.leave(ctx, m); err != nil || !left {
			return out, err
		}
		if err := s.deleteHost(ctx, m); err != nil {
			if !m.Spec.DeleteForce {
				return outcome{}, err
			}
			s.config.Logger.Warn("removed the record by force, the host may still be there", "machine", m.Name, "provider_id", m.Status.ProviderID, "error", err)
			s.emit(m, event.Failed, fmt.Sprintf("removed by force; the host may still be there: %s", err))
		}
		m.Status.HostGone = true
		return outcome{again: true}, nil
	}
	if err := s.config.Authorities.Revoke(ctx, pki.MachineSubject(m.UID)); err != nil {
		return outcome{}, err
	}
	s.config.Hosts.Forget(m.UID)
	s.config.Tunnels.Drop(m.UID)
	if err := s.bury(ctx, m); err != nil {
		return outcome{}, err
	}
	if _, err := s.config.Store.Delete(ctx, prefix+m.Name, 0); err != nil && !fault.Is(err, fault.NotFound) {
		return outcome{}, err
	}
	s.forget(m)
	s.emit(m, event.Deleted, "removed")
	return outcome{}, errGone
}

func (s *Service) deleteHost(ctx context.Context, m *Machine) error {
	d, err := s.driver(m)
	if err != nil {
		return err
	}
	_, adopts := d.(driver.Adopter)
	if m.Spec.DeleteRelease {
		s.report(m, "Giving the host back...")
		if err := s.giveBack(ctx, m); err != nil {
			return err
		}
		releaser, ok := d.(driver.Releaser)
		if !ok {
			return nil
		}
		told, err := s.driverMachine(ctx, m)
		if err != nil {
			return err
		}
		return releaser.Release(ctx, told)
	}
	s.report(m, "Removing the host...")
	if adopts {
		if err := s.release(ctx, m); err != nil {
			return err
		}
	}
	told, err := s.driverMachine(ctx, m)
	if err != nil {
		return err
	}
	return d.Delete(ctx, told)
}

// release gives an adopted host back: over SSH where somebody has a key, the caller with a lent ssh-agent too, because then
// it is certain that nothing is left. Else, also where the host lets nobody in or shows another key than the pinned one,
// through its agent, if one is connected: who that is was proven otherwise.
func (s *Service) release(ctx context.Context, m *Machine) error {
	if m.agentless() {
		return nil // it was never touched
	}
	target, err := s.target(ctx, m)
	if err != nil {
		return err
	}
	target.Wait = 0
	ctx, cancel := context.WithTimeout(ctx, releaseLimit)
	defer cancel()
	observed, _ := s.config.Hosts.Observed(m.UID)
	if observed.Applied.Released { // its last word: the session may have ended since
		return nil
	}
	err = s.config.Bootstrap.Remove(ctx, target, m.Spec.PurgeEngine, s.reporter(m))
	if !s.lockedOut(target, err) || !observed.Connected {
		return err
	}
	s.config.Hosts.SetDesired(m.UID, agentlink.Wish{Name: m.Name, Authority: m.Status.Authority, Desired: host.Desired{
		Generation: m.Generation, Release: &host.Release{PurgeEngine: m.Spec.PurgeEngine},
	}})
	return fault.New("machine.release", fault.Unavailable, m.Name, "the agent has not yet given the host back")
}
