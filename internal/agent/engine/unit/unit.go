// Package unit reads and writes systemd's unit files, with its rules of quoting.
package unit

import (
	"fmt"
	"slices"
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
// as its file has it, which goes on being read by systemd as it was, or one that was changed; flags have no dashes in front.
func DropIn(command string, changed bool, flags, env []string) []byte {
	if !changed && len(flags) == 0 && len(env) == 0 {
		return nil
	}
	var out strings.Builder
	out.WriteString("# Written by mctl; the agent writes it anew.\n[Service]\n")
	for _, variable := range env {
		fmt.Fprintf(&out, "Environment=%s\n", quote(variable, false))
	}
	if changed || len(flags) > 0 {
		fmt.Fprintf(&out, "ExecStart=\nExecStart=%s", command)
		for _, flag := range flags {
			out.WriteString(" " + quote("--"+flag, true))
		}
		out.WriteByte('\n')
	}
	return []byte(out.String())
}

// MachineDropIn writes docker-machine's drop-in as docker-machine does: a blank stands after the command line, and the environment,
// of which none takes away what the unit has, in one line.
func MachineDropIn(command, env []string) []byte {
	var out strings.Builder
	out.WriteString("[Service]\nExecStart=\nExecStart=")
	for _, word := range command {
		out.WriteString(plain(word, true) + " ")
	}
	out.WriteString("\nEnvironment=")
	for i, variable := range env {
		if i > 0 {
			out.WriteByte(' ')
		}
		out.WriteString(quote(variable, false))
	}
	out.WriteByte('\n')
	return []byte(out.String())
}

// plain is a word without quotes where it needs none.
func plain(word string, command bool) string {
	special := func(c rune) bool { return unicode.IsSpace(c) || strings.ContainsRune(`\"'%$;`, c) }
	if word == "" || strings.ContainsFunc(word, special) {
		return quote(word, command)
	}
	return word
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
	for _, word := range Split(strings.TrimLeft(u.Command, prefixes)) {
		arguments = append(arguments, expand(word, variables)...)
	}
	return arguments
}

// prefixes before a program tell systemd how to run it.
const prefixes = "-@:+!|"

// expand is what the program gets of a word.
func expand(word string, variables map[string]string) []string {
	if name, found := strings.CutPrefix(word, "$"); found && !strings.HasPrefix(name, "{") && !strings.HasPrefix(name, "$") {
		return Split(variables[name])
	}
	for name, value := range variables {
		word = strings.ReplaceAll(word, "${"+name+"}", value)
	}
	return []string{strings.NewReplacer("$$", "$", "%%", "%").Replace(word)}
}

// Only writes the command line with those arguments alone that keep says, the program first. A word that stays is written as
// it was; a variable of which a part goes gives way to what is left of it.
func (u Unit) Only(variables map[string]string, keep func(arguments []string) []bool) string {
	all := split(u.Command)
	var arguments []string
	var expanded [][]string
	for _, w := range all {
		values := expand(w.value, variables)
		expanded, arguments = append(expanded, values), append(arguments, values...)
	}
	stays := keep(arguments)
	if !slices.Contains(stays, false) {
		return u.Command
	}
	var left []string
	for i, w := range all {
		values, kept := expanded[i], stays[:len(expanded[i])]
		stays = stays[len(values):]
		if !slices.Contains(kept, false) {
			left = append(left, w.raw)
			continue
		}
		for j, value := range values {
			if kept[j] {
				left = append(left, quote(value, true))
			}
		}
	}
	return strings.Join(left, " ")
}

// Split cuts a line into words as systemd does: blanks separate, quotes join, a backslash takes the next literally.
func Split(line string) []string {
	var words []string
	for _, w := range split(line) {
		words = append(words, w.value)
	}
	return words
}

// word is one as it is written, and what it means.
type word struct{ raw, value string }

func split(line string) []word {
	var words []word
	var value strings.Builder
	var quoted rune
	open, escaped, from := false, false, 0
	for at, c := range line {
		if !open {
			from = at
		}
		switch {
		case escaped:
			value.WriteRune(c)
			escaped = false
		case c == '\\':
			open, escaped = true, true
		case quoted != 0 && c == quoted:
			quoted = 0
		case quoted != 0:
			value.WriteRune(c)
		case c == '"' || c == '\'':
			open, quoted = true, c
		case unicode.IsSpace(c):
			if open {
				words = append(words, word{line[from:at], value.String()})
				value.Reset()
				open = false
			}
		default:
			open = true
			value.WriteRune(c)
		}
	}
	if open {
		words = append(words, word{line[from:], value.String()})
	}
	return words
}
