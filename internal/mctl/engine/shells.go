package engine

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"unicode"

	"mctl/internal/fault"
)

// dialect is how one shell sets and unsets variables, and how it takes over what a command prints.
type dialect struct {
	set, unset string // formats: name and value, name
	comment    string
	eval       string            // format: the command
	quote      *strings.Replacer // makes a value mean itself where set has it
}

// posix is how sh and its kin do it.
func posix() dialect {
	return dialect{`export %s="%s"`, "unset %s", "#", "eval $(%s)", strings.NewReplacer(`\`, `\\`, `"`, `\"`, `$`, `\$`, "`", "\\`")}
}

// dialects are the shells that differ from sh.
func dialects() map[string]dialect {
	return map[string]dialect{
		"fish": {`set -gx %s "%s";`, "set -e %s;", "#", "eval (%s)", strings.NewReplacer(`\`, `\\`, `"`, `\"`, `$`, `\$`)},
		// PowerShell takes typographic quotes for quotes.
		"powershell": {
			`$Env:%s = "%s"`, `Remove-Item Env:\\%s`, "#", "& %s | Invoke-Expression",
			strings.NewReplacer("`", "``", `"`, "`\"", `$`, "`$", "“", "`“", "”", "`”", "„", "`„"),
		},
		// What FOR puts in place of its variable is not parsed again.
		"cmd": {"SET %s=%s", "SET %s=", "REM", "\t@FOR /f \"tokens=*\" %%i IN ('%s') DO @%%i", strings.NewReplacer()},
		// In double quotes csh escapes nothing but the exclamation mark: other quotes are needed for the rest.
		"tcsh": {`setenv %s "%s";`, "unsetenv %s;", ":", "eval `%s`", strings.NewReplacer(`"`, `"'"'"`, `$`, `"'$'"`, "`", "\"'`'\"", `!`, `\!`)},
		"emacs": {
			`(setenv "%s" "%s")`, `(setenv "%s" nil)`, ";;", `(with-temp-buffer (shell-command "%s" (current-buffer)) (eval-buffer))`,
			strings.NewReplacer(`\`, `\\`, `"`, `\"`),
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
			fmt.Fprintf(&text, d.set+"\n", v.name, d.quote.Replace(v.value))
		}
	}
	fmt.Fprintf(&text, "%s Run this command to configure your shell: \n", d.comment)
	fmt.Fprintf(&text, "%s %s\n", d.comment, fmt.Sprintf(d.eval, commandLine(args)))
	_, err := io.WriteString(out, text.String())
	return err
}

// commandLine is how we were called.
func commandLine(args []string) string {
	if len(args) == 0 {
		return ""
	}
	program := args[0]
	if strings.ContainsAny(program, ` \`) {
		program = `"` + program + `"`
	}
	return strings.NewReplacer("\n", " ", "\r", " ").Replace(strings.Join(append([]string{program}, args[1:]...), " "))
}

// shellName picks the shell that will read the lines: the flag's, else that of SHELL.
func shellName(flag, variable string) string {
	if flag != "" {
		return flag
	}
	if variable == "" {
		return ""
	}
	return filepath.Base(variable)
}
