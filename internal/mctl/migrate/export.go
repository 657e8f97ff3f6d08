package migrate

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"mctl/internal/fault"
	"mctl/internal/mctl/cli"
	"mctl/internal/mctl/dial"
	"mctl/internal/mctl/follow"
	"mctl/internal/mctl/signer"
	"mctl/internal/mctl/state"
	controllerv1 "mctl/proto/mctl/controller/v1"
)

// exportMark is the file that tells our folders in a store from another program's: it holds the uid of the machine, and whether that was to
// be given back.
const exportMark = ".mctl-export"

type exportOptions struct{ secrets, release bool }

func newExport(env *cli.Env) *cobra.Command {
	var opts exportOptions
	command := &cobra.Command{
		Use: "export DIR NAME...", Short: "Write machines into a store that docker-machine can read, or give them back to it",
		Long: "Without secrets it is a copy for reading. With --release the hosts are given to docker-machine: what was put on them is taken away, dockerd\n" +
			"serves its port itself as docker-machine has it do, its containers go on, and the machines are forgotten here.",
		Example: "mctl export ./store web\nmctl export --with-secrets ./store web db\nmctl export --with-secrets --release ~/.docker/machine web",
		RunE: func(command *cobra.Command, args []string) error {
			switch {
			case len(args) < 2:
				env.Remind(env.Help(command, command.LocalFlags()))
				return cli.Usagef("Error: Expected a directory and one or more machine names as arguments").WithHint("`mctl ls` lists the machines")
			case opts.release && !opts.secrets:
				return cli.Usagef("--release needs --with-secrets").WithHint("the old tool can do nothing without the keys")
			}
			return export(command.Context(), env, args[0], cli.Unique(args[1:]), opts)
		},
		ValidArgsFunction: func(command *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
			if len(args) == 0 {
				return nil, cobra.ShellCompDirectiveFilterDirs
			}
			return cli.CompleteMachines(env)(command, args, prefix)
		},
	}
	command.Flags().BoolVar(&opts.secrets, "with-secrets", false, "Write private keys and the drivers' secrets, too, readable by you alone")
	command.Flags().BoolVar(&opts.release, "release", false, "Give the hosts back, and forget the machines")
	return command
}

// exports is what an export answers with --output json.
type exports struct {
	Store    string   `json:"store"`
	Exported []string `json:"exported"`
	Released []string `json:"released,omitempty"`
}

func export(ctx context.Context, env *cli.Env, path string, names []string, opts exportOptions) error {
	root, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	dir, err := env.State()
	if err != nil {
		return err
	}
	if same(root, dir.Root) {
		return fault.New("migrate.export", fault.Precondition, root, "a machine can't be exported to the state directory that it is in").
			WithHint("name another directory; `mctl import --undo` brings back what was imported in place")
	}
	client, err := env.Client(ctx)
	if err != nil {
		return err
	}
	unlock, err := lock(dir)
	if err != nil {
		return err
	}
	defer unlock()
	e := &exporter{env: env, client: client, dir: dir, root: root, opts: opts}
	answer := exports{Store: root, Exported: []string{}}
	if err := e.private(); err != nil {
		return err
	}
	var errs []error
	for _, name := range names {
		released, err := e.one(ctx, name)
		switch {
		case err != nil:
			errs = append(errs, cli.Wrap(err, "Error exporting machine %q: %w", name))
		case released:
			answer.Released = append(answer.Released, name)
			env.Infof("Exported %s to %s, and gave its host back", name, root)
		default:
			env.Infof("Exported %s to %s", name, root)
		}
		if err == nil {
			answer.Exported = append(answer.Exported, name)
		}
		if ctx.Err() != nil {
			return cli.Interrupted("what is exported stays so; the same command goes on with the rest")
		}
	}
	return errors.Join(errors.Join(errs...), env.Result(answer))
}

// exporter writes machines into a store.
type exporter struct {
	env    *cli.Env
	client *dial.Client
	dir    state.Dir
	root   string
	opts   exportOptions
}

// one exports a machine: its files first and whole, then its host is given back. Done again after a crash, it goes on where that was.
func (e *exporter) one(ctx context.Context, name string) (released bool, err error) {
	if strings.ContainsAny(name, "/\x00") || strings.HasPrefix(name, ".") { // it names a folder
		return false, fault.New("migrate.one", fault.NotFound, name, `Docker machine "`+name+`" does not exist`)
	}
	folder := filepath.Join(e.root, "machines", name)
	if e.opts.release && !e.dir.Machine(name).HasKey() {
		// Whoever adopted the host with an ssh-agent lends it for the way back, too.
		if loan, err := signer.Lend(ctx, e.client, e.env.Getenv("SSH_AUTH_SOCK"), name); err == nil {
			defer loan.Return()
		}
	}
	response, err := e.client.Machines.ExportMachine(ctx, &controllerv1.ExportMachineRequest{
		Name: name, WithSecrets: e.opts.secrets, ForRelease: e.opts.release,
	})
	if fault.Is(err, fault.NotFound) && e.opts.release {
		if uid, release, _ := readMark(folder); release { // before a crash
			return true, e.forget(name, uid)
		}
	}
	if err != nil {
		return false, err
	}
	m := response.GetMachine()
	uid, _, there := readMark(folder)
	if !there && exists(folder) || there && uid != m.GetUid() {
		return false, fault.E("migrate.one", fault.Exists, folder, fmt.Errorf("the folder %s is there already, and not this machine's", folder)).
			WithHint("move it away, or name another directory")
	}
	if !there || m.GetSpec().GetDeletion() == nil { // else they were written when more of it was left
		if err := e.write(ctx, response, folder); err != nil {
			return false, err
		}
	}
	if !e.opts.release {
		return false, nil
	}
	return true, e.release(ctx, m)
}

// release gives the host back and forgets the machine.
func (e *exporter) release(ctx context.Context, m *controllerv1.Machine) error {
	progress := e.env.Progress()()
	began := e.env.Now()
	asked, err := e.client.Machines.DeleteMachine(ctx, &controllerv1.DeleteMachineRequest{RequestId: cli.RequestID(), Name: m.GetName(), Release: true})
	if err == nil {
		_, err = follow.Machine(ctx, e.client, follow.Goal{
			Name: m.GetName(), UID: m.GetUid(), Generation: asked.GetMachine().GetGeneration(), Deleted: true, Since: began, Alone: true, Progress: progress,
		})
	}
	progress.Done(err)
	if err != nil && !fault.Is(err, fault.NotFound) {
		return err
	}
	return e.forget(m.GetName(), m.GetUid())
}

// forget removes what this computer has of a machine that is gone, but not of another one that has its name by now.
func (e *exporter) forget(name, uid string) error {
	folder := e.dir.Machine(name)
	if mark, _ := folder.Mark(); mark.UID != uid {
		return nil
	}
	return folder.Remove()
}
