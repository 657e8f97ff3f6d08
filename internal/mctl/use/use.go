// Package use is `mctl use`: the shell's own variables say which machine docker talks to. No program can set them, so
// `shell-init` prints a function for the shell that has the same name as the program and takes `use` upon itself.
package use

import (
	"bytes"
	"context"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"mctl/internal/mctl/cli"
	"mctl/internal/mctl/engine"
)

// Commands returns the commands about the caller's shell.
func Commands(env *cli.Env) []*cobra.Command {
	return []*cobra.Command{newUse(env), newShellInit(env)}
}

// marker is the first line of what the function evaluates; everything else that we print it shows.
const marker = "# mctl use"

type options struct {
	shell          string // of the function that calls us
	unset, noProxy bool
}

func newUse(env *cli.Env) *cobra.Command {
	var opts options
	command := &cobra.Command{
		Use: "use [arg...]", Short: "Have docker in this shell talk to a machine",
		Long: "It sets the variables that `" + env.App() + " env` prints, or takes them away with --unset.\n" +
			"It needs a function in the shell, which `" + env.App() + " shell-init` gives.",
		Example: "eval \"$(mctl shell-init bash)\"\nmctl use web\nmctl use -u",
		Args:    cobra.ArbitraryArgs, ValidArgsFunction: cli.CompleteMachine(env),
		RunE: func(command *cobra.Command, args []string) error { return use(command.Context(), env, args, opts) },
	}
	flags := command.Flags()
	flags.StringVar(&opts.shell, "shell", "", "")
	flags.Lookup("shell").Hidden = true
	flags.BoolVarP(&opts.unset, "unset", "u", false, "Unset variables instead of setting them")
	flags.BoolVar(&opts.noProxy, "no-proxy", false, "Add machine IP to NO_PROXY environment variable")
	return command
}

func use(ctx context.Context, env *cli.Env, args []string, opts options) error {
	if opts.shell == "" {
		hint := "have it evaluate what `mctl env` prints"
		if s, known := shells()[shellName(env.Getenv("SHELL"))]; known {
			hint = "put this into " + s.profile + ": " + strings.ReplaceAll(s.init, "NAME", env.App())
		}
		return cli.Failf("no program can set the variables of its shell, and this shell has no function %q that does", env.App()).WithHint(hint)
	}
	out, lines := env.Out, new(bytes.Buffer)
	env.Out = lines
	err := engine.PrintEnv(ctx, env, args, opts.shell, opts.unset, opts.noProxy)
	env.Out = out
	if err != nil || env.JSON() {
		return err
	}
	_, err = io.WriteString(out, marker+"\n"+lines.String())
	return err
}

func shellName(path string) string { return path[strings.LastIndexAny(path, `/\`)+1:] }
