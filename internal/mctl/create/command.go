// Package create is `mctl create`: it resolves everything that belongs to the caller (flags, environment, files, keys),
// asks for the machine, and follows its making.
package create

import (
	"context"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"mctl/internal/mctl/argv"
	"mctl/internal/mctl/cli"
	"mctl/internal/mctl/driverflags"
	controllerv1 "mctl/proto/mctl/controller/v1"
)

// Commands returns the commands about making machines.
func Commands(env *cli.Env) []*cobra.Command {
	return []*cobra.Command{newCreate(env), newDrivers(env)}
}

// newCreate parses its flags itself: which ones there are depends on the driver, which is one of them.
func newCreate(env *cli.Env) *cobra.Command {
	static := newFlags()
	command := &cobra.Command{
		Use:                "create [arg...]",
		Short:              "Create a machine",
		Long:               "Run '" + env.App() + " create --driver name --help' to include the create flags for that driver in the help text.",
		Example:            "mctl create --driver nspawn web\nmctl create --driver generic --generic-ip-address 203.0.113.7 --generic-ssh-key ~/.ssh/id_ed25519 web",
		DisableFlagParsing: true, ValidArgsFunction: complete(env),
	}
	command.RunE = func(command *cobra.Command, args []string) error {
		return run(command.Context(), env, command, args)
	}
	command.SetHelpFunc(func(command *cobra.Command, _ []string) { env.Answer(env.Help(command, static)) })
	// Completion looks at these; parsing happens in run.
	command.Flags().AddFlagSet(static)
	return command
}

// run finds the driver, then parses the whole command line.
func run(ctx context.Context, env *cli.Env, command *cobra.Command, args []string) error {
	globals := command.Root().PersistentFlags()
	// Global flags may say where the controller is, and what the answer shall look like.
	if err := argv.ParseKnown(globals, args); err != nil {
		return err
	}
	if err := env.Check(); err != nil {
		return err
	}
	named := env.Getenv("MACHINE_DRIVER")
	if text, ok := scanDriver(args); ok {
		named = text
	}
	help := wantsHelp(args)
	if help && named == "" {
		env.Answer(env.Help(command, newFlags()))
		return nil
	}
	driver, chosen, err := findDriver(ctx, env, named, args)
	if err != nil {
		return err
	}
	flags := newFlags()
	driverflags.Add(flags, driver)
	if help {
		env.Answer(env.Help(command, flags))
		return nil
	}
	all := pflag.NewFlagSet("create", pflag.ContinueOnError)
	all.SortFlags = false
	all.AddFlagSet(flags)
	all.AddFlagSet(globals)
	if err := all.Parse(argv.Normalize(args, argv.Finder(all))); err != nil {
		env.Remind("Incorrect Usage.\n\n" + env.Help(command, newFlags()))
		return argv.FlagError("mctl create --driver "+driver.GetName(), err)
	}
	if f := flags.Lookup("driver"); f.Changed && f.Value.String() != driver.GetName() {
		return cli.Usagef("the driver is named as %q and as %q", driver.GetName(), f.Value).WithHint("give --driver once, with a space or = before its value")
	}
	names := all.Args()
	switch {
	case len(names) == 0:
		env.Remind(env.Help(command, newFlags()))
		return cli.Failf("Error: No machine name specified").WithHint("name the new machine at the end of the command line")
	case len(names) > 1:
		return cli.Failf("Invalid command line. Found extra arguments %s", names[1:]).WithHint("one create makes one machine; a value with spaces needs quotes")
	}
	if err := refuseSwarm(flags); err != nil {
		return err
	}
	if err := checkName(names[0]); err != nil {
		return err
	}
	if err := vacant(ctx, env, names[0]); err != nil {
		return err
	}
	spec, err := readSpec(env, flags, driver)
	if err != nil {
		return err
	}
	noteIgnored(env, globals)
	if chosen {
		env.Infof("Using driver %q, since none was named", driver.GetName())
	}
	noWait, _ := flags.GetBool("no-wait")
	dryRun, _ := flags.GetBool("dry-run")
	return create(ctx, env, options{name: names[0], spec: spec, flags: driver.GetFlags(), noWait: noWait, dryRun: dryRun})
}

// noteIgnored tells of global flags that somebody may count on, and that mean nothing here.
func noteIgnored(env *cli.Env, globals *pflag.FlagSet) {
	globals.VisitAll(func(f *pflag.Flag) {
		if strings.HasPrefix(f.Name, "tls-") && env.Text(globals, f.Name) != "" {
			env.Infof("Notice: --%s is ignored, since the controller has certificate authorities of its own", f.Name)
		}
	})
}

// scanDriver finds --driver anywhere on the command line, as docker-machine did.
func scanDriver(args []string) (string, bool) {
	for word := range argv.Words(args, argv.Finder(newFlags())) {
		if word.Flag != nil && word.Flag.Name == "driver" {
			return word.Value, true
		}
	}
	return "", false
}

func wantsHelp(args []string) bool {
	for word := range argv.Words(args, argv.Finder(newFlags())) {
		if arg := args[word.At]; arg == "--help" || arg == "-help" || arg == "-h" {
			return true
		}
	}
	return false
}

// usesFlagOf reports whether a flag of the driver is on the command line.
func usesFlagOf(driver *controllerv1.Driver, args []string) bool {
	for word := range argv.Words(args, argv.Finder(newFlags())) {
		name, _, _ := strings.Cut(strings.TrimLeft(args[word.At], "-"), "=")
		if strings.HasPrefix(args[word.At], "-") && slices.ContainsFunc(driver.GetFlags(), func(f *controllerv1.DriverFlag) bool { return f.GetName() == name }) {
			return true
		}
	}
	return false
}
