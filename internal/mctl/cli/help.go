package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Answer writes a help text that was asked for.
func (e *Env) Answer(text string) {
	if e.JSON() {
		_ = e.Result(map[string]string{"help": text})
		return
	}
	_, _ = io.WriteString(e.Out, text)
}

// Remind writes a help text because a command was called wrongly. Beside a document there is no place for it.
func (e *Env) Remind(text string) {
	if !e.JSON() {
		_, _ = io.WriteString(e.Out, text)
	}
}

// AppHelp is the help of the whole program in docker-machine's form.
func (e *Env) AppHelp(root *cobra.Command, version string) string {
	var text strings.Builder
	fmt.Fprintf(&text, "Usage: %s [OPTIONS] COMMAND [arg...]\n\n%s\n\nVersion: %s\n\nOptions:\n", e.App(), root.Short, version)
	writeFlags(&text, root.PersistentFlags())
	fmt.Fprintf(&text, "\nCommands:\n")
	writeCommands(&text, root)
	e.writeExample(&text, root)
	fmt.Fprintf(&text, "\nRun '%s COMMAND --help' for more information on a command.\n", e.App())
	return text.String()
}

// Help is a command's help. flags are its own.
func (e *Env) Help(command *cobra.Command, flags *pflag.FlagSet) string {
	var text strings.Builder
	path := e.App() + strings.TrimPrefix(command.CommandPath(), command.Root().Name())
	_, arguments, _ := strings.Cut(command.Use, " ")
	options := ""
	if flags.HasAvailableFlags() {
		options = " [OPTIONS]"
	}
	if command.HasAvailableSubCommands() {
		arguments = "COMMAND [arg...]"
	}
	fmt.Fprintf(&text, "Usage: %s\n\n%s\n", strings.TrimRight(path+options+" "+arguments, " "), command.Short)
	if command.Long != "" {
		fmt.Fprintf(&text, "\nDescription:\n%s\n", indent(command.Long))
	}
	if command.HasAvailableSubCommands() {
		fmt.Fprintf(&text, "\nCommands:\n")
		writeCommands(&text, command)
	}
	if flags.HasAvailableFlags() {
		fmt.Fprintf(&text, "\nOptions:\n\n")
		writeFlags(&text, flags)
	}
	e.writeExample(&text, command)
	return text.String()
}

func (e *Env) writeExample(out io.Writer, command *cobra.Command) {
	if command.Example == "" {
		return
	}
	heading := "Example:"
	if strings.Contains(command.Example, "\n") {
		heading = "Examples:"
	}
	example := strings.ReplaceAll(command.Example, "mctl ", e.App()+" ")
	fmt.Fprintf(out, "\n%s\n%s\n", heading, indent(example))
}

func writeCommands(out io.Writer, command *cobra.Command) {
	width := 0
	for _, sub := range command.Commands() {
		width = max(width, len(sub.Name()))
	}
	for _, sub := range command.Commands() {
		if sub.IsAvailableCommand() {
			fmt.Fprintf(out, "  %-*s  %s\n", width, sub.Name(), sub.Short)
		}
	}
}

// maxColumn is where the words about flags begin at the latest, but beside longer ones.
const maxColumn = 36

func writeFlags(out io.Writer, flags *pflag.FlagSet) {
	var names, usages []string
	width := 0
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden {
			return
		}
		name := "--" + f.Name
		if f.Shorthand != "" {
			name += ", -" + f.Shorthand
		}
		switch {
		case f.NoOptDefVal != "":
		case f.Value.Type() == "stringArray":
			name += fmt.Sprintf(" [--%[1]s option --%[1]s option]", f.Name)
		default:
			name += fmt.Sprintf(" %q", f.DefValue)
		}
		usage := f.Usage
		if f.Value.Type() == "stringArray" && f.DefValue != "[]" {
			usage += " (default " + strings.Trim(f.DefValue, "[]") + ")"
		}
		if env := f.Annotations[envKey]; len(env) > 0 {
			usage += " [$" + env[0] + "]"
		}
		names, usages, width = append(names, name), append(usages, usage), max(width, min(len(name), maxColumn))
	})
	for i, name := range names {
		fmt.Fprintf(out, "   %-*s  %s\n", width, name, usages[i])
	}
}

func indent(text string) string { return "   " + strings.ReplaceAll(text, "\n", "\n   ") }
