package manual

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// Markdown is a reference of all commands of a program that is called as app: a file for each, and README.md that leads to
// them, by name. The same commands give the same text.
func Markdown(app string, root *cobra.Command) map[string]string {
	all := read(app, root)
	var index strings.Builder
	fmt.Fprintf(&index, "# Commands\n\nMade from the commands themselves by `make docs`. `%s help COMMAND` says the same.\n\n| | |\n|---|---|\n", app)
	files := map[string]string{}
	for _, p := range all.commands {
		name := strings.TrimPrefix(p.path, app+" ")
		fmt.Fprintf(&index, "| [`%s`](%s.md) | %s |\n", name, name, cell(p.short))
		var text strings.Builder
		p.markdown(&text, "#")
		files[name+".md"] = text.String()
	}
	index.WriteString("\n## Options of every command\n\n")
	markdownOptions(&index, all.flags)
	files["README.md"] = index.String()
	return files
}

// markdown writes the page, and those below it as its sections. level is that of its heading.
func (p *page) markdown(out *strings.Builder, level string) {
	fmt.Fprintf(out, "%s %s\n\n%s.\n\n```text\n%s\n```\n", level, p.path, strings.TrimSuffix(p.short, "."), p.synopsis)
	if p.long != "" {
		fmt.Fprintf(out, "\n%s\n", p.long)
	}
	if len(p.flags) > 0 {
		out.WriteString("\n")
		markdownOptions(out, p.flags)
	}
	if len(p.examples) > 0 {
		fmt.Fprintf(out, "\nFor example:\n\n```sh\n%s\n```\n", strings.Join(p.examples, "\n"))
	}
	for _, sub := range p.commands {
		out.WriteString("\n")
		sub.markdown(out, level+"#")
	}
}

func markdownOptions(out *strings.Builder, flags []option) {
	out.WriteString("| option | variable | default | |\n|---|---|---|---|\n")
	for _, o := range flags {
		name := "`--" + o.name + "`"
		if o.value != "" {
			name = "`--" + o.name + " " + strings.ToUpper(o.value) + "`"
		}
		if o.short != "" {
			name += ", `-" + o.short + "`"
		}
		text := o.text
		if o.repeated {
			text += "; may be repeated"
		}
		fmt.Fprintf(out, "| %s | %s | %s | %s |\n", name, code(o.variable), code(o.fallback), cell(text))
	}
}

func code(text string) string {
	if text == "" {
		return ""
	}
	return "`" + cell(text) + "`"
}

// cell makes a text fit into a table.
func cell(text string) string { return strings.NewReplacer("|", `\|`, "\n", " ").Replace(text) }
