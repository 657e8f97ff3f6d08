package machine

import (
	"io"
	"strings"
	"time"

	"mctl/internal/mctl/output"
	"mctl/internal/mctl/state"
	controllerv1 "mctl/proto/mctl/controller/v1"
)

// defaultFormat is docker-machine's table.
const defaultFormat = "table {{ .Name }}\t{{ .Active }}\t{{ .DriverName}}\t{{ .State }}\t{{ .URL }}\t{{ .Swarm }}\t{{ .DockerVersion }}\t{{ .Error}}"

// Item is one machine of ls, with docker-machine's names for templates.
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

	machine *controllerv1.Machine // nil for a folder of another program's
}

// layout is how ls shows machines, each on a row.
type layout struct {
	text    func(Item) (string, error)
	options bool   // whether text wants the options of machines
	full    bool   // whether it wants more than their basic view
	table   bool   // whether rows have columns, and
	header  string // what stands above them
}

// row is a machine as its layout shows it.
type row struct{ name, text string }

func layoutOf(format string) (layout, error) {
	if format == "" || format == defaultFormat {
		return layout{text: usualText, table: true, header: "NAME\tACTIVE\tDRIVER\tSTATE\tURL\tSWARM\tDOCKER\tERRORS"}, nil
	}
	template, err := output.ParseTemplate(format)
	if err != nil {
		return layout{}, err
	}
	l := layout{text: func(item Item) (string, error) { return template.Row(item) }, options: true, table: template.Table()}
	if l.table {
		l.header, err = template.Row(headerItem())
	}
	return l, err
}

// usualText is the usual row without the template's cost.
func usualText(i Item) (string, error) {
	return strings.Join([]string{i.Name, i.Active, i.DriverName, i.State, i.URL, i.Swarm, i.DockerVersion, i.Error}, "\t"), nil
}

// write prints the rows.
func (l layout) write(out io.Writer, rows []row) error {
	texts := func(yield func(string) bool) {
		if l.table && !yield(l.header) {
			return
		}
		for _, r := range rows {
			if !yield(r.text) {
				return
			}
		}
	}
	if l.table {
		return output.Columns(out, texts)
	}
	return output.Rows(out, texts)
}
