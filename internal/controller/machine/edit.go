package machine

import (
	"cmp"
	"context"
	"fmt"
	"regexp"
	"time"

	"mctl/internal/controller/bootstrap"
	"mctl/internal/controller/driver"
	"mctl/internal/controller/store"
	"mctl/internal/fault"
	"mctl/internal/host"
)

// checkLimit bounds what a create may take before it answers.
const checkLimit = 30 * time.Second

// namePattern is docker-machine's rule, cut to what a host can be called.
var namePattern = regexp.MustCompile(`^[a-zA-Z0-9]([a-zA-Z0-9-]*[a-zA-Z0-9])?(\.[a-zA-Z0-9]([a-zA-Z0-9-]*[a-zA-Z0-9])?)*$`)

// maxName is how long a name may be.
const maxName = 63

// Edit changes a spec and raises its generation; a parked machine goes on, and a step that waits for a host which shall be off
// ends. method names the act for the request id. With at the record must have that revision, else fault.Conflict. A machine that
// is being deleted is fault.Precondition.
func (s *Service) Edit(ctx context.Context, requestID, method, name string, at store.Revision, edit func(*Spec)) (*Machine, error) {
	if uid, err := s.doneBefore(ctx, name, requestID, method); uid != "" || err != nil {
		return nil, cmp.Or(err, NotFound(name))
	}
	m, err := s.write(ctx, name, at, func(m *Machine) (bool, error) {
		if known, err := m.requests.Knows(requestID, method); known || err != nil {
			return false, err
		}
		if m.Spec.Deleted {
			return false, m.goes()
		}
		before := m.Spec
		edit(&m.Spec)
		if err := s.powerless(m, before); err != nil {
			return false, err
		}
		if m.Spec.Power == PowerOff && s.adopted(m) {
			verb := "stop"
			if m.Spec.Force {
				verb = "kill"
			}
			return false, fault.E("machine.Edit", fault.Precondition, name, fmt.Errorf("%s driver does not support %s", m.Spec.Driver, verb)).
				WithHint("power the host off by hand; its agent comes back with it")
		}
		m.Generation++
		m.unpark(s.config.Now())
		m.requests = m.requests.With(requestID, method, s.config.Now())
		return true, nil
	})
	if err == nil && m.Spec.Power == PowerOff && CanMove(m.Status.Phase, Stopping) {
		s.interrupt(name) // which may wait for minutes for a host that shall be off
	}
	return m, err
}

// goes refuses what is asked of a machine that is on its way out.
func (m *Machine) goes() error {
	what, hint := "removed", "`mctl rm %[1]s` goes on with that where it failed, `mctl rm --forget %[1]s` removes the record alone"
	if m.Spec.DeleteRelease {
		what, hint = "given back", "the same `mctl export --release` goes on with that where it failed, `mctl rm --forget %[1]s` removes the record alone"
	}
	return fault.E("machine.goes", fault.Precondition, m.Name, fmt.Errorf("%q is being %s", m.Name, what)).WithHint(fmt.Sprintf(hint, m.Name))
}

// Deletion is how a machine shall go.
type Deletion struct {
	Force   bool          // forget the record even where the host can't be removed
	Persist bool          // where the provider fails, go on without end; a host that was adopted is given up then
	Release bool          // give the host back to docker-machine, and leave what its provider made
	Abandon bool          // forget the record, and leave provider and host as they are
	Purge   bool          // on an adopted host, also remove a Docker that we installed
	Drain   time.Duration // as Spec has it
}

