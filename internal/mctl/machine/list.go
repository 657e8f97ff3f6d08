package machine

import (
	"context"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"mctl/internal/mctl/cli"
	"mctl/internal/mctl/engine"
	"mctl/internal/mctl/output"
	"mctl/internal/mctl/state"
	controllerv1 "mctl/proto/mctl/controller/v1"
)

// listMemory is how much the runtime holds before it collects more often, in bytes: ten thousand rows and a page of machines fit.
const listMemory = 14 << 20

type listOptions struct {
	quiet   bool
	filters []string
	timeout int
	format  string
	columns string
}

func newList(env *cli.Env) *cobra.Command {
	var opts listOptions
	command := &cobra.Command{
		Use: "ls", Short: "List machines",
		Example: "mctl ls --filter state=Running --filter driver=generic\nmctl ls --format '{{.Name}}: {{.URL}}'\nmctl ls --columns name,cpu,memory,containers,expiry",
		Args:    cobra.ArbitraryArgs,
		RunE:    func(command *cobra.Command, _ []string) error { return list(command.Context(), env, opts) },
	}
	flags := command.Flags()
	flags.BoolVarP(&opts.quiet, "quiet", "q", false, "Enable quiet mode")
	flags.StringArrayVar(&opts.filters, "filter", nil, "Filter output based on conditions provided")
	flags.IntVarP(&opts.timeout, "timeout", "t", 10, "Timeout in seconds, accepted for docker-machine's sake: nothing is waited for")
	flags.StringVarP(&opts.format, "format", "f", "", "Pretty-print machines using a Go template")
	flags.StringVar(&opts.columns, "columns", "", "Show these columns, separated by commas: "+strings.Join(columnNames(), ", "))
	_ = command.RegisterFlagCompletionFunc("columns", completeColumns) // fails for no such flag alone
	return command
}

func list(ctx context.Context, env *cli.Env, opts listOptions) error {
	if env.JSON() && opts.format != "" {
		return cli.Usagef("--format and --output json exclude each other").WithHint("leave one of them out")
	}
	if opts.columns != "" && (env.JSON() || opts.format != "" || opts.quiet) {
		return cli.Usagef("--columns is for tables alone, without --format, --quiet and --output json").WithHint("leave one of them out")
	}
	keep, err := parseFilters(opts.filters)
	if err != nil {
		return err
	}
	switch {
	case opts.quiet:
		return listNames(ctx, env, keep)
	case env.JSON():
		return listMessages(ctx, env, keep)
	}
	layout, err := layoutOf(opts.format)
	if opts.columns != "" {
		layout, err = layoutOfColumns(opts.columns, env.Now())
	}
	if err != nil {
		return err
	}
	if _, err := env.Client(ctx); err != nil {
		return err // before anything else is said of the state directory
	}
	foreign, err := readForeign(env)
	if err != nil {
		return err
	}
	view := controllerv1.MachineView_MACHINE_VIEW_BASIC
	if layout.full {
		view = controllerv1.MachineView_MACHINE_VIEW_FULL
	}
	// Of each machine its row alone is kept, and what came with it is collected before it takes more than all else.
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(listMemory))
	var rows []row
	add := func(item Item) error {
		text, err := layout.text(item)
		rows = append(rows, row{name: item.Name, text: text})
		return err
	}
	for page, err := range env.Pages(ctx, view) {
		if err != nil {
			return err
		}
		for _, m := range page {
			foreign.leaveOut(m.GetName())
			if !keep.matches(m) {
				continue
			}
			if err := add(itemOf(env, m, layout.options)); err != nil {
				return err
			}
		}
	}
	if others := foreign.items(ctx, env); len(others) > 0 {
		for _, item := range others {
			if err := add(item); err != nil {
				return err
			}
		}
		slices.SortStableFunc(rows, func(a, b row) int { return output.NaturalCompare(a.name, b.name) })
	}
	return layout.write(env.Out, rows)
}

func listNames(ctx context.Context, env *cli.Env, keep filter) error {
	names := []string{}
	for page, err := range env.Pages(ctx, controllerv1.MachineView_MACHINE_VIEW_BASIC) {
		if err != nil {
			return err
		}
		for _, m := range page {
			if keep.matches(m) {
				names = append(names, m.GetName())
			}
		}
	}
	if env.JSON() {
		return env.Result(names)
	}
	env.Printf("%s", strings.Join(append(names, ""), "\n"))
	return nil
}

func listMessages(ctx context.Context, env *cli.Env, keep filter) error {
	machines, err := env.List(ctx, controllerv1.MachineView_MACHINE_VIEW_FULL)
	if err != nil {
		return err
	}
	return env.Result(output.Messages(slices.DeleteFunc(machines, func(m *controllerv1.Machine) bool { return !keep.matches(m) })))
}

// itemOf is a machine's row, with the options of its engine where they are asked for.
func itemOf(env *cli.Env, m *controllerv1.Machine, options bool) Item {
	status := m.GetStatus()
	item := Item{
		machine: m, Name: output.Line(m.GetName()), Active: "-", DriverName: output.Line(state.DriverName(m.GetSpec())), State: output.Line(status.GetState()),
		DockerVersion: "Unknown", Error: output.Line(status.GetError()),
	}
	if options {
		item.SwarmOptions, item.EngineOptions = state.NewSwarmOptions(m.GetSpec().GetSwarm()), state.NewEngineOptions(m.GetSpec().GetEngine())
	}
	if url, err := engine.URL(m); err == nil {
		item.URL = output.Line(url)
		if version := status.GetEngine().GetVersion(); version != "" {
			item.DockerVersion = "v" + output.Line(version)
		}
	}
	if item.Swarm = output.Line(m.GetSpec().GetSwarm().GetMasterName()); m.GetSpec().GetSwarm().GetMaster() {
		item.Swarm += " (master)"
	}
	switch host, swarm := isActive(env, m); {
	case swarm:
		item.Active, item.ActiveSwarm = "* (swarm)", true
	case host:
		item.Active, item.ActiveHost = "*", true
	}
	return item
}

// isActive reports whether the caller's DOCKER_HOST is the machine's engine, or where a manager serves it for its swarm.
func isActive(env *cli.Env, m *controllerv1.Machine) (host, swarm bool) {
	url := env.Getenv("DOCKER_HOST")
	if url == "" || m.GetStatus().GetState() != "Running" {
		return false, false
	}
	return m.GetStatus().GetUrl() == url, m.GetStatus().GetSwarm().GetUrl() == url
}
