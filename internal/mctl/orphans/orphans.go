// Package orphans is `mctl orphans`: what this controller made at clouds and no machine has any more.
package orphans

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"mctl/internal/fault"
	"mctl/internal/mctl/argv"
	"mctl/internal/mctl/cli"
	"mctl/internal/mctl/dial"
	"mctl/internal/mctl/driverflags"
	"mctl/internal/mctl/output"
	controllerv1 "mctl/proto/mctl/controller/v1"
)

// Limits of one listing, and of one removal: a little longer than the controller's own, which say more.
const (
	listLimit   = 3 * time.Minute
	removeLimit = 9 * time.Minute
)

// Commands returns the commands about orphans. They parse their flags themselves: which ones there are depends on the driver.
func Commands(env *cli.Env) []*cobra.Command {
	parent := newCommand(env, &cobra.Command{
		Use: "orphans", Short: "List what this controller made and no machine has",
		Long: "It looks wherever machines of this controller are. With a driver and its flags for project, region or endpoint it looks there.\n" +
			"What other controllers made is never listed.",
		Example: "mctl orphans\nmctl orphans --driver google --google-project my-project\nmctl orphans rm --all",
	}, newFlags, list)
	parent.AddCommand(newCommand(env, &cobra.Command{
		Use: "rm [ID...]", Short: "Remove orphans", Example: "mctl orphans rm web-disk\nmctl orphans rm instance/web\nmctl orphans rm -y --all",
	}, newRemoveFlags, remove))
	return []*cobra.Command{parent}
}

func newFlags() *pflag.FlagSet {
	flags := pflag.NewFlagSet("orphans", pflag.ContinueOnError)
	flags.StringP("driver", "d", "", "Driver to ask (default: each that can list what it made)")
	flags.String("credential", "", "Name of a stored credential to use, see the command credential")
	return flags
}

func newRemoveFlags() *pflag.FlagSet {
	flags := newFlags()
	flags.Bool("all", false, "Remove all that are listed")
	flags.BoolP("yes", "y", false, "Do not ask")
	return flags
}

// asked is a command line that was understood.
type asked struct {
	flags  *pflag.FlagSet
	args   []string
	scopes []*controllerv1.Scope
	client *dial.Client
}

func newCommand(env *cli.Env, command *cobra.Command, newFlags func() *pflag.FlagSet, run func(context.Context, *cli.Env, asked) error) *cobra.Command {
	command.DisableFlagParsing = true
	command.SetHelpFunc(func(command *cobra.Command, _ []string) { env.Answer(env.Help(command, newFlags())) })
	command.Flags().AddFlagSet(newFlags()) // completion looks at these
	command.RunE = func(command *cobra.Command, args []string) error {
		a, err := parse(command.Context(), env, command, newFlags(), args)
		if err != nil || a == nil {
			return err
		}
		return run(command.Context(), env, *a)
	}
	return command
}

// parse finds the driver, then parses the whole command line. It returns nothing where help was asked for and given.
func parse(ctx context.Context, env *cli.Env, command *cobra.Command, flags *pflag.FlagSet, args []string) (*asked, error) {
	globals := command.Root().PersistentFlags()
	if err := argv.ParseKnown(globals, args); err != nil {
		return nil, err
	}
	if err := env.Check(); err != nil {
		return nil, err
	}
	named := ""
	for word := range argv.Words(args, argv.Finder(flags)) {
		if word.Flag != nil && word.Flag.Name == "driver" {
			named = word.Value
		}
		if arg := args[word.At]; arg == "--help" || arg == "-help" || arg == "-h" {
			return nil, command.Help()
		}
	}
	client, err := env.Client(ctx)
	if err != nil {
		return nil, err
	}
	drivers, err := ask(ctx, client, named)
	if err != nil {
		return nil, err
	}
	if named != "" {
		driverflags.AddScope(flags, drivers[0])
	}
	all := pflag.NewFlagSet("orphans", pflag.ContinueOnError)
	all.AddFlagSet(flags)
	all.AddFlagSet(globals)
	if err := all.Parse(argv.Normalize(args, argv.Finder(all))); err != nil {
		env.Remind("Incorrect Usage.\n\n" + env.Help(command, flags))
		return nil, argv.FlagError("mctl orphans", err)
	}
	a := &asked{flags: flags, args: all.Args(), client: client}
	for _, driver := range drivers {
		scopes, err := scopesOf(env, flags, driver, named != "")
		if err != nil {
			return nil, err
		}
		a.scopes = append(a.scopes, scopes...)
	}
	return a, nil
}

// ask returns the named driver, or every one that lists.
func ask(ctx context.Context, client *dial.Client, named string) ([]*controllerv1.Driver, error) {
	if named != "" {
		response, err := client.Drivers.GetDriver(ctx, &controllerv1.GetDriverRequest{Name: named})
		return []*controllerv1.Driver{response.GetDriver()}, err
	}
	response, err := client.Drivers.ListDrivers(ctx, &controllerv1.ListDriversRequest{})
	return slices.DeleteFunc(response.GetDrivers(), func(d *controllerv1.Driver) bool {
		return !slices.Contains(d.GetAbilities(), "list") || d.GetUnusable() != ""
	}), err
}

