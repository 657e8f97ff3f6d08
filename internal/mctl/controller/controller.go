// Package controller is `mctl controller`: starting, ending and looking at the controller that mctl keeps for its user.
package controller

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"mctl/internal/fault"
	"mctl/internal/mctl/cli"
	"mctl/internal/mctl/output"
	controllerv1 "mctl/proto/mctl/controller/v1"
)

// stopLimit bounds how long a controller may take to end.
const stopLimit = time.Minute

// Commands returns the commands about the controller.
func Commands(env *cli.Env) []*cobra.Command {
	command := &cobra.Command{Use: "controller", Short: "Manage the controller that is started for you", Example: "mctl controller status",
		Args: cli.NoCommand(env), RunE: cli.ShowHelp}
	command.AddCommand(
		&cobra.Command{
			Use: "start", Short: "Start the controller if it does not run", Example: "mctl controller start", Args: cli.NoArgs,
			RunE: func(command *cobra.Command, _ []string) error { return start(command.Context(), env) },
		},
		&cobra.Command{
			Use: "stop", Short: "Stop the controller; machines stay as they are", Example: "mctl controller stop", Args: cli.NoArgs,
			RunE: func(command *cobra.Command, _ []string) error { return stop(command.Context(), env) },
		},
		&cobra.Command{
			Use: "status", Short: "Show the controller, if it runs", Example: "mctl controller status", Args: cli.NoArgs,
			RunE: func(command *cobra.Command, _ []string) error { return status(command.Context(), env) },
		},
		newLogs(env),
	)
	return []*cobra.Command{command}
}

func start(ctx context.Context, env *cli.Env) error {
	if _, err := env.Local(); err != nil {
		return err
	}
	client, err := env.Client(ctx)
	if err != nil {
		return err
	}
	info, err := client.System.GetInfo(ctx, &controllerv1.GetInfoRequest{})
	if err != nil {
		return err
	}
	if env.JSON() {
		return env.Result(output.Message(info))
	}
	env.Printf("The controller runs, process %d.\n", info.GetPid())
	return nil
}

// stop ends the controller. None that runs is as good.
func stop(ctx context.Context, env *cli.Env) error {
	local, err := env.Local()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, stopLimit)
	defer cancel()
	err = local.Stop(ctx)
	switch {
	case fault.Is(err, fault.NotFound):
		env.Infof("No controller runs.")
		return env.Result(map[string]bool{"stopped": false})
	case err != nil:
		return err
	}
	env.Infof("The controller was stopped. Machines stay as they are.")
	return env.Result(map[string]bool{"stopped": true})
}

func status(ctx context.Context, env *cli.Env) error {
	client, err := env.RunningClient(ctx)
	if err != nil {
		return err
	}
	info, err := client.System.GetInfo(ctx, &controllerv1.GetInfoRequest{})
	if err != nil {
		return err
	}
	if env.JSON() {
		return env.Result(output.Message(info))
	}
	env.Printf("Controller:  %s\nVersion:     %s\nProcess:     %d\nRunning:     %s, since %s\nMachines:    %d, of which %d have work under way\n",
		info.GetControllerId(), info.GetVersion(), info.GetPid(), env.Now().Sub(info.GetStartTime().AsTime()).Round(time.Second),
		info.GetStartTime().AsTime().Format("2006-01-02T15:04:05Z"), info.GetMachines(), info.GetBusy())
	for _, address := range info.GetListenAddresses() {
		env.Printf("Listens at:  %s\n", address)
	}
	return nil
}
