package engine

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"
)

// dialect is how one shell sets and unsets variables, and how it takes over what a command prints.
type dialect struct {
	set, unset string // formats: name and value, name
	comment    string
	eval       string // format: the command
}

// dialects are the shells that differ from sh.
func dialects() map[string]dialect {
	return map[string]dialect{
		"fish":       {`set -gx %s "%s";`, "set -e %s;", "#", "eval (%s)"},
		"powershell": {`$Env:%s = "%s"`, `Remove-Item Env:\\%s`, "#", "& %s | Invoke-Expression"},
		"cmd":        {"SET %s=%s", "SET %s=", "REM", "\t@FOR /f \"tokens=*\" %%i IN ('%s') DO @%%i"},
		"tcsh":       {`setenv %s "%s";`, "unsetenv %s;", ":", "eval `%s`"},
		"emacs":      {`(setenv "%s" "%s")`, `(setenv "%s" nil)`, ";;", `(with-temp-buffer (shell-command "%s" (current-buffer)) (eval-buffer))`},
	}
}

// variable is one to set, or, with unset, to take away.
type variable struct{ name, value string }

// writeShell prints the lines that a shell evaluates, and how to have it do so.
func writeShell(out io.Writer, shell string, variables []variable, unset bool, args []string) {
	d, known := dialects()[shell]
	if !known {
		d = dialect{`export %s="%s"`, "unset %s", "#", "eval $(%s)"}
	}
	for _, v := range variables {
		if unset {
			fmt.Fprintf(out, d.unset+"\n", v.name)
		} else {
			fmt.Fprintf(out, d.set+"\n", v.name, v.value)
		}
	}
	fmt.Fprintf(out, "%s Run this command to configure your shell: \n", d.comment)
	fmt.Fprintf(out, "%s %s\n", d.comment, fmt.Sprintf(d.eval, commandLine(args)))
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
	return strings.Join(append([]string{program}, args[1:]...), " ")
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
