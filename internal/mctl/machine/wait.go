package machine

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"

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
		Use: "wait [arg...]", Short: "Wait until a machine is what was asked for", ValidArgsFunction: cli.CompleteMachines(env),
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
	machines, err := env.Machines(ctx, args)
	if err != nil {
		if deleted && fault.Is(err, fault.NotFound) {
			return nil
		}
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var failed []error
	for _, m := range machines {
		failed = append(failed, reach(ctx, env, m, deleted))
	}
	return errors.Join(failed...)
}

// reach follows one machine and finishes what create does at its end.
func reach(ctx context.Context, env *cli.Env, m *controllerv1.Machine, deleted bool) error {
	client, err := env.Client(ctx)
	if err != nil {
		return err
	}
	progress := env.Progress()
	defer progress.Done(false)
	reached, err := follow.Machine(ctx, client, follow.Goal{
		Name: m.GetName(), UID: m.GetUid(), Generation: m.GetGeneration(), Deleted: deleted, Since: env.Now(),
		Words: create.Words(), Progress: progress,
	})
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return fault.New("machine.wait", fault.Unavailable, m.GetName(), "machine \""+m.GetName()+"\" did not get there in time").
			WithHint("`" + env.App() + " ls` shows how it is; the work goes on")
	case err != nil || deleted:
		return err
	}
	if reached.GetStatus().GetPhase() == controllerv1.Phase_PHASE_RUNNING && reached.GetStatus().GetUrl() != "" {
		return create.Finish(ctx, env, reached, progress)
	}
	progress.Done(true)
	if env.JSON() {
		return output.Message(env.Out, reached)
	}
	env.Infof("Machine %q is %s.", m.GetName(), reached.GetStatus().GetState())
	return nil
}

func newRetry(env *cli.Env) *cobra.Command {
	return &cobra.Command{
		Use: "retry [arg...]", Short: "Have a failed machine go on where it stopped", ValidArgsFunction: cli.CompleteMachines(env),
		RunE: func(command *cobra.Command, args []string) error { return retry(command.Context(), env, args) },
	}
}

func retry(ctx context.Context, env *cli.Env, args []string) error {
	machines, err := env.Machines(ctx, args)
	if err != nil {
		return err
	}
	var failed []error
	for _, m := range machines {
		failed = append(failed, retryOne(ctx, env, m))
	}
	return errors.Join(failed...)
}

func retryOne(ctx context.Context, env *cli.Env, m *controllerv1.Machine) error {
	client, err := env.Client(ctx)
	if err != nil {
		return err
	}
	dir, err := env.State()
	if err != nil {
		return err
	}
	if needsAgent(dir.Machine(m.GetName()), m) {
		if loan, err := signer.Lend(ctx, client, env.Getenv("SSH_AUTH_SOCK"), m.GetName()); err == nil {
			defer loan.Return()
		}
	}
	response, err := client.Machines.RetryMachine(ctx, &controllerv1.RetryMachineRequest{RequestId: cli.RequestID(), Name: m.GetName()})
	if err != nil {
		return err
	}
	return reach(ctx, env, response.GetMachine(), false)
}
