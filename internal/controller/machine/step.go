package machine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"mctl/internal/controller/driver"
	"mctl/internal/controller/event"
	"mctl/internal/controller/reconcile"
	"mctl/internal/fault"
	"mctl/internal/host"
)

// outcome is what a step comes to: move to another phase, come again, or wait for an event. Errors are returned beside it.
type outcome struct {
	next  Phase         // empty to stay; with an error that parks: the phase that a retry begins with
	again bool          // with no next: there is more to do at once
	after time.Duration // with neither: come again then in any case; zero to wait for an event alone
}

// step does one idempotent piece of a phase. It changes m.Status; the caller stores it, with an error too.
type step func(ctx context.Context, m *Machine) (outcome, error)

func (s *Service) stepOf(phase Phase) step {
	return map[Phase]step{
		Pending: s.pending, Creating: s.creating, Booting: s.booting, Joining: s.joining, Installing: s.installing,
		Running: s.running, Stopping: s.stopping, Stopped: s.stopped, Starting: s.starting, Deleting: s.deleting, Importing: s.importing,
	}[phase]
}

// errGone ends a step whose record is no more.
var errGone = errors.New("the record is gone")

// Step does one step of the machine's present phase and stores the outcome. It may be repeated at any time, also after a
// crash in the middle; never for one name at the same time. An unknown name is no error: there is nothing to do.
func (s *Service) Step(ctx context.Context, name string) (reconcile.Result, error) {
	// Before the record is read, so that a deletion that comes later finds a step to end.
	stepCtx, end := s.begin(ctx, name)
	defer end()
	m, err := s.load(ctx, name, true)
	if fault.Is(err, fault.NotFound) {
		return reconcile.Result{}, nil
	}
	if err != nil {
		return reconcile.Result{}, err
	}
	wait := s.steer(m)
	result, err := s.stepLoaded(ctx, stepCtx, m)
	if wait > 0 && !result.Again && err == nil && (result.After == 0 || wait < result.After) {
		result.After = wait
	}
	return result, err
}

// stepLoaded is Step with the record as it was read. stepCtx ends when somebody asks for something else.
func (s *Service) stepLoaded(ctx, stepCtx context.Context, m *Machine) (reconcile.Result, error) {
	switch {
	case m.Spec.Deleted && m.Status.Phase != Deleting:
		return s.settle(ctx, m, outcome{next: Deleting}, nil)
	case m.Status.Failure != nil:
		return s.rollback(ctx, m)
	case m.Spec.Power == PowerOff && CanMove(m.Status.Phase, Stopping):
		return s.settle(ctx, m, outcome{next: Stopping}, nil)
	}
	if m.Status.Phase == Importing {
		if wait := s.untilImported(m); wait > 0 { // nothing is done, and nothing stored
			return reconcile.Result{After: wait}, nil
		}
	}
	act := s.stepOf(m.Status.Phase)
	if act == nil {
		return reconcile.Result{}, fault.E("machine.Step", fault.Internal, m.Name, fmt.Errorf("unknown phase %q", m.Status.Phase))
	}
	out, err := act(stepCtx, m)
	interrupted := stepCtx.Err() != nil && ctx.Err() == nil
	switch {
	case errors.Is(err, errGone):
		return reconcile.Result{}, nil
	case interrupted && err != nil:
		// Somebody asked for something else meanwhile: what is known is stored, the error is our own doing.
		out, err = outcome{again: true}, nil
	}
	return s.settle(ctx, m, out, err)
}

// settle stores what a step came to. A fault that a repetition may mend is returned for the loop's backoff until the phase
// has used up its time; any other parks the machine.
func (s *Service) settle(ctx context.Context, m *Machine, out outcome, stepErr error) (reconcile.Result, error) {
	from := m.Status.Phase
	if (from == Deleting || from == Importing) && stepErr != nil {
		s.note(m, stepErr) // parked or not: somebody may ask for it again, and then be told what was known
	}
	switch {
	case ctx.Err() != nil && stepErr != nil:
		// The controller stops; the phase's own question is asked again after the next start.
		return reconcile.Result{}, stepErr
	case out.next != "" && !CanMove(from, out.next):
		return reconcile.Result{}, fault.E("machine.settle", fault.Internal, m.Name, fmt.Errorf("no move from %s to %s", from, out.next))
	case stepErr != nil && s.goesOn(m, stepErr):
		s.report(m, fmt.Sprintf("%s; trying again", stepErr))
	case stepErr != nil:
		s.park(m, stepErr)
		stepErr = nil
		if out.next != "" {
			m.Status.Phase = out.next
		}
	case out.next != "":
		m.Status.Phase, m.Status.PhaseTime = out.next, s.config.Now()
	}
	if err := s.save(ctx, m); err != nil {
		return reconcile.Result{}, err
	}
	if stepErr != nil {
		return reconcile.Result{}, stepErr
	}
	if m.Status.Failure != nil { // and nobody asked meanwhile
		s.config.Logger.Info("machine parked", "machine", m.Name, "phase", from, "error", m.Status.Failure.Message)
		s.emit(m, event.Failed, m.Status.Failure.Message)
		return s.rollback(ctx, m)
	}
	if m.Status.Phase != from {
		if from == Importing {
			s.note(m, nil)
		}
		s.config.Logger.Info("machine moved", "machine", m.Name, "uid", m.UID, "from", from, "to", m.Status.Phase)
		s.emit(m, event.PhaseChanged, string(m.Status.Phase))
		return reconcile.Result{Again: true}, nil
	}
	return reconcile.Result{Again: out.again, After: out.after}, nil
}

