package create

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"mctl/internal/fault"
	"mctl/internal/mctl/cli"
	"mctl/internal/mctl/dial"
	"mctl/internal/mctl/output"
	controllerv1 "mctl/proto/mctl/controller/v1"
)

// findDriver returns the driver that is named, or else chooses one: the one whose flags are on the command line, then the
// first that can be used here.
func findDriver(ctx context.Context, env *cli.Env, named string, args []string) (driver *controllerv1.Driver, chosen bool, err error) {
	client, err := env.Client(ctx)
	if err != nil {
		return nil, false, err
	}
	if named != "" {
		driver, err := getDriver(ctx, client, named)
		return driver, false, err
	}
	response, err := client.Drivers.ListDrivers(ctx, &controllerv1.ListDriversRequest{})
	if err != nil {
		return nil, false, err
	}
	driver, err = choose(response.GetDrivers(), args, env.DockerMachine())
	if err == nil && len(driver.GetFlags()) == 0 {
		driver, err = getDriver(ctx, client, driver.GetName())
	}
	return driver, true, err
}

func getDriver(ctx context.Context, client *dial.Client, name string) (*controllerv1.Driver, error) {
	response, err := client.Drivers.GetDriver(ctx, &controllerv1.GetDriverRequest{Name: name})
	if fault.Is(err, fault.NotFound) {
		plain := strings.TrimPrefix(name, "plugin:")
		hint := "`mctl drivers` lists those that there are"
		if where := fault.HintOf(err); where != "" {
			hint = where + "; " + hint
		}
		return nil, fault.New("create.getDriver", fault.NotFound, name,
			fmt.Sprintf("Driver %q not found. Do you have the plugin binary %q accessible in your PATH?", plain, "docker-machine-driver-"+plain)).
			WithHint(hint).WithReason(fault.ReasonUsage)
	}
	return response.GetDriver(), err
}

func choose(drivers []*controllerv1.Driver, args []string, dockerMachine bool) (*controllerv1.Driver, error) {
	var meant, usable []*controllerv1.Driver
	for _, d := range drivers {
		if usesFlagOf(d, args) {
			meant = append(meant, d)
		}
		if d.GetUnusable() == "" && (d.GetDefaultRank() > 0 || dockerMachine && d.GetName() == "virtualbox") {
			usable = append(usable, d)
		}
	}
	if len(meant) > 1 {
		return nil, cli.Usagef("the flags belong to several drivers: %s and %s", meant[0].GetName(), meant[1].GetName()).
			WithHint("name one with --driver")
	}
	if len(meant) == 1 {
		return meant[0], nil
	}
	if len(usable) == 0 {
		return nil, noneUsable(drivers)
	}
	return slices.MinFunc(usable, func(a, b *controllerv1.Driver) int { return rank(a, dockerMachine) - rank(b, dockerMachine) }), nil
}

// rank orders drivers when none is named. docker-machine's users expect virtualbox.
func rank(d *controllerv1.Driver, dockerMachine bool) int {
	if dockerMachine && d.GetName() == "virtualbox" {
		return 0
	}
	return int(d.GetDefaultRank())
}

func noneUsable(drivers []*controllerv1.Driver) error {
	var lacks []string
	for _, d := range drivers {
		if d.GetDefaultRank() > 0 && d.GetUnusable() != "" {
			lacks = append(lacks, d.GetName()+": "+d.GetUnusable())
		}
	}
	sentence := "no driver is named, and none can be used here without being named"
	if len(lacks) > 0 {
		sentence += " (" + strings.Join(lacks, "; ") + ")"
	}
	return fault.New("create.choose", fault.Precondition, "", sentence).
		WithHint("name one with --driver; `mctl drivers` lists them").WithReason(fault.ReasonPrecheck)
}

func newDrivers(env *cli.Env) *cobra.Command {
	return &cobra.Command{
		Use: "drivers", Short: "List the drivers that machines can be made with", Example: "mctl drivers", Args: cli.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error { return drivers(command.Context(), env) },
	}
}

func drivers(ctx context.Context, env *cli.Env) error {
	client, err := env.Client(ctx)
	if err != nil {
		return err
	}
	response, err := client.Drivers.ListDrivers(ctx, &controllerv1.ListDriversRequest{})
	if err != nil {
		return err
	}
	if env.JSON() {
		return env.Result(output.Messages(response.GetDrivers()))
	}
	var rows [][]string
	for _, d := range response.GetDrivers() {
		usable := "yes"
		if d.GetUnusable() != "" {
			usable = "no: " + d.GetUnusable()
		}
		rows = append(rows, []string{d.GetName(), d.GetSummary(), strings.Join(d.GetAbilities(), ", "), usable})
	}
	return output.Table(env.Out, []string{"NAME", "SUMMARY", "ABILITIES", "USABLE"}, rows)
}
