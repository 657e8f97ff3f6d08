// Package create is `mctl create`: it resolves everything that belongs to the caller (flags, environment, files, keys),
// asks for the machine, and follows its making.
package create

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"mctl/internal/fault"
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
	named, err := namedDriver(env, args)
	if err != nil {
		return err
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
	if taken := driverflags.Taken(driver, flags, globals); taken != "" {
		return fault.New("create", fault.Precondition, driver.GetName(), fmt.Sprintf("the driver %q has a flag --%s, which mctl has itself", driver.GetName(), taken)).
			WithHint("this plugin can't be used with mctl; its maker can rename the flag").WithReason(fault.ReasonPrecheck)
	}
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
	if scanned, _ := scanFlag(args, "driver"); flags.Changed("driver") && flags.Lookup("driver").Value.String() != scanned {
		return cli.Usagef("the driver is named as %q and as %q", scanned, flags.Lookup("driver").Value).WithHint("give --driver once, with a space or = before its value")
	}
	names := all.Args()
	switch {
	case len(names) == 0:
		env.Remind(env.Help(command, newFlags()))
		return cli.Failf("Error: No machine name specified").WithHint("name the new machine at the end of the command line")
	case len(names) > 1:
		return cli.Failf("Invalid command line. Found extra arguments %s", names[1:]).WithHint("one create makes one machine; a value with spaces needs quotes")
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

// namedDriver is the driver that command line or environment name, together with the file that serves it where one is named.
func namedDriver(env *cli.Env, args []string) (string, error) {
	named := env.Getenv("MACHINE_DRIVER")
	if text, ok := scanDriver(args); ok {
		named = text
	}
	file, ok := scanFlag(args, "plugin-binary")
	if !ok {
		return named, nil
	}
	if named == "" {
		return "", cli.Usagef("--plugin-binary needs --driver").WithHint("name the driver that the program serves")
	}
	path, err := filepath.Abs(file)
	if err != nil || file == "" {
		return "", cli.Usagef("invalid value %q for flag -plugin-binary", file).WithHint("name the plugin's program")
	}
	return "plugin:" + strings.TrimPrefix(named, "plugin:") + "@" + path, nil
}

// scanDriver finds --driver anywhere on the command line, as docker-machine did.
func scanDriver(args []string) (string, bool) { return scanFlag(args, "driver") }

func scanFlag(args []string, name string) (string, bool) {
	for word := range argv.Words(args, argv.Finder(newFlags())) {
		if word.Flag != nil && word.Flag.Name == name {
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
