package machine

import (
	"context"
	"errors"
	"strings"
	"sync"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"mctl/internal/fault"
	"mctl/internal/mctl/cli"
	"mctl/internal/mctl/dockercontext"
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
		Use: "rm [arg...]", Short: "Remove a machine", Example: "mctl rm web\nmctl rm -y web db", ValidArgsFunction: cli.CompleteMachines(env),
		Args: func(command *cobra.Command, args []string) error {
			if len(args) == 0 {
				env.Remind(env.Help(command, command.LocalFlags()))
				return cli.Failf("Error: Expected to get one or more machine names as arguments").WithHint("`mctl ls` lists the machines")
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
	flags.BoolVar(&opts.purge, "purge-engine", false, "On an adopted host, also remove a Docker that was installed for the machine, with its data")
	return command
}

// remove asks for the machines to go, all at once, and returns when each is gone or could not go.
func remove(ctx context.Context, env *cli.Env, names []string, opts removeOptions) error {
	env.Infof("About to remove %s", strings.Join(names, ", "))
	env.Infof("WARNING: This action will delete both local reference and remote instance.")
	result := removal{Removed: []string{}}
	if !opts.force && !opts.yes {
		yes, err := env.Confirm("Are you sure?")
		if err != nil || !yes { // nobody there to answer counts as no
			return env.Result(result)
		}
	}
	var mu sync.Mutex
	var failed []error
	var group errgroup.Group
	group.SetLimit(atOnce)
	place := env.Live()
	for _, name := range names {
		progress := place()
		group.Go(func() error {
			err := removeOne(ctx, env, name, opts, progress)
			progress.Done(err)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failed = append(failed, cli.Wrap(err, "Error removing host %q: %w", name))
				return nil
			}
			result.Removed = append(result.Removed, name)
			said(env, progress, "Successfully removed "+name)
			return nil
		})
	}
	_ = group.Wait()
	err := errors.Join(failed...)
	switch {
	case ctx.Err() != nil:
		err = cli.Interrupted("what is being removed is removed all the same; `mctl wait --deleted " + strings.Join(names, " ") + "` waits for it")
	case opts.force && err != nil:
		// docker-machine's users rely on this: by force is never a failure.
		env.Complain(err)
		result.Errors, err = env.Complaints(err), nil
	}
	return errors.Join(err, env.Result(result))
}

// removal is what a removal answers with --output json.
type removal struct {
	Removed []string `json:"removed"`
	Errors  any      `json:"errors,omitempty"` // with --force, which is never a failure
}

// said writes a line for good: through the board where one is drawn, since they share a screen.
func said(env *cli.Env, progress output.Progress, line string) {
	if _, silent := progress.(output.Silent); silent {
		env.Infof("%s", line)
		return
	}
	progress.Note(line)
}

func removeOne(ctx context.Context, env *cli.Env, name string, opts removeOptions, progress output.Progress) error {
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
			err = errors.Join(err, removeFiles(env, folder))
		}
		return err
	}
	if needsAgent(folder, present) {
		// Whoever adopted the host with an ssh-agent lends it to give the host back; without one, the host's own agent does.
		if loan, err := signer.Lend(ctx, client, env.Getenv("SSH_AUTH_SOCK"), name); err == nil {
			defer loan.Return()
		}
	}
	progress.Step("(" + name + ") Removing the host...")
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
			Name: name, UID: m.GetUid(), Generation: m.GetGeneration(), Deleted: true, Since: asked, Progress: progress,
		}); err != nil {
			return err
		}
	}
	return removeFiles(env, folder)
}

// removeFiles removes what the caller has of a machine that is gone.
func removeFiles(env *cli.Env, folder state.Folder) error {
	dockercontext.Forget(env, folder.Name)
	return folder.Remove()
}

func needsAgent(folder state.Folder, m *controllerv1.Machine) bool {
	return m.GetSpec().GetDriver() == "generic" && !folder.HasKey()
}
