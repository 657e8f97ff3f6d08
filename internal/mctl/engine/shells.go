package engine

import (
	"fmt"
	"io"
	"path/filepath"
	"regexp"
	"strings"
	"unicode"

	"mctl/internal/fault"
)

// dialect is how one shell sets and unsets variables, and how it takes over what a command prints.
type dialect struct {
	set, unset string // formats: name and value, name
	comment    string
	eval       string              // format: the command
	quote      *strings.Replacer   // makes a value mean itself where set has it
	word       func(string) string // makes a word of a command line mean itself; nothing where that can't be
	splits     bool                // whether eval splits lines at spaces and puts them together with single ones
	quoted     bool                // whether eval has the command in quotes as set has them
}

// posix is how sh and its kin do it. ksh takes braces in what a command printed for a choice before it looks at quotes, so none
// is printed.
func posix() dialect {
	return dialect{
		`export %s="%s"`, "unset %s", "#", "eval $(%s)",
		strings.NewReplacer(`\`, `\\`, `"`, `\"`, `$`, `\$`, "`", "\\`", "{", `$(printf '\173')`),
		inSingleQuotes("'", `'\''`), true, false,
	}
}

// inSingleQuotes puts a word in them, after what they do not take literally was replaced.
func inSingleQuotes(replace ...string) func(string) string {
	r := strings.NewReplacer(replace...)
	return func(word string) string { return "'" + r.Replace(word) + "'" }
}

// dialects are the shells that differ from sh.
func dialects() map[string]dialect {
	return map[string]dialect{
		"fish": {`set -gx %s "%s";`, "set -e %s;", "#", "eval (%s)", strings.NewReplacer(`\`, `\\`, `"`, `\"`, `$`, `\$`), inSingleQuotes(`\`, `\\`, "'", `\'`), false, false},
		// PowerShell takes typographic quotes for quotes.
		"powershell": {
			`$Env:%s = "%s"`, `Remove-Item Env:\\%s`, "#", "& %s | Invoke-Expression",
			strings.NewReplacer("`", "``", `"`, "`\"", `$`, "`$", "“", "`“", "”", "`”", "„", "`„"),
			inSingleQuotes("'", "''", "‘", "‘‘", "’", "’’", "‚", "‚‚", "‛", "‛‛"), false, false,
		},
		// What FOR puts in place of its variable is not parsed again.
		"cmd": {"SET %s=%s", "SET %s=", "REM", "\t@FOR /f \"tokens=*\" %%i IN ('%s') DO @%%i", strings.NewReplacer(), unspeakable, false, false},
		// In double quotes csh escapes nothing but the exclamation mark: other quotes are needed for the rest. It takes patterns in
		// what a command printed for names of files before it looks at quotes, so those signs are not printed at all.
		"tcsh": {`setenv %s "%s";`, "unsetenv %s;", ":", "eval `%s`", strings.NewReplacer(`"`, `"'"'"`, `$`, `"'$'"`, "`", "\"'`'\"", `!`, `\!`,
			"{", "`printf '\\173'`", "*", "`printf '\\052'`", "?", "`printf '\\077'`", "[", "`printf '\\133'`"), unlessItHas("`!{*?[", posix().word), true, false},
		"emacs": {
			`(setenv "%s" "%s")`, `(setenv "%s" nil)`, ";;", `(with-temp-buffer (shell-command "%s" (current-buffer)) (eval-buffer))`,
			strings.NewReplacer(`\`, `\\`, `"`, `\"`), posix().word, false, true,
		},
	}
}

// variable is one to set, or, with unset, to take away.
type variable struct{ name, value string }

// writeShell prints the lines that a shell evaluates, and how to have it do so. The values are others' choice in part, and
// the shell is the caller's: each value means itself and nothing more.
func writeShell(out io.Writer, shell string, variables []variable, unset bool, args []string) error {
	d, known := dialects()[shell]
	if !known {
		d = posix()
	}
	var text strings.Builder
	for _, v := range variables {
		switch {
		case unset:
			fmt.Fprintf(&text, d.unset+"\n", v.name)
		case strings.ContainsFunc(v.value, unicode.IsControl):
			return fault.New("engine.env", fault.Precondition, v.name, fmt.Sprintf("no shell can be told the value of %s: %q", v.name, v.value)).
				WithHint("keep control characters out of it")
		default:
			fmt.Fprintf(&text, d.set+"\n", v.name, d.value(v.value))
		}
	}
	if line, ok := d.commandLine(args); ok {
		fmt.Fprintf(&text, "%[1]s Run this command to configure your shell: \n%[1]s %[2]s\n", d.comment, fmt.Sprintf(d.eval, line))
	}
	_, err := io.WriteString(out, text.String())
	return err
}

// value writes a value as set has it. Where the shell splits lines, two spaces in a row need something between them.
func (d dialect) value(text string) string {
	text = d.quote.Replace(text)
	for d.splits && strings.Contains(text, "  ") {
		text = strings.ReplaceAll(text, "  ", ` "" `)
	}
	return text
}

// commandLine is how we were called, for a comment that people copy and some shells look into. It is not told where the shell
// could take one of its words for more than a word.
func (d dialect) commandLine(args []string) (line string, ok bool) {
	words := make([]string, 0, len(args))
	for i, word := range args {
		switch {
		case strings.ContainsFunc(word, func(r rune) bool { return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) }):
			return "", false
		case ordinary.MatchString(word):
		case i == 0 && ordinary.MatchString(strings.NewReplacer(" ", "", `\`, "").Replace(word)):
			word = `"` + word + `"` // as docker-machine had it
		default:
			if word = d.word(word); word == "" {
				return "", false
			}
		}
		words = append(words, word)
	}
	line = strings.Join(words, " ")
	if d.quoted {
		line = d.quote.Replace(line)
	}
	return line, true
}

// ordinary words mean themselves to every shell.
var ordinary = regexp.MustCompile(`^[\pL\pN_+:./=-]+$`)

func unspeakable(string) string { return "" }

func unlessItHas(bad string, word func(string) string) func(string) string {
	return func(text string) string {
		if strings.ContainsAny(text, bad) {
			return ""
		}
		return word(text)
	}
}

// shellName picks the shell that will read the lines: the flag's, else that of SHELL, else fish where it runs us.
func shellName(flag string, getenv func(string) string) string {
	switch {
	case flag != "":
		return flag
	case getenv("SHELL") != "":
		return filepath.Base(getenv("SHELL"))
	case getenv("__fish_bin_dir") != "":
		return "fish"
	}
	return ""
}
