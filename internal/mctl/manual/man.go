package manual

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// Man is a manual page for each command of a program that is called as app, by file name. The same commands give the same text.
func Man(app string, root *cobra.Command) map[string]string {
	files := map[string]string{}
	all := read(app, root)
	var add func(p, above *page)
	add = func(p, above *page) {
		files[p.hyphenated()+".1"] = p.man(app, above)
		for _, sub := range p.commands {
			add(sub, p)
		}
	}
	add(all, nil)
	return files
}

// man is the page in the language of man(7). above is the command that it is a part of, if any.
func (p *page) man(app string, above *page) string {
	var out strings.Builder
	fmt.Fprintf(&out, ".TH \"%s\" \"1\" \"\" \"%s\" \"Docker hosts\"\n", roff(strings.ToUpper(p.hyphenated())), roff(app))
	fmt.Fprintf(&out, ".SH NAME\n%s \\- %s\n", roff(p.hyphenated()), roff(strings.TrimSuffix(p.short, ".")))
	fmt.Fprintf(&out, ".SH SYNOPSIS\n\\fB%s\\fR%s\n", roff(p.path), roff(strings.TrimPrefix(p.synopsis, p.path)))
	if p.long != "" {
		fmt.Fprintf(&out, ".SH DESCRIPTION\n%s\n", lines(p.long))
	}
	if len(p.commands) > 0 {
		out.WriteString(".SH COMMANDS\n")
		for _, sub := range p.commands {
			fmt.Fprintf(&out, ".TP\n\\fB%s\\fR(1)\n%s\n", roff(sub.hyphenated()), lines(sub.short))
		}
	}
	if len(p.flags) > 0 {
		out.WriteString(".SH OPTIONS\n")
		for _, o := range p.flags {
			out.WriteString(o.man())
		}
	}
	if len(p.examples) > 0 {
		fmt.Fprintf(&out, ".SH EXAMPLES\n.nf\n%s\n.fi\n", lines(strings.Join(p.examples, "\n")))
	}
	if above != nil {
		fmt.Fprintf(&out, ".SH SEE ALSO\n\\fB%s\\fR(1)\n", roff(above.hyphenated()))
	}
	return out.String()
}

func (o option) man() string {
	name := `\fB` + roff("--"+o.name) + `\fR`
	if o.short != "" {
		name += `, \fB` + roff("-"+o.short) + `\fR`
	}
	if o.value != "" {
		name += ` \fI` + roff(o.value) + `\fR`
	}
	text := strings.TrimSuffix(o.text, ".") + "."
	if o.repeated {
		text += " May be repeated."
	}
	if o.fallback != "" {
		text += " Otherwise " + o.fallback + "."
	}
	text = lines(text)
	if o.variable != "" {
		text += ` Also by the variable \%` + roff(o.variable) + "." // with a hyphen at a line's end it would be another's name
	}
	return ".TP\n" + name + "\n" + text + "\n"
}

// roff makes each character mean itself within a line.
func roff(text string) string {
	return strings.NewReplacer(`\`, `\e`, "-", `\-`, "'", `\(aq`, "`", `\(ga`, "^", `\(ha`, "~", `\(ti`, `"`, `\(dq`).Replace(text)
}

// lines is roff for whole lines, of which none may begin like a request.
func lines(text string) string {
	var all []string
	for line := range strings.SplitSeq(roff(text), "\n") {
		if strings.HasPrefix(line, ".") {
			line = `\&` + line
		}
		all = append(all, line)
	}
	return strings.Join(all, "\n")
}
