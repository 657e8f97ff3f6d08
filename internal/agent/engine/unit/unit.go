// Package unit reads and writes systemd's unit files, with its rules of quoting.
package unit

import (
	"fmt"
	"strings"
	"unicode"
)

// quote writes a word for a unit file. systemd expands % in every setting, and $ in command lines alone.
func quote(word string, command bool) string {
	replace := []string{`\`, `\\`, `"`, `\"`, `%`, `%%`}
	if command {
		replace = append(replace, `$`, `$$`)
	}
	return `"` + strings.NewReplacer(replace...).Replace(word) + `"`
}

// DropIn writes the drop-in of docker.service; nil when there is nothing to say. command is the unit's own command line
// as its file has it, which goes on being read by systemd as it was; flags have no dashes in front.
func DropIn(command string, flags, env []string) []byte {
	if len(flags) == 0 && len(env) == 0 {
		return nil
	}
	var out strings.Builder
	out.WriteString("# Written by mctl; the agent writes it anew.\n[Service]\n")
	for _, variable := range env {
		fmt.Fprintf(&out, "Environment=%s\n", quote(variable, false))
	}
	if len(flags) > 0 {
		fmt.Fprintf(&out, "ExecStart=\nExecStart=%s", command)
		for _, flag := range flags {
			out.WriteString(" " + quote("--"+flag, true))
		}
		out.WriteByte('\n')
	}
	return []byte(out.String())
}

// Unit is what the files of docker.service say, without our own drop-in.
type Unit struct {
	Command          string   // the last ExecStart, as written
	Environment      []string // NAME=value
	EnvironmentFiles []string // paths; a dash in front means that it may be missing
}

// Read adds a unit file or drop-in, in the order that systemd has them.
func (u *Unit) Read(content string) {
	section := ""
	for line := range strings.Lines(strings.ReplaceAll(content, "\\\n", " ")) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "[") {
			section = line
		}
		name, value, found := strings.Cut(line, "=")
		if section != "[Service]" || !found || strings.HasPrefix(line, "#") || strings.HasPrefix(line, ";") {
			continue
		}
		switch name, value = strings.TrimSpace(name), strings.TrimSpace(value); {
		case name == "ExecStart":
			u.Command = value
		case name == "Environment" && value == "":
			u.Environment = nil
		case name == "Environment":
			u.Environment = append(u.Environment, Split(value)...)
		case name == "EnvironmentFile" && value == "":
			u.EnvironmentFiles = nil
		case name == "EnvironmentFile":
			u.EnvironmentFiles = append(u.EnvironmentFiles, value)
		}
	}
}

// Arguments expands the command line. A $NAME that is a word of its own is split at blanks, as systemd does.
func (u Unit) Arguments(variables map[string]string) []string {
	var arguments []string
	for _, word := range Split(strings.TrimLeft(u.Command, "-@:+!|")) {
		if name, found := strings.CutPrefix(word, "$"); found && !strings.HasPrefix(name, "{") && !strings.HasPrefix(name, "$") {
			arguments = append(arguments, Split(variables[name])...)
			continue
		}
		for name, value := range variables {
			word = strings.ReplaceAll(word, "${"+name+"}", value)
		}
		arguments = append(arguments, strings.NewReplacer("$$", "$", "%%", "%").Replace(word))
	}
	return arguments
}

// Split cuts a line into words as systemd does: blanks separate, quotes join, a backslash takes the next literally.
func Split(line string) []string {
	var words []string
	var word strings.Builder
	var quoted rune
	open, escaped := false, false
	for _, c := range line {
		switch {
		case escaped:
			word.WriteRune(c)
			escaped = false
		case c == '\\':
			open, escaped = true, true
		case quoted != 0 && c == quoted:
			quoted = 0
		case quoted != 0:
			word.WriteRune(c)
		case c == '"' || c == '\'':
			open, quoted = true, c
		case unicode.IsSpace(c):
			if open {
				words = append(words, word.String())
				word.Reset()
				open = false
			}
		default:
			open = true
			word.WriteRune(c)
		}
	}
	if open {
		words = append(words, word.String())
	}
	return words
}
