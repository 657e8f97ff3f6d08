// Package manual is `mctl manual`: manual pages and a reference, made from the commands themselves.
package manual

import (
	"errors"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"mctl/internal/fault"
	"mctl/internal/mctl/argv"
	"mctl/internal/mctl/cli"
)

// Commands returns the command that writes the manual.
func Commands(env *cli.Env) []*cobra.Command {
	format := "man"
	command := &cobra.Command{
		Use: "manual DIR", Short: "Write the manual, a page for each command, into a directory",
		Example: "mctl manual ~/.local/share/man/man1\nmctl manual --format markdown docs/commands",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 || args[0] == "" {
				return cli.Usagef("Error: Expected the name of a directory as an argument").WithHint("such as ~/.local/share/man/man1")
			}
			return nil
		},
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return nil, cobra.ShellCompDirectiveFilterDirs
		},
		RunE: func(command *cobra.Command, args []string) error { return write(env, command.Root(), args[0], format) },
	}
	command.Flags().StringVar(&format, "format", format, "man for man(1), or markdown")
	return []*cobra.Command{command}
}

func write(env *cli.Env, root *cobra.Command, dir, format string) error {
	var files map[string]string
	switch format {
	case "man":
		files = Man(env.App(), root)
	case "markdown":
		files = Markdown(env.App(), root)
	default:
		return cli.Usagef("--format is man or markdown, not %q", format).WithHint("see `mctl manual --help`")
	}
	err := os.MkdirAll(dir, 0o755) //nolint:gosec // a manual is for everybody
	for name, text := range files {
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644) //nolint:gosec // a manual is for everybody
		}
	}
	if err != nil {
		path, cause := dir, err
		var pathErr *os.PathError
		if errors.As(err, &pathErr) {
			path, cause = pathErr.Path, pathErr.Err
		}
		return fault.New("manual.write", fault.Precondition, dir, "can't write the manual: "+path+": "+cause.Error()).
			WithHint("name a directory that you may write to")
	}
	env.Infof("%d pages were written to %s", len(files), dir)
	return env.Result(map[string]any{"directory": dir, "pages": len(files)})
}

// page is what the manual says of one command.
type page struct {
	path                  string // as it is typed, such as "mctl context ls"
	short, long, synopsis string
	flags                 []option
	examples              []string
	commands              []*page
}

// option is a flag.
type option struct {
	name, short    string // without dashes
	value          string // what kind of value it takes; nothing for a switch
	fallback       string // what is taken where it is not given
	variable, text string
	repeated       bool
}

// read reads a command and those below it.
func read(app string, command *cobra.Command) *page {
	own := command.NonInheritedFlags()
	p := &page{
		path:  app + strings.TrimPrefix(command.CommandPath(), command.Root().Name()),
		short: command.Short, long: command.Long, synopsis: argv.Synopsis(app, command, own), flags: options(own),
	}
	if !command.HasParent() {
		p.synopsis = app + " [OPTIONS] COMMAND [arg...]"
	}
	if command.Example != "" {
		p.examples = strings.Split(strings.ReplaceAll(command.Example, "mctl ", app+" "), "\n")
	}
	for _, sub := range command.Commands() {
		if sub.IsAvailableCommand() {
			p.commands = append(p.commands, read(app, sub))
		}
	}
	return p
}

func options(flags *pflag.FlagSet) (all []option) {
	flags.VisitAll(func(f *pflag.Flag) {
		if !argv.Shown(f) {
			return
		}
		o := option{name: f.Name, short: f.Shorthand, text: f.Usage, variable: argv.Variable(f), fallback: f.DefValue}
		switch kind := f.Value.Type(); {
		case f.NoOptDefVal != "":
			o.fallback = ""
		case kind == "stringArray":
			o.value, o.repeated, o.fallback = "string", true, strings.Trim(f.DefValue, "[]")
		default:
			o.value = kind
		}
		all = append(all, o)
	})
	return all
}

// hyphenated is the command as one word, as manual pages and files are called.
func (p *page) hyphenated() string { return strings.ReplaceAll(p.path, " ", "-") }
