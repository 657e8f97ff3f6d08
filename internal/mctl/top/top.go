// Package top shows what hosts are doing: once, or on a terminal as it changes.
package top

import (
	"context"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"mctl/internal/mctl/cli"
	"mctl/internal/mctl/output"
	controllerv1 "mctl/proto/mctl/controller/v1"
)

type options struct {
	sort    string
	reverse bool
	once    bool
}

// Commands returns the commands about what hosts are doing.
func Commands(env *cli.Env) []*cobra.Command {
	var opts options
	command := &cobra.Command{
		Use: "top [NAME...]", Short: "Show CPU, memory, disk and containers of machines, live",
		Example: "mctl top\nmctl top --sort memory web db\nmctl top --once",
		Args:    cobra.ArbitraryArgs, ValidArgsFunction: cli.CompleteMachines(env),
		RunE: func(command *cobra.Command, args []string) error { return top(command.Context(), env, args, opts) },
	}
	flags := command.Flags()
	flags.StringVar(&opts.sort, "sort", "cpu", "Sort by "+strings.Join(sortNames(), ", ")+": the largest first, names from a to z")
	flags.BoolVarP(&opts.reverse, "reverse", "r", false, "Sort the other way round")
	flags.BoolVar(&opts.once, "once", false, "Print once and end, as where the output is no terminal")
	_ = command.RegisterFlagCompletionFunc("sort", cobra.FixedCompletions(sortNames(), cobra.ShellCompDirectiveNoFileComp)) // fails for no such flag alone
	return []*cobra.Command{command}
}

func sortNames() []string {
	var names []string
	for _, c := range columns() {
		names = append(names, c.name)
	}
	return names
}

func top(ctx context.Context, env *cli.Env, names []string, opts options) error {
	by := slices.Index(sortNames(), opts.sort)
	if by < 0 {
		return cli.Usagef("invalid value %q for flag -sort", opts.sort).WithHint("it is one of " + strings.Join(sortNames(), ", "))
	}
	o := order{by: by, reversed: opts.reverse}
	if len(names) > 0 {
		names = cli.Unique(names)
		if _, err := env.Machines(ctx, names); err != nil {
			return err
		}
	}
	_, file := env.Out.(*os.File)
	if env.Width > 0 && file && !opts.once && !env.JSON() {
		return live(ctx, env, names, o)
	}
	return once(ctx, env, names, o)
}

// once prints the first picture.
func once(ctx context.Context, env *cli.Env, names []string, o order) error {
	f := newFleet(env, names)
	byName := map[string]*controllerv1.Machine{}
	if err := f.watch(ctx, func(m *controllerv1.Machine) bool {
		if m != nil && env.JSON() {
			byName[output.Line(m.GetName())] = m
		}
		return m != nil
	}); err != nil {
		return err
	}
	rows, _, _ := f.shown(nil, o)
	if env.JSON() {
		machines := make([]*controllerv1.Machine, 0, len(rows))
		for _, r := range rows {
			machines = append(machines, byName[r.name])
		}
		return env.Result(output.Messages(machines))
	}
	picture := view{order: o, width: 1 << 16, now: env.Now()} // as wide as it comes
	cells := picture.cells(rows)
	header := make([]string, 0, len(cells))
	for _, c := range cells {
		header = append(header, c.title)
	}
	table := make([][]string, 0, len(rows))
	for _, r := range rows {
		line := make([]string, 0, len(cells))
		for _, c := range cells {
			line = append(line, c.text(r))
		}
		table = append(table, line)
	}
	return output.Table(env.Out, header, table)
}
