// Package transfer copies files between this computer and machines' hosts.
package transfer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"mctl/internal/fault"
	"mctl/internal/mctl/cli"
	"mctl/internal/mctl/shell"
)

type options struct{ recursive, delta, quiet bool }

// Commands returns the commands that copy.
func Commands(env *cli.Env) []*cobra.Command {
	var opts options
	command := &cobra.Command{
		Use: "scp [arg...]", Short: "Copy files between machines",
		Long:    "Arguments are [[user@]machine:][path] [[user@]machine:][path].",
		Example: "mctl scp site.conf web:/tmp/\nmctl scp -r web:/var/log/app root@db:/backup",
		RunE: func(command *cobra.Command, args []string) error {
			if len(args) != 2 {
				env.Remind(env.Help(command, command.LocalFlags()))
				return cli.Failf("Improper number of arguments").WithHint("name a source and a target")
			}
			return scp(command.Context(), env, args[0], args[1], opts)
		},
	}
	flags := command.Flags()
	flags.BoolVarP(&opts.recursive, "recursive", "r", false, "Copy files recursively (required to copy directories)")
	flags.BoolVarP(&opts.delta, "delta", "d", false, "Reduce amount of data sent over network by sending only the differences (uses rsync)")
	flags.BoolVarP(&opts.quiet, "quiet", "q", false, "Disables the progress meter as well as warning and diagnostic messages from ssh")
	return []*cobra.Command{command}
}

// scp copies from one place to another, of which each may be on a host. What ssh must know of a host stands in a
// configuration file, so that two hosts with different ports and keys do.
func scp(ctx context.Context, env *cli.Env, from, to string, opts options) error {
	program, err := find(opts.delta)
	if err != nil {
		return err
	}
	var config strings.Builder
	fmt.Fprint(&config, "Host *\n  StrictHostKeyChecking yes\n  GlobalKnownHostsFile /dev/null\n  PasswordAuthentication no\n  LogLevel ERROR\n  ConnectTimeout 10\n  ControlMaster no\n  ControlPath none\n")
	source, err := place(ctx, env, from, "mctl-from", &config)
	if err != nil {
		return err
	}
	target, err := place(ctx, env, to, "mctl-to", &config)
	if err != nil {
		return err
	}
	path, err := writeConfig(config.String())
	if err != nil {
		return err
	}
	defer os.Remove(path)
	env.Close()
	out := env.Out
	if env.JSON() {
		out = env.Err
	}
	err = shell.Run(ctx, env, out, program, arguments(path, source, target, opts)...)
	var exit cli.Exit
	if env.JSON() && errors.As(err, &exit) {
		exit.Sentence, exit.Hint = fmt.Sprintf("%s ended with code %d", filepath.Base(program), exit.Code), "standard error has what it said"
		return exit
	}
	return errors.Join(err, env.Result(map[string]string{"from": from, "to": to}))
}

func find(delta bool) (string, error) {
	name, sentence := "scp", "You must have a copy of the scp binary locally to use the scp feature"
	if delta {
		name, sentence = "rsync", "You must have a copy of the rsync binary locally to use the --delta option"
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return "", fault.New("transfer.find", fault.Precondition, name, sentence).WithHint("install it, or put it into PATH")
	}
	return path, nil
}

// place turns machine:path into what ssh understands, and describes the host under alias. A path without a machine, or with
// the machine localhost, stays here.
func place(ctx context.Context, env *cli.Env, text, alias string, config *strings.Builder) (string, error) {
	name, path, remote := strings.Cut(text, ":")
	if !remote || strings.Contains(name, "/") {
		return text, nil
	}
	user, machine, hasUser := strings.Cut(name, "@")
	if !hasUser {
		user, machine = "", name
	}
	if machine == "localhost" {
		if strings.Contains(path, ":") && !strings.HasPrefix(path, "/") {
			path = "./" + path // or scp would take it for a host's
		}
		return path, nil
	}
	m, err := env.Get(ctx, machine)
	if err != nil {
		return "", cli.Wrap(err, "Error loading host: Error loading host: %w")
	}
	host, err := shell.HostOf(env, m)
	if err != nil {
		return "", err
	}
	if hasUser {
		if host, err = host.As(user); err != nil {
			return "", err
		}
	}
	config.WriteString(host.Config(alias))
	return alias + ":" + path, nil
}

func writeConfig(text string) (string, error) {
	file, err := os.CreateTemp("", "mctl-ssh-*")
	if err != nil {
		return "", fault.E("transfer.writeConfig", fault.Precondition, "", err)
	}
	defer file.Close()
	if _, err := file.WriteString(text); err != nil {
		_ = os.Remove(file.Name())
		return "", fault.E("transfer.writeConfig", fault.Precondition, file.Name(), err)
	}
	return file.Name(), nil
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
