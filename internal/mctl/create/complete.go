package create

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"mctl/internal/mctl/cli"
	"mctl/internal/mctl/driverflags"
	controllerv1 "mctl/proto/mctl/controller/v1"
)

// completeLimit is how long a shell may hang at a press of the tab key.
const completeLimit = 2 * time.Second

// complete completes flags, those of the driver that is named included, and drivers. Which there are, only a controller that
// runs can tell.
func complete(env *cli.Env) cli.Complete {
	return func(command *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
		ctx, cancel := context.WithTimeout(command.Context(), completeLimit)
		defer cancel()
		if assigned, value, ok := strings.Cut(prefix, "="); ok && strings.TrimLeft(assigned, "-") == "swarm-discovery" {
			return matching(managers(ctx, env), value, assigned+"="), cobra.ShellCompDirectiveNoFileComp
		}
		if last := len(args) - 1; last >= 0 && strings.TrimLeft(args[last], "-") == "swarm-discovery" {
			return matching(managers(ctx, env), prefix, ""), cobra.ShellCompDirectiveNoFileComp
		}
		drivers := running(ctx, env)
		if assigned, value, ok := strings.Cut(prefix, "="); ok && strings.TrimLeft(assigned, "-") == "driver" {
			return matching(named(drivers), value, assigned+"="), cobra.ShellCompDirectiveNoFileComp
		}
		if last := len(args) - 1; last >= 0 && (args[last] == "--driver" || args[last] == "-driver" || args[last] == "-d") {
			return matching(named(drivers), prefix, ""), cobra.ShellCompDirectiveNoFileComp
		}
		flags := newFlags()
		flags.AddFlagSet(command.Root().PersistentFlags())
		for _, d := range meant(ctx, env, drivers, args) {
			driverflags.Add(flags, d)
		}
		if !strings.HasPrefix(prefix, "-") {
			if last := len(args) - 1; last >= 0 && strings.HasPrefix(args[last], "-") {
				return nil, cobra.ShellCompDirectiveDefault // a flag's value, which may be a file
			}
			return nil, cobra.ShellCompDirectiveNoFileComp // a new name
		}
		var all []string
		flags.VisitAll(func(f *pflag.Flag) {
			if !f.Hidden {
				all = append(all, f.Name)
			}
		})
		return matching(cli.Completable(all), strings.TrimLeft(prefix, "-"), "--"), cobra.ShellCompDirectiveNoFileComp
	}
}

// meant are the drivers whose flags may come: the one that is named, or else all. A plugin tells its flags once it is named.
func meant(ctx context.Context, env *cli.Env, drivers []*controllerv1.Driver, args []string) []*controllerv1.Driver {
	named, err := namedDriver(env, args)
	if err != nil || named == "" {
		return drivers
	}
	for _, d := range drivers {
		if d.GetName() == named && len(d.GetFlags()) > 0 {
			return []*controllerv1.Driver{d}
		}
	}
	client, err := env.RunningClient(ctx)
	if err != nil {
		return nil
	}
	d, err := getDriver(ctx, client, named)
	if err != nil {
		return nil
	}
	return []*controllerv1.Driver{d}
}

func running(ctx context.Context, env *cli.Env) []*controllerv1.Driver {
	client, err := env.RunningClient(ctx)
	if err != nil {
		return nil
	}
	response, err := client.Drivers.ListDrivers(ctx, &controllerv1.ListDriversRequest{})
	if err != nil {
		return nil
	}
	return response.GetDrivers()
}

// managers are the discovery URLs of those machines whose swarms can be joined.
func managers(ctx context.Context, env *cli.Env) []string {
	client, err := env.RunningClient(ctx)
	if err != nil {
		return nil
	}
	response, err := client.Machines.ListMachines(ctx, &controllerv1.ListMachinesRequest{View: controllerv1.MachineView_MACHINE_VIEW_BASIC})
	if err != nil {
		return nil
	}
	var urls []string
	for _, m := range response.GetMachines() {
		if m.GetSpec().GetSwarm().GetMaster() || m.GetStatus().GetSwarm().GetManager() {
			urls = append(urls, "mctl://"+m.GetName())
		}
	}
	return urls
}

func named(drivers []*controllerv1.Driver) []string {
	names := make([]string, 0, len(drivers))
	for _, d := range drivers {
		names = append(names, d.GetName())
	}
	return cli.Completable(names)
}

// matching are those that begin as what was typed, with lead in front.
func matching(all []string, typed, lead string) []string {
	var some []string
	for _, one := range all {
		if strings.HasPrefix(one, typed) {
			some = append(some, lead+one)
		}
	}
	return some
}
