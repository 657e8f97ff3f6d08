// Package machine is what can be asked about machines, and what is not about their power: ls, status, inspect, rm, wait …
package machine

import (
	"context"

	"github.com/spf13/cobra"

	"mctl/internal/fault"
	"mctl/internal/mctl/cli"
	"mctl/internal/mctl/engine"
	"mctl/internal/mctl/output"
	controllerv1 "mctl/proto/mctl/controller/v1"
)

// Commands returns the commands about machines.
func Commands(env *cli.Env) []*cobra.Command {
	return []*cobra.Command{
		newList(env), newStatus(env), newURL(env), newIP(env), newInspect(env), newActive(env), newRemove(env), newWait(env),
		newRetry(env), newEvents(env),
	}
}

func newStatus(env *cli.Env) *cobra.Command {
	return &cobra.Command{
		Use: "status [arg...]", Short: "Get the status of a machine", Args: atMostOne, ValidArgsFunction: cli.CompleteMachine(env),
		RunE: func(command *cobra.Command, args []string) error { return status(command.Context(), env, args) },
	}
}

func status(ctx context.Context, env *cli.Env, args []string) error {
	m, err := env.Machine(ctx, args)
	if err != nil {
		return err
	}
	if env.JSON() {
		return output.Message(env.Out, m)
	}
	env.Printf("%s\n", m.GetStatus().GetState())
	return nil
}

func newURL(env *cli.Env) *cobra.Command {
	return &cobra.Command{
		Use: "url [arg...]", Short: "Get the URL of a machine", Args: atMostOne, ValidArgsFunction: cli.CompleteMachine(env),
		RunE: func(command *cobra.Command, args []string) error { return url(command.Context(), env, args) },
	}
}

func url(ctx context.Context, env *cli.Env, args []string) error {
	m, err := env.Machine(ctx, args)
	if err != nil {
		return err
	}
	url, err := engine.URL(m)
	if err != nil {
		return err
	}
	if env.JSON() {
		return output.JSON(env.Out, map[string]string{"name": m.GetName(), "url": url})
	}
	env.Printf("%s\n", url)
	return nil
}

func newIP(env *cli.Env) *cobra.Command {
	return &cobra.Command{
		Use: "ip [arg...]", Short: "Get the IP address of a machine", ValidArgsFunction: cli.CompleteMachines(env),
		RunE: func(command *cobra.Command, args []string) error { return ip(command.Context(), env, args) },
	}
}

func ip(ctx context.Context, env *cli.Env, args []string) error {
	machines, err := env.Machines(ctx, args)
	if err != nil {
		return err
	}
	var addresses []map[string]string
	for _, m := range machines {
		if _, err := engine.URL(m); err != nil {
			return cli.Wrap(err, "Error getting IP address: %w")
		}
		addresses = append(addresses, map[string]string{"name": m.GetName(), "ip": m.GetStatus().GetAddress()})
	}
	if env.JSON() {
		return output.JSON(env.Out, addresses)
	}
	for _, address := range addresses {
		env.Printf("%s\n", address["ip"])
	}
	return nil
}

func newActive(env *cli.Env) *cobra.Command {
	var timeout int
	command := &cobra.Command{
		Use: "active", Short: "Print which machine is active",
		RunE: func(command *cobra.Command, args []string) error { return active(command.Context(), env, args) },
	}
	command.Flags().IntVarP(&timeout, "timeout", "t", 10, "Timeout in seconds, accepted for docker-machine's sake")
	return command
}

func active(ctx context.Context, env *cli.Env, args []string) error {
	if len(args) > 0 {
		return cli.Failf("Error: Too many arguments given")
	}
	machines, err := env.List(ctx, controllerv1.MachineView_MACHINE_VIEW_BASIC)
	if err != nil {
		return err
	}
	for _, m := range machines {
		if isActive(env, m) {
			if env.JSON() {
				return output.JSON(env.Out, map[string]string{"name": m.GetName()})
			}
			env.Printf("%s\n", m.GetName())
			return nil
		}
	}
	return fault.New("machine.active", fault.NotFound, "", "No active host found")
}

// atMostOne refuses a second name in docker-machine's words.
func atMostOne(_ *cobra.Command, args []string) error {
	if len(args) > 1 {
		return cli.Failf("Error: Expected one machine name as an argument")
	}
	return nil
}
