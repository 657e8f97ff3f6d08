package engine

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"mctl/internal/fault"
	"mctl/internal/mctl/cli"
	"mctl/internal/mctl/tunnel"
)

func newConfig(env *cli.Env) *cobra.Command {
	var swarm bool
	var via tunnel.Via
	command := &cobra.Command{
		Use: "config [arg...]", Short: "Print the connection config for machine",
		Example: "docker $(mctl config web) ps",
		Args:    cobra.ArbitraryArgs, ValidArgsFunction: cli.CompleteMachine(env),
		RunE: func(command *cobra.Command, args []string) error {
			return config(command.Context(), env, args, swarm, via)
		},
	}
	command.Flags().BoolVar(&swarm, "swarm", false, "Display the Swarm config instead of the Docker daemon")
	tunnel.AddVia(command.Flags(), &via, tunnel.Direct)
	return command
}

// config prints the docker CLI's flags for a machine, after it has tried them: scripts take its success for "it is up".
func config(ctx context.Context, env *cli.Env, args []string, swarm bool, via tunnel.Via) error {
	m, err := env.Machine(ctx, args)
	if err != nil {
		return err
	}
	url, socket, err := Endpoint(ctx, env, m, via)
	if err != nil {
		return cli.Wrap(err, "Error running connection boilerplate: %w")
	}
	if swarm {
		if url, socket, err = swarmEndpoint(m, url, socket); err != nil {
			return err
		}
	}
	if socket {
		return socketConfig(ctx, env, m.GetName(), url)
	}
	folder, unreached, err := Reach(ctx, env, m)
	if err != nil {
		return err
	}
	if unreached != nil {
		return fault.E("engine.config", fault.Unavailable, m.GetName(), fmt.Errorf(
			"Error running connection boilerplate: Error checking and/or regenerating the certs: There was an error validating certificates for host %q: %w\n"+ //nolint:staticcheck // docker-machine's words
				"You can attempt to regenerate them using '%s regenerate-certs [name]'.",
			strings.TrimPrefix(url, "tcp://"), unreached, env.App())).WithHint("`mctl status --output json " + m.GetName() + "` shows how the host is")
	}
	if swarm && Check(ctx, folder, url) != nil {
		return fault.New("engine.config", fault.Unavailable, m.GetName(), "Connection to Swarm cannot be checked but the certs are valid. Maybe swarm is not started").
			WithHint("`mctl provision " + m.GetName() + "` has the host look at that")
	}
	if env.JSON() {
		return env.Result(map[string]string{
			"tlscacert": folder.File("ca.pem"), "tlscert": folder.File("cert.pem"), "tlskey": folder.File("key.pem"), "host": url,
		})
	}
	env.Printf("--tlsverify\n--tlscacert=%q\n--tlscert=%q\n--tlskey=%q\n-H=%s\n",
		folder.File("ca.pem"), folder.File("cert.pem"), folder.File("key.pem"), url)
	return nil
}
