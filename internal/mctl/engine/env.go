package engine

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"mctl/internal/fault"
	"mctl/internal/mctl/cli"
	"mctl/internal/mctl/tunnel"
	controllerv1 "mctl/proto/mctl/controller/v1"
)

// Commands returns the commands about a machine's engine.
func Commands(env *cli.Env) []*cobra.Command {
	return []*cobra.Command{newEnv(env), newConfig(env)}
}

type envOptions struct {
	swarm, unset, noProxy bool
	shell                 string
	via                   tunnel.Via
}

func newEnv(env *cli.Env) *cobra.Command {
	var opts envOptions
	command := &cobra.Command{
		Use: "env [arg...]", Short: "Display the commands to set up the environment for the Docker client",
		Example: "eval $(mctl env web)\nmctl env --shell fish web\neval $(mctl env -u)",
		Args:    cobra.ArbitraryArgs, ValidArgsFunction: cli.CompleteMachine(env),
		RunE: func(command *cobra.Command, args []string) error {
			if opts.unset {
				return unsetEnv(env, args, opts)
			}
			return setEnv(command.Context(), env, args, opts)
		},
	}
	flags := command.Flags()
	flags.BoolVar(&opts.swarm, "swarm", false, "Display the Swarm config instead of the Docker daemon")
	flags.StringVar(&opts.shell, "shell", "", "Force environment to be configured for a specified shell: [fish, cmd, powershell, tcsh, emacs], default is auto-detect")
	flags.BoolVarP(&opts.unset, "unset", "u", false, "Unset variables instead of setting them")
	tunnel.AddVia(flags, &opts.via, tunnel.Direct)
	flags.BoolVar(&opts.noProxy, "no-proxy", false, "Add machine IP to NO_PROXY environment variable")
	return command
}

func setEnv(ctx context.Context, env *cli.Env, args []string, opts envOptions) error {
	if len(args) > 1 {
		return cli.ErrOneMachine()
	}
	shell, err := shellOf(env, opts.shell)
	if err != nil {
		return err
	}
	m, err := env.Machine(ctx, args)
	if err != nil {
		return err
	}
	url, socket, err := Endpoint(ctx, env, m, opts.via)
	if err != nil {
		return cli.Wrap(err, "Error checking TLS connection: %w")
	}
	if opts.swarm {
		if url, socket, err = swarmEndpoint(m, url, socket); err != nil {
			return err
		}
	}
	folder, err := env.WriteFiles(ctx, m, false)
	if err != nil {
		return err
	}
	variables := []variable{
		{"DOCKER_TLS_VERIFY", "1"}, {"DOCKER_HOST", url}, {"DOCKER_CERT_PATH", folder.Path}, {"DOCKER_MACHINE_NAME", m.GetName()},
	}
	if socket {
		variables = socketVariables(env, url, m.GetName())
	} else if opts.noProxy {
		name, value := proxyVariable(env)
		if address := m.GetStatus().GetAddress(); !strings.Contains(value, address) {
			value = strings.TrimPrefix(value+","+address, ",")
		}
		variables = append(variables, variable{name, value})
	}
	if env.JSON() {
		all := map[string]any{}
		for _, v := range variables {
			if all[v.name] = v.value; v.value == "" {
				all[v.name] = nil
			}
		}
		return env.Result(all)
	}
	return writeShell(env.Out, shell, variables, false, env.Args)
}

func unsetEnv(env *cli.Env, args []string, opts envOptions) error {
	if len(args) > 0 {
		return cli.Failf("Error: Expected no machine name when the -u flag is present").WithHint("leave out " + strings.Join(args, " "))
	}
	shell, err := shellOf(env, opts.shell)
	if err != nil {
		return err
	}
	variables := []variable{{name: "DOCKER_TLS_VERIFY"}, {name: "DOCKER_HOST"}, {name: "DOCKER_CERT_PATH"}, {name: "DOCKER_MACHINE_NAME"}}
	if opts.noProxy {
		name, _ := proxyVariable(env)
		variables = append(variables, variable{name: name})
	}
	if env.JSON() {
		all := map[string]any{}
		for _, v := range variables {
			all[v.name] = nil
		}
		return env.Result(all)
	}
	return writeShell(env.Out, shell, variables, true, env.Args)
}

// shellOf picks the shell that will read the lines: the flag's, else that of SHELL. A document is for none.
func shellOf(env *cli.Env, flag string) (string, error) {
	shell := shellName(flag, env.Getenv)
	if shell == "" && !env.JSON() {
		env.Printf("The default lines below are for a sh/bash shell, you can specify the shell you're using, with the --shell flag.\n\n")
		return "", cli.Failf("Error: Unknown shell").WithHint("name it with --shell")
	}
	return shell, nil
}

// proxyVariable is the caller's list of hosts that no proxy is asked for, whichever spelling is in use.
func proxyVariable(env *cli.Env) (name, value string) {
	if value := env.Getenv("no_proxy"); value != "" {
		return "no_proxy", value
	}
	return "NO_PROXY", env.Getenv("NO_PROXY")
}

// swarmEndpoint is where the docker CLI finds a manager's engine for its swarm. Through the agent there is one way for both.
// Others than managers are refused in docker-machine's words.
func swarmEndpoint(m *controllerv1.Machine, url string, socket bool) (string, bool, error) {
	swarm := m.GetStatus().GetSwarm().GetUrl()
	switch {
	case swarm == "" && m.GetSpec().GetSwarm().GetMaster():
		return "", false, fault.New("engine.swarm", fault.Precondition, m.GetName(), "the swarm of \""+m.GetName()+"\" is not made yet").
			WithHint("`mctl wait " + m.GetName() + "` waits until it is")
	case swarm == "":
		return "", false, cli.Failf("%q is not a swarm master. The --swarm flag is intended for use with swarm masters", m.GetName()).
			WithHint("leave --swarm out; `mctl ls` shows the masters in the column SWARM")
	case socket:
		return url, true, nil
	}
	return swarm, false, nil
}

// PrintEnv prints what a shell evaluates to use the machine that the arguments name, or, with unset, none.
func PrintEnv(ctx context.Context, env *cli.Env, args []string, shell string, unset, noProxy bool) error {
	opts := envOptions{shell: shell, unset: unset, noProxy: noProxy, via: tunnel.Direct}
	if unset {
		return unsetEnv(env, args, opts)
	}
	return setEnv(ctx, env, args, opts)
}
