package machine

import (
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/timestamppb"

	"mctl/internal/mctl/cli"
	"mctl/internal/mctl/figure"
	"mctl/internal/mctl/output"
	controllerv1 "mctl/proto/mctl/controller/v1"
)

// column is one that ls can show.
type column struct {
	name string
	full bool // it says more than the basic view of a machine does
	text func(i Item, now time.Time) string
}

func listColumns() []column {
	status := func(i Item) *controllerv1.MachineStatus { return i.machine.GetStatus() }
	known := func(text string) string {
		if text == "" {
			return figure.Unknown
		}
		return output.Line(text)
	}
	return []column{
		{"NAME", false, func(i Item, _ time.Time) string { return i.Name }},
		{"ACTIVE", false, func(i Item, _ time.Time) string { return i.Active }},
		{"DRIVER", false, func(i Item, _ time.Time) string { return i.DriverName }},
		{"STATE", false, func(i Item, _ time.Time) string { return i.State }},
		{"URL", false, func(i Item, _ time.Time) string { return i.URL }},
		{"SWARM", false, func(i Item, _ time.Time) string { return i.Swarm }},
		{"DOCKER", false, func(i Item, _ time.Time) string { return i.DockerVersion }},
		{"ERRORS", false, func(i Item, _ time.Time) string { return i.Error }},
		{"ADDRESS", false, func(i Item, _ time.Time) string { return known(status(i).GetAddress()) }},
		{"AGENT", true, func(i Item, _ time.Time) string { return known(status(i).GetHost().GetAgentVersion()) }},
		{"ARCH", true, func(i Item, _ time.Time) string { return known(status(i).GetHost().GetArch()) }},
		{"OS", true, func(i Item, _ time.Time) string { return known(status(i).GetHost().GetOs()) }},
		{"LINK", true, func(i Item, _ time.Time) string { return linkOf(status(i).GetLink()) }},
		{"CPU", true, func(i Item, _ time.Time) string { return figure.CPU(status(i).GetHealth()) }},
		{"MEMORY", true, func(i Item, _ time.Time) string { return figure.Memory(status(i).GetHealth()).Of() }},
		{"DISK", true, func(i Item, _ time.Time) string { return figure.Disk(status(i).GetHealth()).Of() }},
		{"CONTAINERS", true, func(i Item, _ time.Time) string { return figure.Containers(status(i).GetHealth()) }},
		{"AGE", true, func(i Item, now time.Time) string { return figure.AgeOf(status(i).GetHealth(), now) }},
		{"EXPIRY", true, func(i Item, _ time.Time) string { return dateOf(status(i).GetEngine().GetCertificateExpireTime()) }},
		{"CREATED", true, func(i Item, _ time.Time) string { return dateOf(i.machine.GetCreateTime()) }},
	}
}

// linkOf is the way that the agent's session comes, or that there is none.
func linkOf(link *controllerv1.LinkStatus) string {
	switch {
	case !link.GetConnected():
		return figure.Unknown
	case link.GetWay() == controllerv1.LinkWay_LINK_WAY_SSH:
		return "ssh"
	}
	return "direct"
}

func dateOf(t *timestamppb.Timestamp) string {
	if t == nil {
		return figure.Unknown
	}
	return t.AsTime().Format(time.DateOnly)
}

func columnNames() []string {
	var names []string
	for _, c := range listColumns() {
		names = append(names, c.name)
	}
	return names
}

// layoutOfColumns shows the columns that are named, separated by commas, in that order.
func layoutOfColumns(text string, now time.Time) (layout, error) {
	var chosen []column
	l := layout{table: true}
	for name := range strings.SplitSeq(text, ",") {
		name = strings.ToUpper(strings.TrimSpace(name))
		at := slices.Index(columnNames(), name)
		if at < 0 {
			return l, cli.Usagef("ls has no column %q", name).WithHint("the columns are " + strings.Join(columnNames(), ", "))
		}
		chosen = append(chosen, listColumns()[at])
		l.full = l.full || listColumns()[at].full
	}
	titles := make([]string, 0, len(chosen))
	for _, c := range chosen {
		titles = append(titles, c.name)
	}
	l.header = strings.Join(titles, "\t")
	l.text = func(i Item) (string, error) {
		cells := make([]string, 0, len(chosen))
		for _, c := range chosen {
			cells = append(cells, c.text(i, now))
		}
		return strings.Join(cells, "\t"), nil
	}
	return l, nil
}

// completeColumns completes the last name of a list with commas.
func completeColumns(_ *cobra.Command, _ []string, prefix string) ([]string, cobra.ShellCompDirective) {
	done, last := "", prefix
	if at := strings.LastIndex(prefix, ","); at >= 0 {
		done, last = prefix[:at+1], prefix[at+1:]
	}
	var names []string
	for _, name := range columnNames() {
		if strings.HasPrefix(name, strings.ToUpper(last)) && !slices.Contains(strings.Split(strings.ToUpper(done), ","), name) {
			names = append(names, done+name)
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
}
