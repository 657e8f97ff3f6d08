package dockercontext

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"mctl/internal/mctl/cli"
	"mctl/internal/mctl/engine"
	"mctl/internal/mctl/state"
	"mctl/internal/mctl/tunnel"
	controllerv1 "mctl/proto/mctl/controller/v1"
)

// Commands returns the commands about the docker CLI's contexts.
func Commands(env *cli.Env) []*cobra.Command {
	command := &cobra.Command{
		Use: "docker-context", Short: "Manage contexts of the docker CLI for machines",
		Long: "A context makes `docker --context NAME` talk to a machine. Contexts are kept where the docker CLI keeps its own:\n" +
			"in DOCKER_CONFIG, else in ~/.docker. Those that " + env.App() + " did not make are never touched. They go with their machines.",
		Example: "mctl docker-context add web\nmctl docker-context sync",
		Args:    cli.NoCommand(env), RunE: cli.ShowHelp,
	}
	command.AddCommand(newAdd(env), newRemove(env), newSync(env))
	return []*cobra.Command{command}
}

func addPrefix(command *cobra.Command, prefix *string) {
	command.Flags().StringVar(prefix, "prefix", "", "What stands before the machine's name in the context's")
}

func newAdd(env *cli.Env) *cobra.Command {
	var prefix string
	var via tunnel.Via
	command := &cobra.Command{
		Use: "add [arg...]", Short: "Make contexts for machines, or bring them up to date",
		Example: "mctl docker-context add web\ndocker --context web ps\nmctl docker-context add --prefix lab- web db",
		Args:    cobra.ArbitraryArgs, ValidArgsFunction: cli.CompleteMachines(env),
		RunE: func(command *cobra.Command, args []string) error {
			return add(command.Context(), env, args, prefix, via)
		},
	}
	addPrefix(command, &prefix)
	tunnel.AddVia(command.Flags(), &via, tunnel.Direct)
	return command
}

// row is what became of a context.
type row struct {
	record
	Change change `json:"change"`
}

func add(ctx context.Context, env *cli.Env, args []string, prefix string, via tunnel.Via) error {
	s, err := open(env)
	if err != nil {
		return err
	}
	machines, err := env.Machines(ctx, args)
	if err != nil {
		return err
	}
	rows, failed := []row{}, []error(nil)
	for _, m := range machines {
		r, err := put(ctx, env, s, prefix+m.GetName(), m, via)
		if err != nil {
			failed = append(failed, err)
			continue
		}
		rows = append(rows, r)
		env.Infof("%s", r)
	}
	if len(failed) == 0 {
		env.Infof("To use it, run: docker --context %s ps", rows[0].Name)
	}
	return errors.Join(append(failed, env.Result(rows))...)
}

func (r row) String() string {
	switch r.Change {
	case created:
		return `Docker context "` + r.Name + `" was created.`
	case updated:
		return `Docker context "` + r.Name + `" was brought up to date.`
	}
	return `Docker context "` + r.Name + `" is up to date.`
}

func open(env *cli.Env) (store, error) {
	dir, err := env.State()
	if err != nil {
		return store{}, err
	}
	return locate(env.Lookup, dir)
}

// put makes a context for a machine, with what the machine's folder has. A socket that leads through the agent needs none of it.
func put(ctx context.Context, env *cli.Env, s store, name string, m *controllerv1.Machine, via tunnel.Via) (row, error) {
	r := row{record: record{Name: name, Machine: m.GetName()}}
	fail := func(err error) (row, error) { return r, cli.Wrap(err, "Error making docker context %q: %w", name) }
	var err error
	if err := checkName(name); err != nil {
		return fail(err)
	}
	var socket bool
	if r.Endpoint, socket, err = engine.Endpoint(ctx, env, m, via); err != nil {
		return fail(err)
	}
	folder, err := env.WriteFiles(ctx, m, false)
	if err != nil {
		return fail(err)
	}
	files := map[string][]byte{}
	for _, name := range []string{"ca.pem", "cert.pem", "key.pem"} {
		if socket {
			break
		}
		if files[name], err = os.ReadFile(folder.File(name)); err != nil {
			return fail(state.Trouble(folder.Path, err))
		}
	}
	if r.Change, err = s.put(r.record, files); err != nil {
		return fail(err)
	}
	return r, nil
}