// scopesOf is where to look: the one place that flags name, else wherever machines are, and the place that the environment names.
func scopesOf(env *cli.Env, flags *pflag.FlagSet, driver *controllerv1.Driver, named bool) ([]*controllerv1.Scope, error) {
	everywhere := &controllerv1.Scope{Driver: driver.GetName()}
	credential, _ := flags.GetString("credential")
	if !named {
		if credential != "" {
			return nil, cli.Usagef("--credential needs --driver").WithHint("a credential is one driver's")
		}
		return []*controllerv1.Scope{everywhere}, nil
	}
	given, required := credential != "", true
	for _, f := range driver.GetFlags() {
		if f.GetScope() {
			given = given || flags.Changed(f.GetName())
			required = required && (!f.GetRequired() || env.Text(flags, f.GetName()) != "")
		}
	}
	if !given && (!required || !slices.ContainsFunc(driver.GetFlags(), (*controllerv1.DriverFlag).GetScope)) {
		return []*controllerv1.Scope{everywhere}, nil
	}
	options, err := driverflags.ReadScope(env, flags, driver, credential)
	if err != nil {
		return nil, err
	}
	here := &controllerv1.Scope{Driver: driver.GetName(), DriverOptions: options, Credential: credential}
	if given {
		return []*controllerv1.Scope{here}, nil
	}
	return []*controllerv1.Scope{everywhere, here}, nil
}

// orphan is one that was found, and where.
type orphan struct {
	*controllerv1.Orphan
	scope *controllerv1.Scope
}

func find(ctx context.Context, a asked) ([]orphan, error) {
	var found []orphan
	for _, scope := range a.scopes {
		limited, cancel := context.WithTimeout(ctx, listLimit)
		response, err := a.client.Drivers.ListOrphans(limited, &controllerv1.ListOrphansRequest{Scope: scope})
		cancel()
		if err != nil {
			return nil, err
		}
		for _, o := range response.GetOrphans() {
			if !slices.ContainsFunc(found, func(other orphan) bool { return same(other, orphan{o, scope}) }) {
				found = append(found, orphan{o, scope})
			}
		}
	}
	return found, nil
}

func same(a, b orphan) bool {
	return a.scope.GetDriver() == b.scope.GetDriver() && a.GetKind() == b.GetKind() && a.GetId() == b.GetId() && a.GetLocation() == b.GetLocation()
}

func list(ctx context.Context, env *cli.Env, a asked) error {
	if len(a.args) > 0 {
		return cli.Usagef("orphans takes no names").WithHint("`mctl orphans rm` removes by name")
	}
	found, err := find(ctx, a)
	if err != nil {
		return err
	}
	if env.JSON() {
		messages := []*controllerv1.Orphan{}
		for _, o := range found {
			messages = append(messages, o.Orphan)
		}
		return env.Result(output.Messages(messages))
	}
	var rows [][]string
	for _, o := range found {
		rows = append(rows, []string{o.scope.GetDriver(), o.GetKind(), o.GetId(), o.GetLocation(), o.GetMachineUid()})
	}
	return output.Table(env.Out, []string{"DRIVER", "KIND", "ID", "LOCATION", "MACHINE"}, rows)
}

// remove removes those that are named, in the order in which they can go.
func remove(ctx context.Context, env *cli.Env, a asked) error {
	all, _ := a.flags.GetBool("all")
	if all == (len(a.args) > 0) {
		return cli.Usagef("name the orphans to remove, or give --all").WithHint("`mctl orphans` lists them")
	}
	found, err := find(ctx, a)
	if err != nil {
		return err
	}
	chosen, err := choose(found, a.args, all)
	if err != nil {
		return err
	}
	result := struct {
		Removed []string `json:"removed"`
	}{[]string{}}
	yes, _ := a.flags.GetBool("yes")
	if len(chosen) == 0 {
		env.Infof("There are no orphans.")
		return env.Result(result)
	}
	if !yes {
		var names []string
		for _, o := range chosen {
			names = append(names, o.GetKind()+" "+o.GetId())
		}
		env.Infof("About to remove %s", strings.Join(names, ", "))
		if yes, err := env.Confirm("Are you sure?"); err != nil || !yes { // nobody there to answer counts as no
			return env.Result(result)
		}
	}
	var failed []error
	for _, o := range chosen {
		limited, cancel := context.WithTimeout(ctx, removeLimit)
		_, err := a.client.Drivers.DeleteOrphan(limited, &controllerv1.DeleteOrphanRequest{RequestId: cli.RequestID(), Scope: o.scope, Orphan: o.Orphan})
		cancel()
		if err != nil && !fault.Is(err, fault.NotFound) { // one that went with another is as good
			failed = append(failed, cli.Wrap(err, "Error removing %s %s: %w", o.GetKind(), o.GetId()))
			continue
		}
		env.Infof("Successfully removed %s %s", o.GetKind(), o.GetId())
		result.Removed = append(result.Removed, o.GetKind()+"/"+o.GetId())
	}
	return errors.Join(errors.Join(failed...), env.Result(result))
}

// choose finds what is named: ID, KIND/ID or KIND/LOCATION/ID. A name of several is refused.
func choose(found []orphan, names []string, all bool) ([]orphan, error) {
	if all {
		return found, nil
	}
	meant := func(o orphan, name string) bool {
		return name == o.GetId() || name == o.GetKind()+"/"+o.GetId() || name == o.GetKind()+"/"+o.GetLocation()+"/"+o.GetId()
	}
	for _, name := range names {
		count := 0
		for _, o := range found {
			if meant(o, name) {
				count++
			}
		}
		switch {
		case count == 0:
			return nil, fault.New("orphans", fault.NotFound, name, "there is no orphan "+name).WithHint("`mctl orphans` lists those that there are")
		case count > 1:
			return nil, cli.Usagef("there are several orphans %s", name).WithHint("say which: KIND/" + name + " or KIND/LOCATION/" + name)
		}
	}
	var chosen []orphan
	for _, o := range found {
		if slices.ContainsFunc(names, func(name string) bool { return meant(o, name) }) {
			chosen = append(chosen, o)
		}
	}
	return chosen, nil
}
