// Package migrate is `mctl import` and `mctl export`: machines that come from docker-machine, and go back.
package migrate

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"mctl/internal/fault"
	"mctl/internal/mctl/cli"
	"mctl/internal/mctl/dial"
	"mctl/internal/mctl/follow"
	"mctl/internal/mctl/legacy"
	"mctl/internal/mctl/state"
	controllerv1 "mctl/proto/mctl/controller/v1"
)

// atOnce bounds how many machines one command works on at the same time.
const atOnce = 32

// Commands returns the commands that bring machines along and give them back.
func Commands(env *cli.Env) []*cobra.Command {
	return []*cobra.Command{newImport(env), newExport(env)}
}

type importOptions struct {
	dryRun, undo, wait       bool
	pluginBinary, credential string
}

func newImport(env *cli.Env) *cobra.Command {
	var opts importOptions
	command := &cobra.Command{
		Use: "import DIR", Short: "Bring along the machines of a docker-machine or rancher-machine store",
		Long: "DIR is only read, unless it is the state directory itself: then it is first copied, to a folder beside its machines, and --undo\n" +
			"brings that back. Hosts are taken over in the background, without losing a container; one that is down when it is back.",
		Example: "mctl import --dry-run ~/.docker/machine\nmctl import ~/.docker/machine\nmctl -s ~/.docker/machine import --undo",
		RunE: func(command *cobra.Command, args []string) error {
			switch {
			case opts.undo && (opts.dryRun || opts.wait):
				return cli.Usagef("--undo stands alone").WithHint("leave the other flags out")
			case opts.undo && len(args) == 0:
				return undo(command.Context(), env, "")
			case len(args) != 1:
				env.Remind(env.Help(command, command.LocalFlags()))
				return cli.Usagef("Error: Expected one directory as an argument").WithHint("docker-machine's is ~/.docker/machine")
			case opts.undo:
				return undo(command.Context(), env, args[0])
			}
			return bring(command.Context(), env, args[0], opts)
		},
	}
	flags := command.Flags()
	flags.BoolVar(&opts.dryRun, "dry-run", false, "Say what would happen to each machine, and change nothing")
	flags.BoolVar(&opts.undo, "undo", false, "Forget the machines that were imported from DIR, hosts stay as they are; without DIR, of the state directory itself, whose folders are brought back")
	flags.BoolVar(&opts.wait, "wait", false, "Wait until each host is taken over")
	flags.StringVar(&opts.pluginBinary, "plugin-binary", "", "Program, on the controller's computer, that serves the drivers which it has none of itself")
	flags.StringVar(&opts.credential, "credential", "", "Name of a stored credential for machines in a cloud, see the command credential")
	return command
}

// bring imports a store.
func bring(ctx context.Context, env *cli.Env, path string, opts importOptions) error {
	root, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	client, err := env.Client(ctx)
	if err != nil {
		return err
	}
	dir, err := env.State()
	if err != nil {
		return err
	}
	inPlace := dir.Context == "" && same(root, dir.Root)
	reader := &legacy.Reader{Dir: root, Now: env.Now(), PluginBinary: opts.pluginBinary, Credential: credentialOf(ctx, env, client, opts.credential)}
	if inPlace {
		reader.Ours = func(name string) bool { _, ours := dir.Machine(name).Mark(); return ours }
	}
	if reader.Flags, err = schemas(ctx, client); err != nil {
		return err
	}
	plan, err := reader.Read()
	if err != nil {
		return err
	}
	answer := report{Store: root, InPlace: inPlace, Machines: resultsOf(plan)}
	i := &importer{env: env, client: client, dir: dir, inPlace: inPlace}
	if opts.dryRun {
		if err := i.check(ctx, plan, answer.Machines); err != nil {
			return err
		}
		return show(env, answer)
	}
	unlock, err := lock(dir)
	if err != nil {
		return err
	}
	defer unlock()
	if inPlace {
		if answer.Backup, err = backUp(root, importable(plan), env.Now()); err != nil {
			return err
		}
	}
	err = i.all(ctx, plan, answer.Machines)
	if err := errors.Join(err, show(env, answer)); err != nil || !opts.wait {
		return err
	}
	return await(ctx, env, client, i.made)
}

// importer sends what was read to the controller.
type importer struct {
	env     *cli.Env
	client  *dial.Client
	dir     state.Dir
	inPlace bool
	mu      sync.Mutex
	made    []*controllerv1.Machine
}

func (i *importer) all(ctx context.Context, plan *legacy.Plan, results []result) error {
	var group errgroup.Group
	group.SetLimit(atOnce)
	errs := make([]error, len(plan.Machines))
	for at, m := range plan.Machines {
		if m.Request == nil {
			continue
		}
		group.Go(func() error {
			var err error
			if results[at].Result, err = i.one(ctx, m); err != nil {
				results[at].Result = failed
				errs[at] = cli.Wrap(err, "Error importing machine %q: %w", m.Name)
			}
			return nil
		})
	}
	_ = group.Wait()
	if ctx.Err() != nil {
		return cli.Interrupted("what is imported stays so; the same command goes on with the rest")
	}
	return errors.Join(errs...)
}

