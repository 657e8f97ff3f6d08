// Package mctl is the client: it puts the commands together, reads the command line as docker-machine's users write it, and
// turns what a command returns into a sentence and an exit code.
package mctl

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"mctl/internal/buildinfo"
	"mctl/internal/mctl/argv"
	"mctl/internal/mctl/cli"
	"mctl/internal/mctl/contexts"
	"mctl/internal/mctl/controller"
	"mctl/internal/mctl/create"
	"mctl/internal/mctl/credentials"
	"mctl/internal/mctl/dockercontext"
	"mctl/internal/mctl/engine"
	"mctl/internal/mctl/forward"
	"mctl/internal/mctl/logs"
	"mctl/internal/mctl/machine"
	"mctl/internal/mctl/manual"
	"mctl/internal/mctl/migrate"
	"mctl/internal/mctl/orphans"
	"mctl/internal/mctl/power"
	"mctl/internal/mctl/shell"
	"mctl/internal/mctl/top"
	"mctl/internal/mctl/transfer"
	"mctl/internal/mctl/use"
)

// grace is how long a command may take to its end after an interrupt: some look first what became of what they asked for.
const grace = 5 * time.Second

// Main runs the command line of this process and returns the exit code. An interrupt ends what is being waited for; a second
// one, or grace, ends the process whatever it does, such as filling a template that loops.
func Main() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	interrupts := make(chan os.Signal, 1)
	if !signal.Ignored(os.Interrupt) {
		signal.Notify(interrupts, os.Interrupt)
	}
	context.AfterFunc(ctx, func() {
		stop()
		signal.Stop(interrupts)
		time.AfterFunc(grace, func() { os.Exit(cli.ExitInterrupted) })
	})
	code := Run(ctx, cli.OSEnv())
	select {
	case <-interrupts:
		if code == cli.ExitInterrupted {
			endAsInterrupted()
		}
	default:
	}
	return code
}

// endAsInterrupted ends this process by the signal. Its code is the same for a shell, which otherwise takes the interrupt as
// dealt with and goes on with its script or loop.
func endAsInterrupted() {
	signal.Reset(os.Interrupt)
	if syscall.Kill(os.Getpid(), syscall.SIGINT) == nil {
		<-time.After(time.Second) // the signal is on its way
	}
}

// Run runs one command line and returns the exit code. It prints its errors itself.
func Run(ctx context.Context, env *cli.Env) int {
	defer env.Close()
	root := newRoot(env) //nolint:contextcheck // each command gets the context when it runs
	root.SetArgs(normalize(env, root, env.Args[min(1, len(env.Args)):]))
	command, err := root.ExecuteContextC(ctx)
	if argv.IsFlagError(err) { // in front of a command, where cobra asks nobody for words
		err = badFlag(env, root, err)
	}
	var exit cli.Exit
	if ctx.Err() != nil && errors.Is(err, context.Canceled) && !errors.As(err, &exit) {
		err = cli.Interrupted("")
	}
	return env.Report(command.CommandPath(), err)
}

// newRoot makes the whole tree of commands.
func newRoot(env *cli.Env) *cobra.Command {
	var version bool
	root := &cobra.Command{
		Use: "mctl", Short: "Create and manage machines running Docker.",
		Example:          "mctl create --driver nspawn web\neval $(mctl env web)\nmctl ls",
		TraverseChildren: true, SilenceErrors: true, SilenceUsage: true,
		Args:              noSuchCommand(env),
		PersistentPreRunE: func(*cobra.Command, []string) error { return env.Check() },
		RunE: func(command *cobra.Command, _ []string) error {
			if version {
				return printVersion(env)
			}
			return command.Help()
		},
	}
	root.CompletionOptions.DisableDefaultCmd = true // ours is below
	addGlobals(root.PersistentFlags(), env)
	root.Flags().BoolVarP(&version, "version", "v", false, "print the version")
	root.SetIn(env.In)
	root.SetOut(env.Out)
	root.SetErr(env.Err)
	root.SetFlagErrorFunc(func(command *cobra.Command, err error) error { return badFlag(env, command, err) })
	root.SetHelpFunc(func(command *cobra.Command, _ []string) { env.Answer(help(env, command)) })
	root.SetHelpCommand(newHelp(env))
	for _, commands := range [][]*cobra.Command{
		create.Commands(env), machine.Commands(env), power.Commands(env), engine.Commands(env), use.Commands(env), shell.Commands(env),
		transfer.Commands(env), forward.Commands(env), logs.Commands(env), top.Commands(env), controller.Commands(env), contexts.Commands(env), dockercontext.Commands(env), credentials.Commands(env), orphans.Commands(env), migrate.Commands(env), manual.Commands(env), {newVersion(env), newCompletion(env)},
	} {
		root.AddCommand(commands...)
	}
	return root
}

