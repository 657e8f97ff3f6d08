package migrate

import (
	"strings"

	"mctl/internal/mctl/cli"
	"mctl/internal/mctl/legacy"
	"mctl/internal/mctl/output"
)

// report is what the commands answer with --output json.
type report struct {
	Store    string   `json:"store"`
	InPlace  bool     `json:"inPlace"`
	Backup   string   `json:"backup,omitempty"`
	Machines []result `json:"machines"`
}

type result struct {
	Name      string        `json:"name"`
	Driver    string        `json:"driver,omitempty"`
	Becomes   string        `json:"becomes,omitempty"`
	Address   string        `json:"address,omitempty"`
	Authority string        `json:"authority,omitempty"`
	Result    string        `json:"result"`
	Problem   *legacy.Note  `json:"problem,omitempty"`
	Notes     []legacy.Note `json:"notes,omitempty"`
}

// What became of a machine.
const (
	planned  = "to import"
	imported = "imported"
	known    = "imported before"
	skipped  = "not imported"
	failed   = "failed"
)

func resultsOf(plan *legacy.Plan) []result {
	results := make([]result, len(plan.Machines))
	for i, m := range plan.Machines {
		results[i] = result{
			Name: m.Name, Driver: m.Driver, Becomes: m.Becomes, Address: m.Address, Authority: m.Authority, Result: planned,
			Problem: m.Problem, Notes: m.Notes,
		}
		if m.Request == nil {
			results[i].Result = skipped
		}
	}
	return results
}

// show prints what became, or would become, of each machine.
func show(env *cli.Env, answer report) error {
	if env.JSON() {
		return env.Result(answer)
	}
	if len(answer.Machines) == 0 {
		env.Infof("There are no machines in %s", answer.Store)
		return nil
	}
	rows := make([][]string, len(answer.Machines))
	hints := map[string]bool{}
	var hintLines []string
	for i, m := range answer.Machines {
		notes := m.Notes
		if m.Problem != nil {
			notes = append([]legacy.Note{*m.Problem}, notes...)
		}
		var sentences []string
		for _, note := range notes {
			sentences = append(sentences, note.Message)
			if note.Hint != "" && !hints[note.Hint] {
				hints[note.Hint] = true
				hintLines = append(hintLines, note.Message+": "+note.Hint)
			}
		}
		rows[i] = []string{m.Name, dash(m.Driver), dash(m.Becomes), dash(m.Address), dash(m.Authority), m.Result, strings.Join(sentences, "; ")}
	}
	if err := output.Table(env.Out, []string{"NAME", "DRIVER", "BECOMES", "ADDRESS", "AUTHORITY", "RESULT", "NOTES"}, rows); err != nil {
		return err
	}
	for _, line := range hintLines {
		env.Infof("hint: %s", line)
	}
	if answer.Backup != "" {
		env.Infof("The store as it was is in %s; `%s import --undo` brings it back", answer.Backup, env.App())
	}
	return nil
}

func dash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}