// check asks what the controller would say to each machine, and changes nothing. What it would refuse is told like what the store lacks.
func (i *importer) check(ctx context.Context, plan *legacy.Plan, results []result) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	sent := map[string]bool{}
	for at, m := range plan.Machines {
		if m.Request == nil {
			continue
		}
		if sent[m.Authority] { // one look at a key is enough
			m.Request.AuthorityKey = nil
		}
		sent[m.Authority] = true
		group.Go(func() error {
			response, err := i.ask(ctx, m, true)
			switch {
			case ctx.Err() != nil || fault.Is(err, fault.Unavailable) || fault.Is(err, fault.Internal):
				return err
			case err != nil:
				results[at].Result, results[at].Problem = skipped, &legacy.Note{Message: err.Error(), Hint: fault.HintOf(err)}
			case response.GetKnown():
				results[at].Result = known
			}
			return nil
		})
	}
	return group.Wait()
}

// ask sends one machine to the controller, or has it only checked.
func (i *importer) ask(ctx context.Context, m *legacy.Machine, only bool) (*controllerv1.ImportMachineResponse, error) {
	if folder := i.dir.Machine(m.Name); !i.inPlace && folder.Foreign() {
		return nil, fault.E("import", fault.Exists, m.Name, fmt.Errorf("the folder %s is there already and not of mctl's making", folder.Path)).
			WithHint("move it away, then try again")
	}
	m.Request.RequestId, m.Request.ValidateOnly = cli.RequestID(), only
	response, err := i.client.Machines.ImportMachine(ctx, m.Request)
	if fault.ReasonOf(err) == fault.ReasonUsage { // the store's mistake, and not the command line's
		hint := cmp.Or(fault.HintOf(err), "mend its config.json, or move its folder away")
		return nil, fault.New("import", fault.KindOf(err), m.Name, err.Error()).WithHint(hint)
	}
	return response, err
}

// one imports one machine: first the controller takes note of it, then its files are put where mctl looks.
func (i *importer) one(ctx context.Context, m *legacy.Machine) (string, error) {
	response, err := i.ask(ctx, m, false)
	if err != nil {
		return "", err
	}
	if err := i.files(ctx, m, response.GetMachine()); err != nil {
		return "", err
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.made = append(i.made, response.GetMachine())
	if response.GetKnown() {
		return known, nil
	}
	return imported, nil
}

// files makes the folder ours, with the key for logging in. Certificates are issued when somebody needs them, but for those of an authority
// that can issue none.
func (i *importer) files(ctx context.Context, m *legacy.Machine, made *controllerv1.Machine) error {
	folder := i.dir.Machine(m.Name)
	if !i.inPlace {
		if err := folder.Claim(made.GetUid()); err != nil {
			return err
		}
	}
	if key := m.Request.GetSshKey(); key != nil && !folder.HasKey() {
		if err := folder.WriteKeys(key, nil); err != nil {
			return err
		}
	}
	if len(m.Client.Key) > 0 {
		docker, err := i.env.Docker(ctx)
		if err != nil {
			return err
		}
		if err := docker.Bring(made.GetStatus().GetAuthority(), m.Client); err != nil {
			return err
		}
	}
	if i.inPlace { // last: what has no mark is imported once more
		return folder.Adopt(made.GetUid())
	}
	return nil
}

// await follows the machines until their hosts are taken over.
func await(ctx context.Context, env *cli.Env, client *dial.Client, machines []*controllerv1.Machine) error {
	place := env.Live()
	var group errgroup.Group
	group.SetLimit(atOnce)
	errs := make([]error, len(machines))
	for at, m := range machines {
		progress := place()
		group.Go(func() error {
			_, err := follow.Machine(ctx, client, follow.Goal{Name: m.GetName(), UID: m.GetUid(), Generation: m.GetGeneration(), Since: env.Now(), Progress: progress})
			progress.Done(err)
			if err != nil {
				errs[at] = cli.Wrap(err, "Error taking over machine %q: %w", m.GetName())
			}
			return nil
		})
	}
	_ = group.Wait()
	if ctx.Err() != nil {
		return cli.Interrupted("the hosts are taken over all the same; `mctl ls` shows how far that is")
	}
	return errors.Join(errs...)
}

// importable are the folders that become machines of ours.
func importable(plan *legacy.Plan) []string {
	var names []string
	for _, m := range plan.Machines {
		if m.Request != nil {
			names = append(names, m.Name)
		}
	}
	return names
}
