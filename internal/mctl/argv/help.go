package argv

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// AppHelp is the help of the whole program, which was called as app.
func AppHelp(app string, root *cobra.Command, version string) string {
	var text strings.Builder
	fmt.Fprintf(&text, "Usage: %s [OPTIONS] COMMAND [arg...]\n\n%s\n\nVersion: %s\n\nOptions:\n", app, root.Short, version)
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	flags.AddFlagSet(root.PersistentFlags())
	flags.AddFlagSet(root.Flags())
	writeFlags(&text, flags)
	fmt.Fprintf(&text, "\nCommands:\n")
	writeCommands(&text, root)
	writeExample(&text, app, root)
	fmt.Fprintf(&text, "\nRun '%s COMMAND --help' for more information on a command.\n", app)
	return text.String()
}

// Help is the help of one command of a program that was called as app. flags are its own.
func Help(app string, command *cobra.Command, flags *pflag.FlagSet) string {
	var text strings.Builder
	fmt.Fprintf(&text, "Usage: %s\n\n%s\n", Synopsis(app, command, flags), command.Short)
	if command.Long != "" {
		fmt.Fprintf(&text, "\nDescription:\n%s\n", indent(command.Long))
	}
	if command.HasAvailableSubCommands() {
		fmt.Fprintf(&text, "\nCommands:\n")
		writeCommands(&text, command)
	}
	if anyShown(flags) {
		fmt.Fprintf(&text, "\nOptions:\n\n")
		writeFlags(&text, flags)
	}
	writeExample(&text, app, command)
	return text.String()
}

// Synopsis is how a command of a program that was called as app is typed, on one line.
func Synopsis(app string, command *cobra.Command, flags *pflag.FlagSet) string {
	path := app + strings.TrimPrefix(command.CommandPath(), command.Root().Name())
	_, arguments, _ := strings.Cut(command.Use, " ")
	options := ""
	if anyShown(flags) {
		options = " [OPTIONS]"
	}
	if command.HasAvailableSubCommands() {
		arguments = "COMMAND [arg...]"
	}
	return strings.TrimRight(path+options+" "+arguments, " ")
}

func writeExample(out io.Writer, app string, command *cobra.Command) {
	if command.Example == "" {
		return
	}
	heading := "Example:"
	if strings.Contains(command.Example, "\n") {
		heading = "Examples:"
	}
	example := strings.ReplaceAll(command.Example, "mctl ", app+" ")
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
		if !Shown(f) {
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
		if variable := Variable(f); variable != "" {
			usage += " [$" + variable + "]"
		}
		names, usages, width = append(names, name), append(usages, usage), max(width, min(len(name), maxColumn))
	})
	for i, name := range names {
		fmt.Fprintf(out, "   %-*s  %s\n", width, name, usages[i])
	}
}

// Shown reports whether help has the flag. That there is help, its reader knows.
func Shown(f *pflag.Flag) bool { return !f.Hidden && f.Name != "help" }

func anyShown(flags *pflag.FlagSet) (found bool) {
	flags.VisitAll(func(f *pflag.Flag) { found = found || Shown(f) })
	return found
}

func indent(text string) string { return "   " + strings.ReplaceAll(text, "\n", "\n   ") }
