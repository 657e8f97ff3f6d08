package machine

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"mctl/internal/fault"
	"mctl/internal/mctl/cli"
	"mctl/internal/mctl/follow"
	"mctl/internal/mctl/output"
	"mctl/internal/mctl/signer"
	"mctl/internal/mctl/state"
	controllerv1 "mctl/proto/mctl/controller/v1"
)

// atOnce bounds how many machines one command works on at the same time.
const atOnce = 16

type removeOptions struct{ force, yes, purge bool }

func newRemove(env *cli.Env) *cobra.Command {
	var opts removeOptions
	command := &cobra.Command{
		Use: "rm [arg...]", Short: "Remove a machine", ValidArgsFunction: cli.CompleteMachines(env),
		Args: func(command *cobra.Command, args []string) error {
			if len(args) == 0 {
				env.Help(env.Out, command, command.LocalFlags())
				return cli.Failf("Error: Expected to get one or more machine names as arguments")
			}
			return nil
		},
		RunE: func(command *cobra.Command, args []string) error {
			return remove(command.Context(), env, cli.Unique(args), opts)
		},
	}
	flags := command.Flags()
	flags.BoolVarP(&opts.force, "force", "f", false, "Remove local configuration even if machine cannot be removed, also implies an automatic yes (`-y`)")
	flags.BoolVarP(&opts.yes, "yes", "y", false, "Assumes automatic yes to proceed with remove, without prompting further user confirmation")
	flags.BoolVar(&opts.purge, "purge-engine", false, "On an adopted host, also remove a Docker that mctl installed, with its data")
	return command
}

// remove asks for the machines to go, all at once, and returns when each is gone or could not go.
func remove(ctx context.Context, env *cli.Env, names []string, opts removeOptions) error {
	env.Infof("About to remove %s", strings.Join(names, ", "))
	env.Infof("WARNING: This action will delete both local reference and remote instance.")
	if !opts.force && !opts.yes {
		yes, err := env.Confirm("Are you sure?")
		if errors.Is(err, io.EOF) || err == nil && !yes {
			return nil
		}
		if err != nil {
			return err
		}
	}
	var mu sync.Mutex
	var failed []error
	var removed []string
	var group errgroup.Group
	group.SetLimit(atOnce)
	for _, name := range names {
		group.Go(func() error {
			err := removeOne(ctx, env, name, opts)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failed = append(failed, cli.Wrap(err, "Error removing host %q: %w", name))
				return nil
			}
			removed = append(removed, name)
			env.Infof("Successfully removed %s", name)
			return nil
		})
	}
	_ = group.Wait()
	if ctx.Err() != nil {
		env.Infof("What is being removed is removed all the same.")
		return cli.Silent{Code: cli.ExitInterrupted}
	}
	if env.JSON() {
		if err := output.JSON(env.Out, map[string][]string{"removed": append([]string{}, removed...)}); err != nil {
			return err
		}
	}
	err := errors.Join(failed...)
	if opts.force && err != nil {
		// docker-machine's users rely on this: by force is never a failure.
		env.Report(env.Err, err)
		return nil
	}
	return err
}

func removeOne(ctx context.Context, env *cli.Env, name string, opts removeOptions) error {
	client, err := env.Client(ctx)
	if err != nil {
		return err
	}
	dir, err := env.State()
	if err != nil {
		return err
	}
	if strings.ContainsAny(name, "/\x00") || strings.HasPrefix(name, ".") {
		return fault.New("machine.rm", fault.NotFound, name, `Docker machine "`+name+`" does not exist`)
	}
	folder := dir.Machine(name)
	present, err := env.Get(ctx, name)
	if err != nil {
		if opts.force && fault.Is(err, fault.NotFound) {
			err = errors.Join(err, folder.Remove())
		}
		return err
	}
	if needsAgent(folder, present) {
		// Whoever adopted the host with an ssh-agent lends it to give the host back; without one, the host's own agent does.
		if loan, err := signer.Lend(ctx, client, env.Getenv("SSH_AUTH_SOCK"), name); err == nil {
			defer loan.Return()
		}
	}
	asked := env.Now()
	response, err := client.Machines.DeleteMachine(ctx, &controllerv1.DeleteMachineRequest{
		RequestId: cli.RequestID(), Name: name, Force: opts.force, PurgeEngine: opts.purge,
	})
	switch {
	case fault.Is(err, fault.NotFound): // it went between two calls
	case err != nil:
		return err
	default:
		m := response.GetMachine()
		if _, err := follow.Machine(ctx, client, follow.Goal{
			Name: name, UID: m.GetUid(), Generation: m.GetGeneration(), Deleted: true, Since: asked, Progress: output.Silent{},
		}); err != nil {
			return err
		}
	}
	return folder.Remove()
}

func needsAgent(folder state.Folder, m *controllerv1.Machine) bool {
	return m.GetSpec().GetDriver() == "generic" && !folder.HasKey()
}
