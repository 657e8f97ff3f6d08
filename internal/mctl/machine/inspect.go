package machine

import (
	"context"

	"github.com/spf13/cobra"

	"mctl/internal/mctl/cli"
	"mctl/internal/mctl/output"
)

func newInspect(env *cli.Env) *cobra.Command {
	var format string
	command := &cobra.Command{
		Use: "inspect [arg...]", Short: "Inspect information about a machine",
		Example: "mctl inspect web\nmctl inspect --format '{{.Driver.IPAddress}}' web", ValidArgsFunction: cli.CompleteMachine(env),
		Args: func(command *cobra.Command, args []string) error {
			if len(args) > 1 {
				env.Remind(env.Help(command, command.LocalFlags()))
			}
			return atMostOne(command, args)
		},
		RunE: func(command *cobra.Command, args []string) error {
			return inspect(command.Context(), env, args, format)
		},
	}
	command.Flags().StringVarP(&format, "format", "f", "", "Format the output using the given go template.")
	return command
}

// inspect prints docker-machine's view of a machine, or with --output json the API's.
func inspect(ctx context.Context, env *cli.Env, args []string, format string) error {
	if env.JSON() && format != "" {
		return cli.Usagef("--format and --output json exclude each other").WithHint("leave one of them out; --format '{{json .}}' is JSON too")
	}
	m, err := env.Machine(ctx, args)
	if err != nil {
		return err
	}
	if env.JSON() {
		return env.Result(output.Message(m))
	}
	view, err := env.View(ctx, m)
	if err != nil {
		return err
	}
	view.AwaitsRestart = m.GetStatus().GetEngine().GetAwaitsRestart()
	text, err := view.JSON()
	if err != nil {
		return err
	}
	if format != "" {
		return output.Render(env.Out, format, text)
	}
	env.Printf("%s\n", text)
	return nil
}
