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

// Write prints one line an item; header is what stands above the columns of a table. Nothing is printed of a template that
// fails.
func (t *Template) Write(out io.Writer, header any, items []any) error {
	var text bytes.Buffer
	var target io.Writer = &text
	flush := func() error { return nil }
	if t.table {
		w := tabWriter(&text)
		target, flush = w, w.Flush
		items = append([]any{header}, items...)
	}
	for _, item := range items {
		if err := t.parsed.Execute(target, item); err != nil {
			return badTemplate(err)
		}
		if _, err := io.WriteString(target, "\n"); err != nil {
			return err
		}
	}
	if err := flush(); err != nil {
		return err
	}
	_, err := io.WriteString(out, Plain(text.String()))
	return err
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