func newRemove(env *cli.Env) *cobra.Command {
	var prefix string
	command := &cobra.Command{
		Use: "rm NAME...", Short: "Remove contexts of machines; the machines stay",
		Example: "mctl docker-context rm web",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return cli.Usagef("Error: Expected to get one or more machine names as arguments").WithHint("`docker context ls` lists the contexts")
			}
			return nil
		},
		ValidArgsFunction: completeOurs(env),
		RunE:              func(_ *cobra.Command, args []string) error { return remove(env, cli.Unique(args), prefix) },
	}
	addPrefix(command, &prefix)
	return command
}

func remove(env *cli.Env, names []string, prefix string) error {
	s, err := open(env)
	if err != nil {
		return err
	}
	removed, failed := []string{}, []error(nil)
	for _, name := range names {
		if err := removeOne(env, s, prefix+name); err != nil {
			failed = append(failed, err)
			continue
		}
		removed = append(removed, prefix+name)
	}
	return errors.Join(append(failed, env.Result(map[string][]string{"removed": removed}))...)
}

func removeOne(env *cli.Env, s store, name string) error {
	if err := s.remove(name); err != nil {
		return err
	}
	env.Infof("Docker context %q was removed.", name)
	warn(env, s, name)
	return nil
}

// warn tells how to go on without the docker CLI's current context. An old docker CLI needs --context for that.
func warn(env *cli.Env, s store, name string) {
	if s.current() == name {
		env.Infof("%q was the docker CLI's current context, choose another: docker --context default context use default", name)
	}
}

func newSync(env *cli.Env) *cobra.Command {
	var prefix string
	command := &cobra.Command{
		Use: "sync", Short: "Have a context for each running machine, up to date, and none for machines that are gone",
		Example: "mctl docker-context sync\nmctl docker-context sync --prefix lab-", Args: cli.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error { return sync(command.Context(), env, prefix) },
	}
	addPrefix(command, &prefix)
	return command
}

// synced is what a sync answers.
type synced struct {
	Contexts []row    `json:"contexts"`
	Removed  []string `json:"removed"`
}

func sync(ctx context.Context, env *cli.Env, prefix string) error {
	s, err := open(env)
	if err != nil {
		return err
	}
	ours, err := s.list()
	if err != nil {
		return err
	}
	machines, err := env.List(ctx, controllerv1.MachineView_MACHINE_VIEW_FULL)
	if err != nil {
		return err
	}
	result, failed, changes := synced{[]row{}, []string{}}, []error(nil), 0
	known := map[string]bool{}
	for _, m := range machines {
		known[m.GetName()] = true
		if m.GetStatus().GetState() != "Running" {
			continue // what is there for it is good again when it runs
		}
		for _, name := range namesFor(m.GetName(), prefix, ours) {
			r, err := put(ctx, env, s, name, m, wayOf(name, ours))
			if err != nil {
				failed = append(failed, err)
				continue
			}
			result.Contexts = append(result.Contexts, r)
			if r.Change != unchanged {
				changes++
				env.Infof("%s", r)
			}
		}
	}
	for _, r := range ours {
		if known[r.Machine] {
			continue
		}
		if err := removeOne(env, s, r.Name); err != nil {
			failed = append(failed, err)
			continue
		}
		result.Removed = append(result.Removed, r.Name)
	}
	if len(failed)+changes+len(result.Removed) == 0 {
		env.Infof("Nothing to do: the docker CLI has %d contexts of machines, all up to date.", len(result.Contexts))
	}
	return errors.Join(append(failed, env.Result(result))...)
}

// wayOf is the way that a context has, and keeps.
func wayOf(name string, ours []record) tunnel.Via {
	for _, r := range ours {
		if r.Name == name && strings.HasPrefix(r.Endpoint, "unix://") {
			return tunnel.Agent
		}
	}
	return tunnel.Direct
}

// namesFor are the contexts that a machine shall have: the one with the prefix, and those that it has.
func namesFor(machine, prefix string, ours []record) []string {
	names := []string{prefix + machine}
	for _, r := range ours {
		if r.Machine == machine && r.Name != names[0] {
			names = append(names, r.Name)
		}
	}
	slices.Sort(names[1:])
	return names
}

// Forget removes the contexts of a machine that is gone. That it can't is no reason to fail: sync does it later.
func Forget(env *cli.Env, machine string) {
	s, err := open(env)
	if err != nil {
		env.Debugf("docker contexts of %s: %v", machine, err)
		return
	}
	ours, err := s.list()
	for _, r := range ours {
		if r.Machine == machine {
			err = errors.Join(err, s.remove(r.Name))
			warn(env, s, r.Name)
		}
	}
	if err != nil {
		env.Debugf("docker contexts of %s: %v", machine, err)
	}
}
