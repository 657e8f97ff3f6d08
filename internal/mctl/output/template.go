package output

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/template"

	"mctl/internal/fault"
)

// Template is a user's --format.
type Template struct {
	parsed *template.Template
	table  bool
}

// ParseTemplate reads a format as docker-machine's ls took it: the prefix "table" asks for a header and aligned columns,
// and the two characters \t or \n mean a tab or a new line.
func ParseTemplate(format string) (*Template, error) {
	text := strings.NewReplacer(`\t`, "\t", `\n`, "\n").Replace(strings.TrimSpace(format))
	text, table := strings.CutPrefix(text, "table")
	parsed, err := template.New("").Parse(strings.TrimSpace(text))
	if err != nil {
		return nil, badTemplate(err)
	}
	return &Template{parsed: parsed, table: table}, nil
}

// Table reports whether the format asks for a header and aligned columns.
func (t *Template) Table() bool { return t.table }

// Row is what the template makes of one item, fit for a terminal; of a table with tabs between its cells.
func (t *Template) Row(item any) (string, error) {
	text, err := execute(t.parsed, item)
	return Plain(text), err
}

// Render fills a template with a document as inspect's --format did: the document is what JSON makes of it, and there are
// the functions json and prettyjson.
func Render(out io.Writer, format string, document []byte) error {
	parsed, err := template.New("").Funcs(template.FuncMap{
		"json":       func(v any) (string, error) { return encode(v, "") },
		"prettyjson": func(v any) (string, error) { return encode(v, "    ") },
	}).Parse(format)
	if err != nil {
		return badTemplate(err)
	}
	var value any
	if err := json.Unmarshal(document, &value); err != nil {
		return err
	}
	text, err := execute(parsed, value)
	if err != nil {
		return err
	}
	_, err = io.WriteString(out, Plain(text)+"\n")
	return err
}

// maxText bounds what a template makes of one item, in bytes: one that loops must not take all memory.
const maxText = 16 << 20

func execute(parsed *template.Template, value any) (string, error) {
	var text bounded
	if err := parsed.Execute(&text, value); err != nil {
		return "", badTemplate(err)
	}
	return text.String(), nil
}

// bounded takes up to maxText.
type bounded struct{ strings.Builder }

func (b *bounded) Write(p []byte) (int, error) {
	if b.Len()+len(p) > maxText {
		return 0, fmt.Errorf("it makes more than %d MB of one machine", maxText>>20)
	}
	return b.Builder.Write(p)
}

func badTemplate(err error) error {
	return fault.E("output.Template", fault.Invalid, "", errors.New("template parsing error: "+err.Error())).
		WithHint("--format is a Go template, such as {{.Name}}")
}
