package create

import (
	"context"
	"errors"

	"mctl/internal/fault"
	"mctl/internal/mctl/cli"
	"mctl/internal/mctl/dial"
	"mctl/internal/mctl/follow"
	"mctl/internal/mctl/output"
	controllerv1 "mctl/proto/mctl/controller/v1"
)

// failure tells how a creation ended that had begun.
type failure struct {
	env      *cli.Env
	client   *dial.Client
	made     *controllerv1.Machine // as it was asked for
	progress output.Progress
}

// of returns what to tell. m is the machine as it was seen last, or nil. It stays, unless it was to be rolled back.
func (f failure) of(ctx context.Context, m *controllerv1.Machine, err error) error {
	name := f.made.GetName()
	if ctx.Err() != nil {
		return cli.Interrupted("\"" + name + "\" is being made all the same; `mctl wait " + name + "` waits for it")
	}
	dir, stateErr := f.env.State()
	if stateErr != nil {
		return stateErr
	}
	rollback := f.made.GetSpec().GetRollback()
	switch {
	case errors.Is(err, follow.ErrGone):
		if rollback {
			err = f.rolledBack(f.reason(ctx, err))
		}
		return errors.Join(f.words(err), dir.Machine(name).Remove())
	case rollback && m.GetStatus().GetFailure() != nil:
		f.progress.Step("Removing what was made...")
		goal := follow.Goal{Name: name, UID: f.made.GetUid(), Generation: m.GetGeneration() + 1, Deleted: true, Since: f.env.Now(), Progress: f.progress}
		if _, stuck := follow.Machine(ctx, f.client, goal); stuck != nil {
			return errors.Join(f.words(err), cli.Wrap(stuck, "Error removing host %q: %w", name))
		}
		return errors.Join(f.words(f.rolledBack(err)), dir.Machine(name).Remove())
	case m != nil:
		unwritten := f.env.WriteView(ctx, m)
		if fault.Is(unwritten, fault.Unavailable) {
			unwritten = nil // a controller that went away; the view that was written before the create stands
		}
		return errors.Join(f.words(err), unwritten, f.env.Result(output.Message(m)))
	}
	return f.words(err)
}

func (failure) words(err error) error { return cli.Wrap(err, "Error creating machine: %w") }

// reason is why a machine was rolled back that went before we saw its failure: the controller's journal knows.
func (f failure) reason(ctx context.Context, unknown error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := f.client.Events.WatchEvents(ctx, &controllerv1.WatchEventsRequest{Machine: f.made.GetName(), Types: []string{"FAILED"}})
	reason := unknown
	for err == nil {
		var response *controllerv1.WatchEventsResponse
		if response, err = stream.Recv(); err == nil && response.GetEvent().GetMachineUid() == f.made.GetUid() {
			reason = fault.New("create.reason", fault.Precondition, f.made.GetName(), response.GetEvent().GetMessage())
		}
	}
	return reason
}

func (f failure) rolledBack(err error) error {
	return fault.E("create.rollback", fault.KindOf(err), f.made.GetName(), err).
		WithHint("nothing is left of it; mend the cause, then create it again")
}
