package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Help writes a command's help in docker-machine's form. flags are its own.
func (e *Env) Help(out io.Writer, command *cobra.Command, flags *pflag.FlagSet) {
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
	_, _ = io.WriteString(out, text.String())
}

// AppHelp writes the help of the whole program.
func (e *Env) AppHelp(out io.Writer, root *cobra.Command, version string) {
	var text strings.Builder
	fmt.Fprintf(&text, "Usage: %s [OPTIONS] COMMAND [arg...]\n\n%s\n\nVersion: %s\n\nOptions:\n", e.App(), root.Short, version)
	writeFlags(&text, root.PersistentFlags())
	fmt.Fprintf(&text, "\nCommands:\n")
	writeCommands(&text, root)
	fmt.Fprintf(&text, "\nRun '%s COMMAND --help' for more information on a command.\n", e.App())
	_, _ = io.WriteString(out, text.String())
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
		if f.NoOptDefVal == "" {
			value := f.DefValue
			if value == "[]" {
				value = ""
			}
			name += fmt.Sprintf(" %q", value)
		}
		usage := f.Usage
		if env := f.Annotations[envKey]; len(env) > 0 {
			usage += " [$" + env[0] + "]"
		}
		names, usages, width = append(names, name), append(usages, usage), max(width, len(name))
	})
	for i, name := range names {
		fmt.Fprintf(out, "   %-*s  %s\n", width, name, usages[i])
	}
}

func indent(text string) string { return "   " + strings.ReplaceAll(text, "\n", "\n   ") }
