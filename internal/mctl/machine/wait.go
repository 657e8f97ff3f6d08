package machine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"mctl/internal/fault"
	"mctl/internal/mctl/cli"
	"mctl/internal/mctl/create"
	"mctl/internal/mctl/follow"
	"mctl/internal/mctl/output"
	"mctl/internal/mctl/signer"
	controllerv1 "mctl/proto/mctl/controller/v1"
)

func newWait(env *cli.Env) *cobra.Command {
	var timeout time.Duration
	var deleted bool
	command := &cobra.Command{
		Use: "wait [arg...]", Short: "Wait until a machine is what was asked for", Example: "mctl wait web\nmctl wait --timeout 5m web db", ValidArgsFunction: cli.CompleteMachines(env),
		RunE: func(command *cobra.Command, args []string) error {
			return wait(command.Context(), env, args, timeout, deleted)
		},
	}
	command.Flags().DurationVar(&timeout, "timeout", time.Hour, "Give up after this time")
	command.Flags().BoolVar(&deleted, "deleted", false, "Wait until the machine is gone instead")
	return command
}

// wait picks up what was left to itself: each machine is followed until the generation it has now is reached.
func wait(ctx context.Context, env *cli.Env, args []string, timeout time.Duration, deleted bool) error {
	if deleted {
		var err error
		if args, err = present(ctx, env, args); err != nil || len(args) == 0 {
			return errors.Join(err, env.Result([]any{}))
		}
	}
	machines, err := env.Machines(ctx, args)
	if err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return each(ctx, env, machines, func(m *controllerv1.Machine, progress output.Progress) (*controllerv1.Machine, error) {
		return reach(limited, env, m, goal{deleted: deleted, alone: len(machines) == 1}, progress)
	})
}

// present drops the names that are no machine's any more.
func present(ctx context.Context, env *cli.Env, names []string) ([]string, error) {
	if len(names) == 0 {
		return nil, cli.Usagef("Error: No machine name(s) specified").WithHint("name the machines that shall be gone")
	}
	var there []string
	for _, name := range names {
		_, err := env.Get(ctx, name)
		switch {
		case err == nil:
			there = append(there, name)
		case !fault.Is(err, fault.NotFound):
			return nil, err
		}
	}
	return there, nil
}

// each does something with every machine at once. What the machines are then is the result; each failure is told.
func each(ctx context.Context, env *cli.Env, machines []*controllerv1.Machine, do func(*controllerv1.Machine, output.Progress) (*controllerv1.Machine, error)) error {
	reached, failed := make([]*controllerv1.Machine, len(machines)), make([]error, len(machines))
	var group errgroup.Group
	group.SetLimit(atOnce)
	place := env.Progress()
	for i, m := range machines {
		progress := place()
		group.Go(func() error {
			reached[i], failed[i] = do(m, progress)
			progress.Done(failed[i])
			return nil
		})
	}
	_ = group.Wait()
	if ctx.Err() != nil {
		return cli.Interrupted("the work goes on; `mctl wait` picks it up again")
	}
	there := slices.DeleteFunc(reached, func(m *controllerv1.Machine) bool { return m == nil })
	return errors.Join(append(failed, env.Result(output.Messages(there)))...)
}

// goal is what is waited for: that the wish comes true, or that the machine is gone.
type goal struct{ deleted, alone bool }

// reach follows one machine and finishes what create does at its end.
func reach(ctx context.Context, env *cli.Env, m *controllerv1.Machine, g goal, progress output.Progress) (*controllerv1.Machine, error) {
	client, err := env.Client(ctx)
	if err != nil {
		return nil, err
	}
	reached, parked := m, m.GetStatus().GetFailure() != nil
	if g.deleted || parked || m.GetStatus().GetObservedGeneration() < m.GetGeneration() {
		if !parked {
			progress.Step(fmt.Sprintf("(%s) %s", m.GetName(), doing(m)))
		}
		reached, err = follow.Machine(ctx, client, follow.Goal{
			Name: m.GetName(), UID: m.GetUid(), Generation: m.GetGeneration(), Deleted: g.deleted, Since: env.Now(),
			Words: create.Words(), Alone: g.alone, Progress: progress,
		})
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return reached, fault.New("machine.wait", fault.Unavailable, m.GetName(), "machine \""+m.GetName()+"\" did not get there in time").
			WithHint("`mctl ls` shows how it is; the work goes on")
	case err != nil:
		return reached, err
	case g.deleted:
		return nil, forget(env, m)
	}
	if reached.GetStatus().GetPhase() == controllerv1.Phase_PHASE_RUNNING && reached.GetStatus().GetUrl() != "" {
		return reached, create.Finish(ctx, env, reached, progress)
	}
	progress.Done(nil)
	progress.Note(fmt.Sprintf("Machine %q is %s.", m.GetName(), reached.GetStatus().GetState()))
	return reached, nil
}

// doing is what is being done to a machine, as far as its record tells.
func doing(m *controllerv1.Machine) string {
	if text := m.GetStatus().GetProgress(); text != "" {
		return text
	}
	phase := strings.ToLower(strings.TrimPrefix(m.GetStatus().GetPhase().String(), "PHASE_"))
	if lines := create.Words()[phase]; len(lines) > 0 {
		return lines[len(lines)-1]
	}
	return "Waiting, it is " + phase + "..."
}

// forget removes the files of a machine that is gone.
func forget(env *cli.Env, m *controllerv1.Machine) error {
	dir, err := env.State()
	if err != nil {
		return err
	}
	folder := dir.Machine(m.GetName())
	if mark, _ := folder.Mark(); mark.UID != m.GetUid() {
		return nil
	}
	return removeFiles(env, folder)
}

func newRetry(env *cli.Env) *cobra.Command {
	return &cobra.Command{
		Use: "retry [arg...]", Short: "Have a failed machine go on where it stopped", Example: "mctl retry web", ValidArgsFunction: cli.CompleteMachines(env),
		RunE: func(command *cobra.Command, args []string) error { return retry(command.Context(), env, args) },
	}
}

func retry(ctx context.Context, env *cli.Env, args []string) error {
	machines, err := env.Machines(ctx, args)
	if err != nil {
		return err
	}
	return each(ctx, env, machines, func(m *controllerv1.Machine, progress output.Progress) (*controllerv1.Machine, error) {
		return retryOne(ctx, env, m, len(machines) == 1, progress)
	})
}

func retryOne(ctx context.Context, env *cli.Env, m *controllerv1.Machine, alone bool, progress output.Progress) (*controllerv1.Machine, error) {
	client, err := env.Client(ctx)
	if err != nil {
		return nil, err
	}
	dir, err := env.State()
	if err != nil {
		return nil, err
	}
	if needsAgent(dir.Machine(m.GetName()), m) {
		if loan, err := signer.Lend(ctx, client, env.Getenv("SSH_AUTH_SOCK"), m.GetName()); err == nil {
			defer loan.Return()
		}
	}
	response, err := client.Machines.RetryMachine(ctx, &controllerv1.RetryMachineRequest{RequestId: cli.RequestID(), Name: m.GetName()})
	if err != nil {
		return nil, err
	}
	return reach(ctx, env, response.GetMachine(), goal{alone: alone}, progress)
}
