// Package create is `mctl create`: it resolves everything that belongs to the caller (flags, environment, files, keys),
// asks for the machine, and follows its making.
package create

import (
	"context"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

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
		DisableFlagParsing: true,
	}
	command.RunE = func(command *cobra.Command, args []string) error {
		return run(command.Context(), env, command, args)
	}
	command.SetHelpFunc(func(command *cobra.Command, args []string) { env.Help(env.Out, command, static) })
	// Completion looks at these; parsing happens in run.
	command.Flags().AddFlagSet(static)
	return command
}

// run finds the driver, then parses the whole command line.
func run(ctx context.Context, env *cli.Env, command *cobra.Command, args []string) error {
	globals := command.Root().PersistentFlags()
	named := env.Getenv("MACHINE_DRIVER")
	if text, ok := scanDriver(args); ok {
		named = text
	}
	help := wantsHelp(args)
	if help && named == "" {
		env.Help(env.Out, command, newFlags())
		return nil
	}
	// Global flags may say where the controller is.
	if err := parseGlobals(globals, args); err != nil {
		return err
	}
	if err := env.Check(); err != nil {
		return err
	}
	driver, chosen, err := findDriver(ctx, env, named, args)
	if err != nil {
		return err
	}
	flags := newFlags()
	driverflags.Add(flags, driver)
	if help {
		env.Help(env.Out, command, flags)
		return nil
	}
	all := pflag.NewFlagSet("create", pflag.ContinueOnError)
	all.SortFlags = false
	all.AddFlagSet(flags)
	all.AddFlagSet(globals)
	if err := all.Parse(cli.Normalize(args, cli.Finder(all))); err != nil {
		env.Infof("Incorrect Usage.\n")
		env.Help(env.Out, command, newFlags())
		return cli.FlagError(env.App()+" create --driver "+driver.GetName(), err)
	}
	names := all.Args()
	switch {
	case len(names) == 0:
		env.Help(env.Out, command, newFlags())
		return cli.Failf("Error: No machine name specified")
	case len(names) > 1:
		return cli.Failf("Invalid command line. Found extra arguments %s", names[1:])
	}
	spec, err := readSpec(env, flags, driver)
	if err != nil {
		return err
	}
	if chosen {
		env.Infof("Using driver %q, since none was named", driver.GetName())
	}
	noWait, _ := flags.GetBool("no-wait")
	return create(ctx, env, options{name: names[0], spec: spec, noWait: noWait})
}

// scanDriver finds --driver anywhere on the command line, as docker-machine did.
func scanDriver(args []string) (string, bool) {
	for i, arg := range args {
		if arg == "--" {
			break
		}
		if !strings.HasPrefix(arg, "-") {
			continue
		}
		name, value, assigned := strings.Cut(strings.TrimLeft(arg, "-"), "=")
		if name != "driver" && name != "d" {
			continue
		}
		if !assigned && i+1 < len(args) {
			value = args[i+1]
		}
		return value, true
	}
	return "", false
}

func wantsHelp(args []string) bool {
	return slices.ContainsFunc(args, func(arg string) bool {
		return arg == "--help" || arg == "-help" || arg == "-h"
	})
}

// parseGlobals reads the global flags from among flags that are not known yet.
func parseGlobals(globals *pflag.FlagSet, args []string) error {
	for i := 0; i < len(args) && args[i] != "--"; i++ {
		if !strings.HasPrefix(args[i], "-") {
			continue
		}
		name, value, assigned := strings.Cut(strings.TrimLeft(args[i], "-"), "=")
		flag := cli.Finder(globals)(name)
		switch {
		case flag == nil:
			continue
		case !assigned && flag.NoOptDefVal != "":
			value = flag.NoOptDefVal
		case !assigned && i+1 < len(args):
			i++
			value = args[i]
		}
		if err := flag.Value.Set(value); err != nil {
			return cli.Usagef("invalid value %q for flag -%s", value, name)
		}
	}
	return nil
}

// usesFlagOf reports whether a flag of the driver is on the command line.
func usesFlagOf(driver *controllerv1.Driver, args []string) bool {
	return slices.ContainsFunc(args, func(arg string) bool {
		name, _, _ := strings.Cut(strings.TrimLeft(arg, "-"), "=")
		return strings.HasPrefix(arg, "-") && slices.ContainsFunc(driver.GetFlags(), func(f *controllerv1.DriverFlag) bool { return f.GetName() == name })
	})
}
