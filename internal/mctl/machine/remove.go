package machine

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/types/known/durationpb"

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

// defaultWaitDelete is how long rm --force waits where a provider fails: less than a GitLab Runner gives it.
const defaultWaitDelete = 2 * time.Minute

type removeOptions struct {
	force, yes, purge, forget bool
	waitDelete, drain         time.Duration
}

func newRemove(env *cli.Env) *cobra.Command {
	var opts removeOptions
	command := &cobra.Command{
		Use: "rm [arg...]", Short: "Remove a machine", Example: "mctl rm web\nmctl rm -y web db", ValidArgsFunction: cli.CompleteMachines(env),
		Args: atLeastOne(env),
		RunE: func(command *cobra.Command, args []string) error {
			if opts.waitDelete < 0 {
				return cli.Usagef("invalid value %q for flag -wait-delete", opts.waitDelete).WithHint("give a time such as 90s or 5m; 0 does not wait")
			}
			if err := cli.CheckDrain(opts.drain); err != nil {
				return err
			}
			return remove(command.Context(), env, cli.Unique(args), opts)
		},
	}
	flags := command.Flags()
	flags.BoolVarP(&opts.force, "force", "f", false, "Remove even what the provider does not remove at once, by trying for as long as it takes; also implies an automatic yes (`-y`)")
	flags.BoolVarP(&opts.yes, "yes", "y", false, "Assumes automatic yes to proceed with remove, without prompting further user confirmation")
	flags.DurationVar(&opts.waitDelete, "wait-delete", defaultWaitDelete, "With --force: how long to wait until the machine is gone, before the controller is left to it")
	cli.AddDrain(flags, &opts.drain)
	flags.BoolVar(&opts.forget, "forget", false, "Forget the machine even if its host can't be removed; the command orphans finds what is left then")
	flags.BoolVar(&opts.purge, "purge-engine", false, "On an adopted host, also remove a Docker that was installed for the machine, with its data")
	return command
}

// atLeastOne refuses a command line without names, in docker-machine's words.
func atLeastOne(env *cli.Env) cobra.PositionalArgs {
	return func(command *cobra.Command, args []string) error {
		if len(args) == 0 {
			env.Remind(env.Help(command, command.LocalFlags()))
			return cli.Failf("Error: Expected to get one or more machine names as arguments").WithHint("`mctl ls` lists the machines")
		}
		return nil
	}
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
			var left pending
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				progress.Done(nil)
				result.Removed = append(result.Removed, name)
				said(env, progress, "Successfully removed "+name)
			case opts.force && errors.As(err, &left):
				progress.Done(context.Canceled) // left to itself
				result.Pending = append(result.Pending, name)
				said(env, progress, left.Error())
			case opts.force && fault.Is(err, fault.NotFound): // docker-machine's users rely on its being no failure
				progress.Done(nil)
				said(env, progress, err.Error()+", so there is nothing to remove")
			default:
				progress.Done(err)
				failed = append(failed, cli.Wrap(err, "Error removing host %q: %w", name))
			}
			return nil
		})
	}
	_ = group.Wait()
	err := errors.Join(failed...)
	if ctx.Err() != nil {
		err = cli.Interrupted("what is being removed is removed all the same; `mctl wait --deleted " + strings.Join(names, " ") + "` waits for it")
	}
	return errors.Join(err, env.Result(result))
}

// removal is what a removal answers with --output json.
type removal struct {
	Removed []string `json:"removed"`
	Pending []string `json:"pending,omitempty"` // with --force: the controller goes on with them
}

// pending is a removal that the controller has taken note of and goes on with, although nobody waits for it any more.
type pending struct{ name, reason string }

func (p pending) Error() string {
	text := fmt.Sprintf("%q is not gone yet. Its removal is noted and goes on until it is", p.name)
	if p.reason != "" {
		text += "; so far: " + p.reason
	}
	return text
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
			if left := removeFiles(env, folder); left != nil {
				return left
			}
		}
		return err
	}
	// A create that was killed may have left it without the machine's mark.
	if err := dir.Recover(name, present.GetUid(), present.GetSpec().GetSshAuthorizedKeys()); err != nil {
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
		RequestId: cli.RequestID(), Name: name, Force: opts.forget, Persist: opts.force, PurgeEngine: opts.purge,
		DrainTimeout: durationpb.New(opts.drain),
	})
	switch {
	case fault.Is(err, fault.NotFound): // it went between two calls
		return forget(env, present)
	case err != nil:
		return err
	}
	m := response.GetMachine()
	limited, cancel := ctx, func() {}
	if m.GetSpec().GetDeletion().GetPersist() { // else its failure ends the wait
		limited, cancel = context.WithTimeout(ctx, opts.waitDelete)
	}
	defer cancel()
	_, err = follow.Machine(limited, client, follow.Goal{
		Name: name, UID: m.GetUid(), Generation: m.GetGeneration(), Deleted: true, Since: asked, Progress: progress,
	})
	switch {
	case err == nil:
		return forget(env, m)
	case !opts.force || ctx.Err() != nil:
		return unfinished(ctx, env, name, err)
	}
	return pending{name, reason(ctx, env, name)}
}

// unfinished puts into words that the time was over for a removal which the controller goes on with.
func unfinished(ctx context.Context, env *cli.Env, name string, err error) error {
	if !errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil {
		return err
	}
	return fault.E("machine.rm", fault.Unavailable, name, pending{name, reason(ctx, env, name)}).
		WithHint("`mctl wait --deleted " + name + "` waits for it, `mctl rm --forget " + name + "` gives it up")
}

// reason is why a machine is not gone yet, as far as its controller knows.
func reason(ctx context.Context, env *cli.Env, name string) string {
	m, err := env.Get(ctx, name)
	if err != nil {
		return ""
	}
	return m.GetStatus().GetError()
}

// removeFiles removes what the caller has of a machine that is gone.
func removeFiles(env *cli.Env, folder state.Folder) error {
	dockercontext.Forget(env, folder.Name)
	return folder.Remove()
}

func needsAgent(folder state.Folder, m *controllerv1.Machine) bool {
	return m.GetSpec().GetDriver() == "generic" && !folder.HasKey()
}