// Delete asks for a machine and all that was made for it to go, and ends the step that it is in. It may be repeated; what
// Deletion says is only ever switched on, and a machine that is being given back is only removed by force. The same request id again, when the machine is gone, returns its name and uid alone
// and leaves alone whatever has the name by then.
func (s *Service) Delete(ctx context.Context, requestID, name string, at store.Revision, how Deletion) (*Machine, error) {
	if uid, err := s.doneBefore(ctx, name, requestID, "delete"); uid != "" || err != nil {
		return &Machine{UID: uid, Name: name, Spec: Spec{Deleted: true}, Status: Status{Phase: Deleting}}, err
	}
	if !how.Force && !how.Persist && !how.Abandon && !how.Release { // which stays in a swarm that is not ours
		if err := s.checkLastManager(ctx, name); err != nil {
			return nil, err
		}
	}
	m, err := s.write(ctx, name, at, func(m *Machine) (bool, error) {
		if known, err := m.requests.Knows(requestID, "delete"); known || err != nil {
			return false, err
		}
		switch {
		case how.Release:
			if err := m.releasable(); err != nil {
				return false, err
			}
		case m.Spec.DeleteRelease && !how.Force && !how.Persist && !how.Abandon: // would be told that what goes on elsewhere is removed
			return false, m.goes()
		}
		m.Spec.Deleted, m.Spec.Drain = true, how.Drain
		m.Spec.DeleteForce = m.Spec.DeleteForce || how.Force || how.Persist && s.adopted(m)
		m.Spec.DeleteRelease = m.Spec.DeleteRelease || how.Release
		m.Spec.DeleteAbandon = m.Spec.DeleteAbandon || how.Abandon
		m.Spec.DeletePersist = m.Spec.DeletePersist || how.Persist
		m.Spec.PurgeEngine = m.Spec.PurgeEngine || how.Purge
		m.Generation++
		m.unpark(s.config.Now())
		m.requests = m.requests.With(requestID, "delete", s.config.Now())
		return true, nil
	})
	if err == nil && m.Status.Phase != Deleting {
		s.interrupt(name)
	}
	return m, err
}

// write changes a record by read, change, write at the revision read, as often as others come between. Whether at is the
// present revision counts for a change alone: a request that was carried out before has raised it itself.
func (s *Service) write(ctx context.Context, name string, at store.Revision, change func(*Machine) (bool, error)) (*Machine, error) {
	for {
		m, err := s.load(ctx, name, true)
		if err != nil {
			return nil, err
		}
		revision := m.Revision
		changed, err := change(m)
		if err != nil || !changed {
			return m, err
		}
		if at != 0 && revision != at {
			return nil, conflict(name)
		}
		value, err := s.codec.encode(m)
		if err != nil {
			return nil, err
		}
		m.Revision, err = s.config.Store.Update(ctx, prefix+name, value, m.Revision)
		switch {
		case err == nil:
			return m, nil
		case fault.Is(err, fault.NotFound):
			return nil, NotFound(name)
		case !fault.Is(err, fault.Conflict):
			return nil, err
		}
	}
}

// adopted reports whether the machine's host was there before, so that its power is not ours.
func (s *Service) adopted(m *Machine) bool {
	d, err := s.driver(m)
	_, adopts := d.(driver.Adopter)
	return err == nil && adopts
}

// unpark has a failed machine go on, with its phase's time counted anew. No step is under way then that could write the
// status too.
func (m *Machine) unpark(now time.Time) {
	if m.Status.Failure != nil {
		m.Status.Failure, m.Status.PhaseTime = nil, now
	}
}

func conflict(name string) error {
	return fault.E("machine.write", fault.Conflict, name, fmt.Errorf("%q was changed by somebody else meanwhile", name))
}

func exists(op, name string) error {
	return fault.E(op, fault.Exists, name, fmt.Errorf("Docker machine %q already exists", name)) //nolint:staticcheck // docker-machine's words
}

// reasoned marks why a create is refused, for the exit code.
func reasoned(op, name, reason string, err error) error {
	if known := fault.ReasonOf(err); known == fault.ReasonUsage || known == fault.ReasonPrecheck {
		return err
	}
	return fault.E(op, fault.KindOf(err), name, err).WithHint(fault.HintOf(err)).WithReason(reason)
}

// adoptedTarget is where a host that was there before is.
func (s *Service) adoptedTarget(ctx context.Context, adopter driver.Adopter, m *Machine) (bootstrap.Target, error) {
	told, err := s.driverMachine(ctx, m)
	if err != nil {
		return bootstrap.Target{}, err
	}
	t, err := adopter.Target(told)
	if err != nil {
		return bootstrap.Target{}, err
	}
	port := m.EnginePort()
	if m.Spec.Port == 0 && t.EnginePort != 0 {
		port = t.EnginePort
	}
	return bootstrap.Target{
		Machine: m.Name, SSH: t.SSH, Key: t.Key, HostKeys: m.Status.SSH.HostKeys, Adopted: true, EnginePort: port,
		MachineUID: m.UID, OwnEngine: ownEngine(m.Spec.Engine),
	}, nil
}

// ownEngine reports whether Docker comes from elsewhere than from packages that the agent knows.
func ownEngine(engine host.Engine) bool {
	return engine.Install == host.InstallNone || engine.Install == host.InstallScript || engine.InstallURL != ""
}
