// Package contexts is `mctl context`: other controllers than the one that mctl starts for its user.
package contexts

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"mctl/internal/fault"
	"mctl/internal/mctl/cli"
	"mctl/internal/mctl/output"
	"mctl/internal/mctl/profile"
	controllerv1 "mctl/proto/mctl/controller/v1"
)

// Commands returns the commands about contexts.
func Commands(env *cli.Env) []*cobra.Command {
	command := &cobra.Command{Use: "context", Short: "Manage connections to other controllers", Example: "mctl context ls\nmctl --context team ls",
		Args: cli.NoCommand(env), RunE: cli.ShowHelp}
	command.AddCommand(newList(env), newCreate(env), newUse(env), newShow(env), newRemove(env), newInvite(env))
	return []*cobra.Command{command}
}

func newList(env *cli.Env) *cobra.Command {
	return &cobra.Command{
		Use: "ls", Short: "List contexts", Example: "mctl context ls", Args: cli.NoArgs,
		RunE: func(*cobra.Command, []string) error { return list(env) },
	}
}

// row is a context as it is listed.
type row struct {
	Name     string `json:"name"`
	Current  bool   `json:"current"`
	Endpoint string `json:"endpoint"`
}

func list(env *cli.Env) error {
	profiles, err := env.Profiles()
	if err != nil {
		return err
	}
	current, err := env.ContextName()
	if err != nil {
		return err
	}
	all, err := profiles.List()
	if err != nil {
		return err
	}
	rows := []row{{Name: profile.Local, Current: current == profile.Local, Endpoint: profiles.Dir.Root}}
	for _, p := range all {
		rows = append(rows, row{Name: p.Name, Current: current == p.Name, Endpoint: p.Endpoint})
	}
	if env.JSON() {
		return env.Result(rows)
	}
	var cells [][]string
	for _, r := range rows {
		mark := ""
		if r.Current {
			mark = "*"
		}
		cells = append(cells, []string{r.Name, mark, r.Endpoint})
	}
	return output.Table(env.Out, []string{"NAME", "CURRENT", "ENDPOINT"}, cells)
}

func newCreate(env *cli.Env) *cobra.Command {
	var endpoint, invitation string
	command := &cobra.Command{
		Use: "create NAME", Short: "Accept an invitation to a controller", Args: one,
		Example: "mctl context create team --endpoint ctl.example.com:7443 --invitation TICKET",
		RunE: func(command *cobra.Command, args []string) error {
			return create(command.Context(), env, profile.Profile{Name: args[0], Endpoint: endpoint}, invitation)
		},
	}
	command.Flags().StringVar(&endpoint, "endpoint", "", "HOST:PORT of the controller")
	command.Flags().StringVar(&invitation, "invitation", "", "The ticket that `context invite` printed")
	return command
}

func create(ctx context.Context, env *cli.Env, p profile.Profile, invitation string) error {
	if p.Endpoint == "" || invitation == "" {
		return cli.Usagef("--endpoint and --invitation are both needed").WithHint("`mctl context invite USER`, on the controller's side, prints both")
	}
	profiles, err := env.Profiles()
	if err != nil {
		return err
	}
	if err := profiles.Check(p.Name); err != nil {
		return err
	}
	if _, err := profiles.Get(p.Name); !fault.Is(err, fault.NotFound) {
		return fault.New("contexts.create", fault.Exists, p.Name, "context \""+p.Name+"\" already exists").
			WithHint("`mctl context rm " + p.Name + "` removes it")
	}
	if err := profiles.Enroll(ctx, p, invitation, env.Now); err != nil {
		return err
	}
	env.Infof("Context %q was created. To use it, run: %s context use %s", p.Name, env.App(), p.Name)
	return env.Result(row{Name: p.Name, Endpoint: p.Endpoint})
}

func newUse(env *cli.Env) *cobra.Command {
	return &cobra.Command{
		Use: "use NAME", Short: "Choose the context that is meant when none is named", Args: one,
		Example: "mctl context use team\nmctl context use local", ValidArgsFunction: complete(env),
		RunE: func(_ *cobra.Command, args []string) error {
			profiles, err := env.Profiles()
			if err != nil {
				return err
			}
			name := args[0]
			if name == "default" {
				name = profile.Local
			}
			if err := profiles.Use(name); err != nil {
				return err
			}
			env.Infof("Current context is now %q", name)
			return env.Result(map[string]any{"name": name, "current": true})
		},
	}
}

func newShow(env *cli.Env) *cobra.Command {
	return &cobra.Command{
		Use: "show", Short: "Print which context is meant", Example: "mctl context show", Args: cli.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			profiles, err := env.Profiles()
			if err != nil {
				return err
			}
			name, err := env.ContextName()
			if err != nil {
				return err
			}
			shown := row{Name: name, Current: true, Endpoint: profiles.Dir.Root}
			if name != profile.Local {
				p, err := profiles.Get(name)
				if err != nil {
					return err
				}
				shown.Endpoint = p.Endpoint
			}
			if env.JSON() {
				return env.Result(shown)
			}
			env.Printf("%s\n", name)
			return nil
		},
	}
}

func newRemove(env *cli.Env) *cobra.Command {
	return &cobra.Command{
		Use: "rm NAME", Short: "Forget a context, with its key and certificates", Args: one,
		Example: "mctl context rm team", ValidArgsFunction: complete(env),
		RunE: func(_ *cobra.Command, args []string) error {
			profiles, err := env.Profiles()
			if err != nil {
				return err
			}
			if args[0] == profile.Local {
				return profiles.Check(args[0])
			}
			if err := profiles.Remove(args[0]); err != nil {
				return err
			}
			env.Infof("Successfully removed %s", args[0])
			return env.Result(map[string][]string{"removed": {args[0]}})
		},
	}
}

func newInvite(env *cli.Env) *cobra.Command {
	return &cobra.Command{
		Use: "invite USER", Short: "Make a ticket with which a user joins this controller", Args: one,
		Example: "mctl context invite ann",
		RunE:    func(command *cobra.Command, args []string) error { return invite(command.Context(), env, args[0]) },
	}
}

func invite(ctx context.Context, env *cli.Env, user string) error {
	client, err := env.Client(ctx)
	if err != nil {
		return err
	}
	made, err := client.Access.CreateInvitation(ctx, &controllerv1.CreateInvitationRequest{RequestId: cli.RequestID(), User: user})
	if err != nil {
		return err
	}
	if env.JSON() {
		return env.Result(output.Message(made))
	}
	endpoint := "HOST:PORT"
	if endpoints := made.GetEndpoints(); len(endpoints) > 0 {
		endpoint = endpoints[0]
	}
	env.Printf("%s can join until %s, once, by:\n\n  %s context create NAME --endpoint %s --invitation %s\n",
		user, made.GetExpireTime().AsTime().Format("2006-01-02T15:04:05Z"), env.App(), endpoint, made.GetTicket())
	if endpoints := made.GetEndpoints(); len(endpoints) > 1 {
		env.Printf("\nThe controller can be reached at %s.\n", strings.Join(endpoints, ", "))
	}
	return nil
}

func one(command *cobra.Command, args []string) error {
	if len(args) == 1 {
		return nil
	}
	return cli.Usagef("Error: Expected one name as an argument").WithHint("see `mctl context " + command.Name() + " --help`")
}

func complete(env *cli.Env) cli.Complete {
	return func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		names := []string{profile.Local}
		if profiles, err := env.Profiles(); err == nil && len(args) == 0 {
			all, _ := profiles.List()
			for _, p := range all {
				names = append(names, p.Name)
			}
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}
