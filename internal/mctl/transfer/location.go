package transfer

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"

	"mctl/internal/fault"
	"mctl/internal/mctl/cli"
	"mctl/internal/mctl/shell"
)

// location is [[user@]machine:]path.
type location struct {
	user    string
	hasUser bool
	machine string // empty where the text names none
	path    string
}

// parse reads a location. A path may have a colon, if a slash comes before it.
func parse(text string) location {
	name, path, found := strings.Cut(text, ":")
	if !found || strings.Contains(name, "/") {
		return location{path: text}
	}
	user, machine, hasUser := strings.Cut(name, "@")
	if !hasUser {
		user, machine = "", name
	}
	return location{user, hasUser, machine, path}
}

// host tells how to log in where the location is.
func (l location) host(ctx context.Context, env *cli.Env) (shell.Host, error) {
	m, err := env.Get(ctx, l.machine)
	if err != nil {
		return shell.Host{}, cli.Wrap(err, "Error loading host: Error loading host: %w")
	}
	host, err := shell.HostOf(env, m)
	if err != nil || !l.hasUser {
		return host, err
	}
	return host.As(l.user)
}

// find looks for a program under any of its names; what is docker-machine's word for what it is needed for.
func find(what string, names ...string) (string, error) {
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", fault.New("transfer.find", fault.Precondition, names[0], "You must have a copy of the "+names[0]+" binary locally to use the "+what).
		WithHint("install it, or put it into PATH")
}

// run runs a program that is fed from a command line of ours and answers with a document where one is wanted. In a pipe or
// on a terminal what the program says is all that is said.
func run(ctx context.Context, env *cli.Env, program shell.Program, document any) error {
	env.Close() // nothing more is asked of the controller
	program.Out = env.Out
	if env.JSON() {
		program.Out = env.Err
	}
	err := program.Run(ctx, env)
	var exit cli.Exit
	if env.JSON() && errors.As(err, &exit) && exit.Code != cli.ExitInterrupted {
		exit.Sentence, exit.Hint = fmt.Sprintf("%s ended with code %d", filepath.Base(program.Path), exit.Code), "standard error has what it said"
		return exit
	}
	return errors.Join(err, env.Result(document))
}
