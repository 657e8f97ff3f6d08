package power

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/durationpb"

	"mctl/internal/fault"
	"mctl/internal/mctl/cli"
	"mctl/internal/mctl/dial"
	controllerv1 "mctl/proto/mctl/controller/v1"
)

func newStart(env *cli.Env) *cobra.Command {
	return &cobra.Command{
		Use: "start [arg...]", Short: "Start a machine", Example: "mctl start web", ValidArgsFunction: cli.CompleteMachines(env),
		RunE: func(command *cobra.Command, args []string) error {
			return batch(command.Context(), env, args, act{
				check:  notYet("Running", "running"),
				before: say("Starting %q..."),
				ask: func(ctx context.Context, c *dial.Client, id, name string) (*controllerv1.Machine, error) {
					r, err := c.Machines.StartMachine(ctx, &controllerv1.StartMachineRequest{RequestId: id, Name: name})
					return r.GetMachine(), err
				},
				words: backWords,
				after: end("Machine %q was started."),
				hint:  newAddresses(env, "Started"),
			})
		},
	}
}

func newStop(env *cli.Env) *cobra.Command {
	var drain time.Duration
	command := &cobra.Command{
		Use: "stop [arg...]", Short: "Stop a machine", Example: "mctl stop web db", ValidArgsFunction: cli.CompleteMachines(env),
		RunE: func(command *cobra.Command, args []string) error {
			if err := cli.CheckDrain(drain); err != nil {
				return err
			}
			return batch(command.Context(), env, args, act{
				check: notYet("Stopped", "stopped"), before: say("Stopping %q..."), ask: stop(false, drain), after: end("Machine %q was stopped."),
			})
		},
	}
	cli.AddDrain(command.Flags(), &drain)
	return command
}

func newKill(env *cli.Env) *cobra.Command {
	return &cobra.Command{
		Use: "kill [arg...]", Short: "Kill a machine", Example: "mctl kill web", ValidArgsFunction: cli.CompleteMachines(env),
		RunE: func(command *cobra.Command, args []string) error {
			return batch(command.Context(), env, args, act{
				check: notYet("Stopped", "stopped"), before: say("Killing %q..."), ask: stop(true, 0), after: end("Machine %q was killed."),
			})
		},
	}
}

func newRestart(env *cli.Env) *cobra.Command {
	return &cobra.Command{
		Use: "restart [arg...]", Short: "Restart a machine", Example: "mctl restart web", ValidArgsFunction: cli.CompleteMachines(env),
		RunE: func(command *cobra.Command, args []string) error {
			return batch(command.Context(), env, args, act{
				before: say("Restarting %q..."),
				ask: func(ctx context.Context, c *dial.Client, id, name string) (*controllerv1.Machine, error) {
					r, err := c.Machines.RestartMachine(ctx, &controllerv1.RestartMachineRequest{RequestId: id, Name: name})
					return r.GetMachine(), err
				},
				words: backWords,
				hint:  newAddresses(env, "Restarted"),
			})
		},
	}
}

func newProvision(env *cli.Env) *cobra.Command {
	return &cobra.Command{
		Use: "provision [arg...]", Short: "Re-provision existing machines", Example: "mctl provision web", ValidArgsFunction: cli.CompleteMachines(env),
		RunE: func(command *cobra.Command, args []string) error {
			return batch(command.Context(), env, args, act{
				check: hasPower,
				before: func(m *controllerv1.Machine) []string {
					if hasPower(m) != nil {
						return nil
					}
					return []string{"Copying certs to the local machine directory...", "Copying certs to the remote machine...", "Setting Docker configuration on the remote daemon..."}
				},
				ask: func(ctx context.Context, c *dial.Client, id, name string) (*controllerv1.Machine, error) {
					r, err := c.Machines.ProvisionMachine(ctx, &controllerv1.ProvisionMachineRequest{RequestId: id, Name: name})
					return r.GetMachine(), err
				},
			})
		},
	}
}

func newUpgrade(env *cli.Env) *cobra.Command {
	return &cobra.Command{
		Use: "upgrade [arg...]", Short: "Upgrade a machine to the latest version of Docker", Example: "mctl upgrade web",
		ValidArgsFunction: cli.CompleteMachines(env),
		RunE: func(command *cobra.Command, args []string) error {
			return batch(command.Context(), env, args, act{
				before: func(m *controllerv1.Machine) []string {
					if m.GetStatus().GetState() != "Running" {
						return []string{"Starting machine so machine can be upgraded..."}
					}
					return []string{"Upgrading docker..."}
				},
				words: func(m *controllerv1.Machine) map[string][]string {
					if m.GetStatus().GetState() != "Running" {
						return map[string][]string{"installing": {"Upgrading docker..."}} // not before its host is up
					}
					return nil
				},
				ask: func(ctx context.Context, c *dial.Client, id, name string) (*controllerv1.Machine, error) {
					r, err := c.Machines.UpgradeMachine(ctx, &controllerv1.UpgradeMachineRequest{RequestId: id, Name: name})
					return r.GetMachine(), err
				},
				after: restarted,
			})
		},
	}
}

func stop(force bool, drain time.Duration) func(context.Context, *dial.Client, string, string) (*controllerv1.Machine, error) {
	return func(ctx context.Context, c *dial.Client, id, name string) (*controllerv1.Machine, error) {
		r, err := c.Machines.StopMachine(ctx, &controllerv1.StopMachineRequest{RequestId: id, Name: name, Force: force, DrainTimeout: durationpb.New(drain)})
		return r.GetMachine(), err
	}
}

// notYet refuses a machine that is in the wished state, as docker-machine did.
func notYet(state, word string) func(*controllerv1.Machine) error {
	return func(m *controllerv1.Machine) error {
		if m.GetStatus().GetState() != state {
			return nil
		}
		return fault.E("power", fault.Precondition, m.GetName(), fmt.Errorf("Machine %q is already %s.", m.GetName(), word)). //nolint:staticcheck // docker-machine's words
																	WithHint("nothing was done; `mctl status " + m.GetName() + "` tells the state")
	}
}

// hasPower refuses a machine that is off, since on its host nothing can be done now.
func hasPower(m *controllerv1.Machine) error {
	if m.GetSpec().GetDeletion() != nil {
		return nil // the controller says that it is being removed
	}
	switch m.GetStatus().GetState() {
	case "Stopping", "Stopped", "Paused", "Saved":
		return fault.New("power", fault.Precondition, m.GetName(), "Host is not running").WithHint("`mctl start " + m.GetName() + "` starts it")
	}
	return nil
}

// backWords are docker-machine's lines for a host that has power again.
func backWords(*controllerv1.Machine) map[string][]string {
	return map[string][]string{"installing": {"Waiting for SSH to be available...", "Detecting the provisioner..."}}
}

func say(format string) func(*controllerv1.Machine) []string {
	return func(m *controllerv1.Machine) []string { return []string{fmt.Sprintf(format, m.GetName())} }
}

func end(format string) func(was, is *controllerv1.Machine) string {
	return func(_, m *controllerv1.Machine) string { return fmt.Sprintf(format, m.GetName()) }
}

// restarted tells that the engine was started anew, which it is when it got another version.
func restarted(was, is *controllerv1.Machine) string {
	if was.GetStatus().GetEngine().GetVersion() == is.GetStatus().GetEngine().GetVersion() {
		return ""
	}
	return "Restarting docker..."
}

func newAddresses(env *cli.Env, done string) string {
	return fmt.Sprintf("%s machines may have new IP addresses. You may need to re-run the `%s env` command.", done, env.App())
}