// goesOn reports whether a step that failed is done again by itself.
func (s *Service) goesOn(m *Machine, err error) bool {
	if m.Status.Phase == Deleting && m.Spec.DeletePersist {
		return true
	}
	return fault.Retryable(err) && !s.overdue(m)
}

// rollback removes a parked machine that was to be there whole or not at all; any other waits for somebody to act.
func (s *Service) rollback(ctx context.Context, m *Machine) (reconcile.Result, error) {
	if !m.Spec.Rollback || m.Status.ObservedGeneration != 0 || m.Spec.Deleted {
		return reconcile.Result{}, nil
	}
	_, err := s.Delete(ctx, "", m.Name, 0, Deletion{})
	return reconcile.Result{Again: true}, err
}

func (s *Service) park(m *Machine, err error) {
	m.Status.Failure = &Failure{
		Kind: string(fault.KindOf(err)), Message: err.Error(), Hint: fault.HintOf(err),
		Time: s.config.Now(), Generation: m.Generation,
	}
	switch {
	case m.Status.Failure.Hint != "":
	case fault.Is(err, fault.Invalid):
		m.Status.Failure.Hint = fmt.Sprintf("`mctl rm %s` removes it; create it with another value then", m.Name)
	default:
		m.Status.Failure.Hint = fmt.Sprintf("`mctl retry %s` goes on where it stopped, `mctl rm %s` removes it", m.Name, m.Name)
	}
}

// save writes the status into the record as it is now: the spec may have been edited during the step, and the status has
// no other writer.
func (s *Service) save(ctx context.Context, m *Machine) error {
	saved, err := s.write(ctx, m.Name, 0, func(now *Machine) (bool, error) {
		if now.UID != m.UID {
			return false, errGone
		}
		if f := m.Status.Failure; f != nil && f.Generation < now.Generation {
			// Somebody asked once more while the step failed: that counts as having unparked it.
			m.Status.Failure, m.Status.PhaseTime = nil, s.config.Now()
		}
		if sameStatus(now.Status, m.Status) && bytes.Equal(now.SSHKey, m.SSHKey) && bytes.Equal(now.BootTicket, m.BootTicket) {
			return false, nil
		}
		now.Status, now.SSHKey, now.BootTicket = m.Status, m.SSHKey, m.BootTicket
		return true, nil
	})
	if err == nil {
		m.Revision = saved.Revision
	}
	return err
}

// sameStatus spares the store a write when a step found nothing new.
func sameStatus(a, b Status) bool {
	return bytes.Equal(a.ProviderState, b.ProviderState) && proto.Equal(encodeStatus(a), encodeStatus(b))
}

// begin notes a step so that a deletion can end it.
func (s *Service) begin(ctx context.Context, name string) (context.Context, func()) {
	ctx, cancel := context.WithCancel(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.steps[name] = cancel
	return ctx, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.steps, name)
		cancel()
	}
}

// interrupt ends the step that a machine is in, if any.
func (s *Service) interrupt(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if cancel, ok := s.steps[name]; ok {
		cancel()
	}
}

// report tells people what is going on with a machine.
func (s *Service) report(m *Machine, line string) {
	s.mu.Lock()
	same := s.progress[m.Name] == line
	s.progress[m.Name] = line
	s.mu.Unlock()
	if !same {
		s.emit(m, host.EventProgress, line)
	}
}

// note keeps why a removal or an import does not come to its end, or a member of a swarm gets no tasks.
func (s *Service) note(m *Machine, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		delete(s.troubles, m.UID)
		return
	}
	s.troubles[m.UID] = err.Error()
}

func (s *Service) reporter(m *Machine) driver.Progress {
	return func(line string) { s.report(m, line) }
}

func (s *Service) emit(m *Machine, kind, message string) {
	s.config.Events.Emit(event.Event{
		Time: s.config.Now(), Machine: m.Name, UID: m.UID, Type: kind, Message: message,
		Attributes: map[string]string{"phase": string(m.Status.Phase), "generation": fmt.Sprint(m.Generation)},
	})
}
