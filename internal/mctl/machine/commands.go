// Package machine is what can be asked about machines, and what is not about their power: ls, status, inspect, rm, wait …
package machine

import (
	"context"
	"errors"
	"strings"

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
		newRetry(env), newEvents(env), newUpdateLabels(env),
	}
}

func newStatus(env *cli.Env) *cobra.Command {
	return &cobra.Command{
		Use: "status [arg...]", Short: "Get the status of a machine", Example: "mctl status web\nmctl --output json status web",
		Args: atMostOne, ValidArgsFunction: cli.CompleteMachine(env),
		RunE: func(command *cobra.Command, args []string) error { return status(command.Context(), env, args) },
	}
}

func status(ctx context.Context, env *cli.Env, args []string) error {
	m, err := env.Machine(ctx, args)
	if err != nil {
		return err
	}
	if env.JSON() {
		return env.Result(output.Message(m))
	}
	env.Printf("%s\n", m.GetStatus().GetState())
	return nil
}

func newURL(env *cli.Env) *cobra.Command {
	return &cobra.Command{
		Use: "url [arg...]", Short: "Get the URL of a machine", Example: "docker -H $(mctl url web) version", Args: atMostOne, ValidArgsFunction: cli.CompleteMachine(env),
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
		return env.Result(map[string]string{"name": m.GetName(), "url": url})
	}
	env.Printf("%s\n", url)
	return nil
}

func newIP(env *cli.Env) *cobra.Command {
	return &cobra.Command{
		Use: "ip [arg...]", Short: "Get the IP address of a machine", Example: "mctl ip web\nmctl ip web db", ValidArgsFunction: cli.CompleteMachines(env),
		RunE: func(command *cobra.Command, args []string) error { return ip(command.Context(), env, args) },
	}
}

func ip(ctx context.Context, env *cli.Env, args []string) error {
	machines, err := env.Machines(ctx, args)
	if err != nil {
		return err
	}
	var failed []error
	addresses := []map[string]string{}
	for _, m := range machines {
		if _, err := engine.URL(m); err != nil {
			failed = append(failed, cli.Wrap(err, "Error getting IP address: %w"))
			continue
		}
		addresses = append(addresses, map[string]string{"name": m.GetName(), "ip": m.GetStatus().GetAddress()})
	}
	for _, address := range addresses {
		if !env.JSON() {
			env.Printf("%s\n", address["ip"])
		}
	}
	return errors.Join(append(failed, env.Result(addresses))...)
}

func newActive(env *cli.Env) *cobra.Command {
	var timeout int
	command := &cobra.Command{
		Use: "active", Short: "Print which machine is active", Example: "mctl active",
		RunE: func(command *cobra.Command, args []string) error { return active(command.Context(), env, args) },
	}
	command.Flags().IntVarP(&timeout, "timeout", "t", 10, "Timeout in seconds, accepted for docker-machine's sake")
	return command
}

func active(ctx context.Context, env *cli.Env, args []string) error {
	if len(args) > 0 {
		return cli.Failf("Error: Too many arguments given").WithHint("leave out " + strings.Join(args, " "))
	}
	machines, err := env.List(ctx, controllerv1.MachineView_MACHINE_VIEW_BASIC)
	if err != nil {
		return err
	}
	for _, m := range machines {
		if host, swarm := isActive(env, m); host || swarm {
			if env.JSON() {
				return env.Result(map[string]string{"name": m.GetName()})
			}
			env.Printf("%s\n", m.GetName())
			return nil
		}
	}
	return fault.New("machine.active", fault.NotFound, "", "No active host found").
		WithHint("`eval $(mctl env NAME)` makes one active")
}

// atMostOne refuses a second name in docker-machine's words.
func atMostOne(_ *cobra.Command, args []string) error {
	if len(args) > 1 {
		return cli.ErrOneMachine()
	}
	return nil
}
