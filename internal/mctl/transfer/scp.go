// Package transfer copies files between this computer and machines' hosts, and mounts hosts' directories here.
package transfer

import (
	"context"
	"errors"
	"strings"

	"github.com/spf13/cobra"

	"mctl/internal/mctl/cli"
	"mctl/internal/mctl/shell"
	"mctl/internal/mctl/tunnel"
)

type options struct {
	recursive, delta, quiet bool
	via                     tunnel.Via
}

// Commands returns the commands about hosts' files.
func Commands(env *cli.Env) []*cobra.Command { return []*cobra.Command{newSCP(env), newMount(env)} }

func newSCP(env *cli.Env) *cobra.Command {
	var opts options
	command := &cobra.Command{
		Use: "scp [arg...]", Short: "Copy files between machines",
		Long:    "Arguments are [[user@]machine:][path] [[user@]machine:][path].",
		Example: "mctl scp site.conf web:/tmp/\nmctl scp -r web:/var/log/app root@db:/backup",
		RunE: func(command *cobra.Command, args []string) error {
			if len(args) != 2 {
				return improper(env, command, "name a source and a target")
			}
			return scp(command.Context(), env, args[0], args[1], opts)
		},
	}
	flags := command.Flags()
	flags.BoolVarP(&opts.recursive, "recursive", "r", false, "Copy files recursively (required to copy directories)")
	flags.BoolVarP(&opts.delta, "delta", "d", false, "Reduce amount of data sent over network by sending only the differences (uses rsync)")
	tunnel.AddVia(flags, &opts.via, tunnel.Auto)
	flags.BoolVarP(&opts.quiet, "quiet", "q", false, "Disables the progress meter as well as warning and diagnostic messages from ssh")
	return command
}

// improper is docker-machine's sentence for too few or too many arguments, after the help.
func improper(env *cli.Env, command *cobra.Command, hint string) error {
	env.Remind(env.Help(command, command.LocalFlags()))
	return cli.Failf("Improper number of arguments").WithHint(hint)
}

// Names of the two places in ssh's configuration, which are no machine's.
const fromAlias, toAlias = "mctl-from", "mctl-to"

// scp copies from one place to another, of which each may be on a host. What ssh must know of a host stands in a
// configuration file, so that two hosts with different ports and keys do.
func scp(ctx context.Context, env *cli.Env, from, to string, opts options) error {
	if through, err := throughAgent(ctx, env, from, to, opts); through || err != nil {
		return err
	}
	what, name := "scp feature", "scp"
	if opts.delta {
		what, name = "--delta option", "rsync"
	}
	program, err := find(what, name)
	if err != nil {
		return err
	}
	var hosts strings.Builder
	source, err := place(ctx, env, from, fromAlias, &hosts)
	if err != nil {
		return err
	}
	target, err := place(ctx, env, to, toAlias, &hosts)
	if err != nil {
		return err
	}
	if opts.delta && strings.HasPrefix(source, fromAlias+":") && strings.HasPrefix(target, toAlias+":") {
		return cli.Usagef("--delta can't copy from machine to machine").WithHint("leave --delta out, or copy by way of a directory here")
	}
	config, done, err := writeConfig(hosts.String())
	if err != nil {
		return err
	}
	defer done()
	err = run(ctx, env, shell.Program{
		Path: program, Args: arguments(config, source, target, opts),
		Variables: []string{"RSYNC_PROTECT_ARGS=1"}, // or the host's shell would read the path
	}, map[string]string{"from": from, "to": to})
	var exit cli.Exit
	if opts.delta && errors.As(err, &exit) && exit.Code == notFound {
		exit.Sentence, exit.Hint = "rsync was not found on the host", "install it there, or leave --delta out"
		return exit
	}
	return err
}

// notFound is the exit code of rsync, as of shells, where the other side has no such program.
const notFound = 127

// place turns a location into what ssh understands, and describes its host under alias. A path without a machine, or with
// the machine localhost, stays here.
func place(ctx context.Context, env *cli.Env, text, alias string, hosts *strings.Builder) (string, error) {
	l := parse(text)
	switch {
	case l.machine == "" && l.path == text:
		return text, nil
	case l.machine == "localhost":
		if strings.Contains(l.path, ":") && !strings.HasPrefix(l.path, "/") {
			return "./" + l.path, nil // or scp would take it for a host's
		}
		return l.path, nil
	}
	host, err := l.host(ctx, env)
	if err != nil {
		return "", err
	}
	hosts.WriteString(host.Config(alias))
	if strings.HasPrefix(l.path, ":") {
		l.path = "./" + l.path // or rsync would ask for a daemon there
	}
	return alias + ":" + l.path, nil
}

func arguments(config, source, target string, opts options) []string {
	var args []string
	if opts.delta {
		if !opts.quiet {
			args = append(args, "--progress")
		}
		args = append(args, "-e", "ssh -F '"+strings.ReplaceAll(config, "'", "''")+"'")
	} else {
		// -3 has copies between two hosts go through here: they need not reach each other.
		args = append(args, "-F", config, "-3")
		if opts.quiet {
			args = append(args, "-q")
		}
	}
	if opts.recursive {
		args = append(args, "-r")
	}
	return append(args, "--", source, target)
}
