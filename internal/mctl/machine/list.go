package machine

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"mctl/internal/mctl/cli"
	"mctl/internal/mctl/engine"
	"mctl/internal/mctl/output"
	"mctl/internal/mctl/state"
	controllerv1 "mctl/proto/mctl/controller/v1"
)

// defaultFormat is docker-machine's table.
const defaultFormat = "table {{ .Name }}\t{{ .Active }}\t{{ .DriverName}}\t{{ .State }}\t{{ .URL }}\t{{ .Swarm }}\t{{ .DockerVersion }}\t{{ .Error}}"

type listOptions struct {
	quiet   bool
	filters []string
	timeout int
	format  string
}

func newList(env *cli.Env) *cobra.Command {
	var opts listOptions
	command := &cobra.Command{
		Use: "ls", Short: "List machines",
		Example: "mctl ls --filter state=Running --filter driver=generic\nmctl ls --format '{{.Name}}: {{.URL}}'",
		Args:    cobra.ArbitraryArgs,
		RunE:    func(command *cobra.Command, _ []string) error { return list(command.Context(), env, opts) },
	}
	flags := command.Flags()
	flags.BoolVarP(&opts.quiet, "quiet", "q", false, "Enable quiet mode")
	flags.StringArrayVar(&opts.filters, "filter", nil, "Filter output based on conditions provided")
	flags.IntVarP(&opts.timeout, "timeout", "t", 10, "Timeout in seconds, accepted for docker-machine's sake: nothing is waited for")
	flags.StringVarP(&opts.format, "format", "f", "", "Pretty-print machines using a Go template")
	return command
}

// Item is one row, with docker-machine's names for templates.
type Item struct {
	Name          string
	Active        string
	ActiveHost    bool
	ActiveSwarm   bool
	DriverName    string
	State         string
	URL           string
	SwarmOptions  *state.SwarmOptions
	EngineOptions *state.EngineOptions
	Swarm         string
	DockerVersion string
	Error         string
	ResponseTime  time.Duration // none: nothing is waited for
}

func list(ctx context.Context, env *cli.Env, opts listOptions) error {
	if env.JSON() && opts.format != "" {
		return cli.Usagef("--format and --output json exclude each other").WithHint("leave one of them out")
	}
	keep, err := parseFilters(opts.filters)
	if err != nil {
		return err
	}
	view := controllerv1.MachineView_MACHINE_VIEW_BASIC
	if env.JSON() {
		view = controllerv1.MachineView_MACHINE_VIEW_FULL
	}
	machines, err := env.List(ctx, view)
	if err != nil {
		return err
	}
	known := machines
	machines = slices.DeleteFunc(slices.Clone(machines), func(m *controllerv1.Machine) bool { return !keep.matches(m, masterOf(known, m)) })
	switch {
	case opts.quiet && env.JSON():
		return env.Result(namesOf(machines))
	case opts.quiet:
		env.Printf("%s", strings.Join(append(namesOf(machines), ""), "\n"))
		return nil
	case env.JSON():
		return env.Result(output.Messages(machines))
	}
	items := make([]Item, 0, len(machines))
	for _, m := range machines {
		items = append(items, itemOf(env, m, known))
	}
	foreign, err := foreignItems(ctx, env, known)
	if err != nil {
		return err
	}
	if len(foreign) > 0 {
		items = append(items, foreign...)
		slices.SortStableFunc(items, func(a, b Item) int { return naturalCompare(a.Name, b.Name) })
	}
	return writeItems(env, opts.format, items)
}

func writeItems(env *cli.Env, format string, items []Item) error {
	if format == "" || format == defaultFormat {
		// The usual table without the template's cost.
		rows := make([][]string, 0, len(items))
		for _, i := range items {
			rows = append(rows, []string{i.Name, i.Active, i.DriverName, i.State, i.URL, i.Swarm, i.DockerVersion, i.Error})
		}
		return output.Table(env.Out, []string{"NAME", "ACTIVE", "DRIVER", "STATE", "URL", "SWARM", "DOCKER", "ERRORS"}, rows)
	}
	template, err := output.ParseTemplate(format)
	if err != nil {
		return err
	}
	values := make([]any, 0, len(items))
	for _, item := range items {
		values = append(values, item)
	}
	return template.Write(env.Out, headerItem(), values)
}

func itemOf(env *cli.Env, m *controllerv1.Machine, all []*controllerv1.Machine) Item {
	status := m.GetStatus()
	item := Item{
		Name: output.Line(m.GetName()), Active: "-", DriverName: output.Line(state.DriverName(m.GetSpec())), State: output.Line(status.GetState()),
		DockerVersion: "Unknown", Error: output.Line(status.GetError()),
		SwarmOptions: state.NewSwarmOptions(m.GetSpec().GetSwarm()), EngineOptions: state.NewEngineOptions(m.GetSpec().GetEngine()),
	}
	if url, err := engine.URL(m); err == nil {
		item.URL = output.Line(url)
		if version := status.GetEngine().GetVersion(); version != "" {
			item.DockerVersion = "v" + output.Line(version)
		}
	}
	if item.Swarm = output.Line(masterOf(all, m)); m.GetSpec().GetSwarm().GetMaster() {
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

// masterOf is the name of the master of a machine's swarm: the machine itself, or the one that its discovery leads to by way of
// other managers. Nothing for a machine in no swarm.
func masterOf(all []*controllerv1.Machine, m *controllerv1.Machine) string {
	name := ""
	for range len(all) {
		swarm := m.GetSpec().GetSwarm()
		if swarm.GetMaster() {
			return m.GetName()
		}
		of := strings.TrimPrefix(swarm.GetDiscovery(), "mctl://")
		if of == "" {
			return name
		}
		name = of
		i := slices.IndexFunc(all, func(other *controllerv1.Machine) bool { return other.GetName() == of })
		if i < 0 {
			return name
		}
		m = all[i]
	}
	return name
}

func namesOf(machines []*controllerv1.Machine) []string {
	names := make([]string, 0, len(machines))
	for _, m := range machines {
		names = append(names, m.GetName())
	}
	return names
}
