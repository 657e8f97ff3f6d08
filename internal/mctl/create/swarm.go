package create

import (
	"strings"

	"github.com/spf13/pflag"

	"mctl/internal/mctl/cli"
	controllerv1 "mctl/proto/mctl/controller/v1"
)

// addSwarmFlags adds docker-machine's flags about swarms, which are swarm mode's now.
func addSwarmFlags(flags *pflag.FlagSet) {
	flags.Bool("swarm", false, "Make the machine a member of a swarm")
	flags.Bool("swarm-master", false, "Make it the swarm's master: it makes the swarm, or joins as a manager where a discovery is given")
	flags.String("swarm-discovery", "", "Manager of the swarm to join, as mctl://MACHINE")
	flags.StringArray("swarm-opt", nil, "\"manager\" makes the member a manager; others mean nothing to swarm mode")
	flags.String("swarm-host", "tcp://0.0.0.0:3376", "Where a manager serves the engine for env --swarm")
	flags.String("swarm-addr", "", "IP address that the other members find the machine at, its own by default")
	flags.String("swarm-strategy", "spread", "Swarm mode knows spread alone")
	flags.String("swarm-image", "swarm:latest", "Kept for readers of inspect; swarm mode needs no image")
	flags.StringArray("swarm-join-opt", nil, "Kept for readers of inspect")
	flags.Bool("swarm-experimental", false, "Kept for readers of inspect")
}

// readSwarm makes the wish for a swarm; nil where none is asked for. What the values may be is the controller's to say.
func readSwarm(env *cli.Env, flags *pflag.FlagSet) (*controllerv1.SwarmSpec, error) {
	member, _ := flags.GetBool("swarm")
	master, _ := flags.GetBool("swarm-master")
	discovery := env.Text(flags, "swarm-discovery")
	switch {
	case !member && !master && discovery != "":
		return nil, cli.Usagef("--swarm-discovery needs --swarm").WithHint("give both for a member, or leave both out")
	case !member && !master:
		return nil, nil
	case !master && discovery == "":
		return nil, cli.Usagef("--swarm needs --swarm-master or --swarm-discovery").
			WithHint("--swarm-master makes a swarm, --swarm-discovery mctl://MASTER joins that of a machine")
	}
	spec := &controllerv1.SwarmSpec{
		Master: master, Discovery: discovery, Host: env.Text(flags, "swarm-host"), Address: env.Text(flags, "swarm-addr"),
		Strategy: env.Text(flags, "swarm-strategy"), Options: env.Strings(flags, "swarm-opt"), JoinOptions: env.Strings(flags, "swarm-join-opt"),
		Image: env.Text(flags, "swarm-image"),
	}
	spec.Experimental, _ = flags.GetBool("swarm-experimental")
	for _, option := range spec.GetOptions() {
		if option != "manager" {
			env.Infof("Notice: --swarm-opt %s means nothing to swarm mode", strings.TrimSpace(option))
		}
	}
	return spec, nil
}
