package output

import (
	"bytes"
	"encoding/json"
	"errors"
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
	var text strings.Builder
	if err := t.parsed.Execute(&text, item); err != nil {
		return "", badTemplate(err)
	}
	return Plain(text.String()), nil
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
	var text bytes.Buffer
	if err := parsed.Execute(&text, value); err != nil {
		return badTemplate(err)
	}
	_, err = io.WriteString(out, Plain(text.String())+"\n")
	return err
}

func badTemplate(err error) error {
	return fault.E("output.Template", fault.Invalid, "", errors.New("template parsing error: "+err.Error())).
		WithHint("--format is a Go template, such as {{.Name}}")
}