// addGlobals are the flags that stand before the command; docker-machine's that mean nothing any more are taken and left.
func addGlobals(flags *pflag.FlagSet, env *cli.Env) {
	flags.BoolVarP(&env.Global.Debug, "debug", "D", false, "Enable debug mode")
	flags.StringVarP(&env.Global.StoragePath, "storage-path", "s", "", "Configures storage path")
	flags.StringVar(&env.Global.Output, "output", "text", "Form of the output: text or json")
	flags.StringVar(&env.Global.Context, "context", "", "Controller to use, see the command context")
	flags.BoolVar(&env.Global.NativeSSH, "native-ssh", false, "Use the native (Go-based) SSH implementation.")
	home := "MCTL_HOME"
	if env.DockerMachine() {
		home = "MACHINE_STORAGE_PATH"
	}
	for name, variable := range map[string]string{
		"debug": "MACHINE_DEBUG", "storage-path": home, "context": "MCTL_CONTEXT", "native-ssh": "MACHINE_NATIVE_SSH",
	} {
		argv.FromEnv(flags, name, variable)
	}
	for _, name := range []string{"tls-ca-cert", "tls-ca-key", "tls-client-cert", "tls-client-key", "github-api-token", "bugsnag-api-token"} {
		flags.String(name, "", "Ignored: docker-machine's")
		argv.FromEnv(flags, name, "MACHINE_"+strings.ToUpper(strings.ReplaceAll(name, "-", "_")))
	}
}

// normalize finds out which command is meant, to rewrite its flags as our parser wants them. It also notes the form that the
// output shall have, since mistakes that the parser finds are told in that form too.
func normalize(env *cli.Env, root *cobra.Command, args []string) []string {
	command := root
	done := []string{} // not nil, for which cobra takes the process's own arguments
	for {
		command.InitDefaultHelpFlag() // which cobra does only when it parses
		find := argv.Finder(command.Flags(), root.PersistentFlags())
		at, next := nextCommand(command, args, find)
		for word := range argv.Words(args[:at], find) {
			if word.Flag != nil && word.Flag.Name == "output" {
				env.Global.Output = word.Value
			}
		}
		done = append(done, argv.Normalize(args[:at], find)...)
		if next == nil {
			return done
		}
		done = append(done, args[at])
		if command, args = next, args[at+1:]; command.DisableFlagParsing {
			return append(done, args...)
		}
	}
}

// nextCommand finds the name of a command among arguments; without one everything belongs to the command that we have.
func nextCommand(command *cobra.Command, args []string, find func(string) *pflag.Flag) (at int, next *cobra.Command) {
	for word := range argv.Words(args, find) {
		if word.Flag == nil && !strings.HasPrefix(args[word.At], "-") {
			if next := subcommand(command, args[word.At]); next != nil {
				return word.At, next
			}
			break
		}
	}
	return len(args), nil
}

func subcommand(command *cobra.Command, name string) *cobra.Command {
	for _, sub := range command.Commands() {
		if sub.Name() == name || sub.HasAlias(name) {
			return sub
		}
	}
	return nil
}

// evaluated are the commands whose output a shell evaluates, so that help must not be in it.
func evaluated(command *cobra.Command) bool {
	return command.Name() == "env" || command.Name() == "config"
}

func badFlag(env *cli.Env, command *cobra.Command, err error) error {
	if !evaluated(command) {
		env.Remind("Incorrect Usage.\n\n" + help(env, command))
	}
	return argv.FlagError(command.CommandPath(), err)
}

func help(env *cli.Env, command *cobra.Command) string {
	if command.HasParent() {
		return env.Help(command, command.LocalFlags())
	}
	return argv.AppHelp(env.App(), command, buildinfo.Version())
}

func newHelp(env *cli.Env) *cobra.Command {
	return &cobra.Command{
		Use: "help [arg...]", Aliases: []string{"h"}, Short: "Shows a list of commands or help for one command", Example: "mctl help create",
		RunE: func(command *cobra.Command, args []string) error {
			about, rest, err := command.Root().Find(args)
			if err != nil || len(rest) > 0 && !about.HasParent() {
				return unknownCommand(env, command.Root(), args[0])
			}
			return about.Help()
		},
	}
}

func noSuchCommand(env *cli.Env) cobra.PositionalArgs {
	return func(command *cobra.Command, args []string) error {
		if len(args) > 0 {
			return unknownCommand(env, command, args[0])
		}
		return nil
	}
}

func unknownCommand(env *cli.Env, root *cobra.Command, name string) error {
	err := cli.Failf("%s: '%s' is not a %s command. See '%s --help'.", env.App(), name, env.App(), env.Args[0])
	err = err.WithHint("`mctl help` lists the commands")
	root.SuggestionsMinimumDistance = 2
	if near := root.SuggestionsFor(name); len(near) > 0 {
		return err.WithHint("did you mean `" + strings.Join(near, "` or `") + "`?")
	}
	return err
}

func newVersion(env *cli.Env) *cobra.Command {
	return &cobra.Command{
		Use: "version [arg...]", Short: "Show the version of this program, or of a machine's Docker",
		Example: "mctl version\nmctl version web", ValidArgsFunction: cli.CompleteMachine(env),
		RunE: func(command *cobra.Command, args []string) error {
			switch len(args) {
			case 0:
				return printVersion(env)
			case 1:
				return engine.PrintVersion(command.Context(), env, args[0])
			}
			return cli.ErrOneMachine()
		},
	}
}

func printVersion(env *cli.Env) error {
	digest, err := buildinfo.Digest()
	if err != nil {
		return err
	}
	if env.JSON() {
		return env.Result(map[string]string{"version": buildinfo.Version(), "build": digest})
	}
	env.Printf("%s version %s, build %s\n", env.App(), buildinfo.Version(), digest[:8])
	return nil
}
