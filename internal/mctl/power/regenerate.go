package power

import (
	"context"

	"github.com/spf13/cobra"

	"mctl/internal/mctl/cli"
	"mctl/internal/mctl/dial"
	controllerv1 "mctl/proto/mctl/controller/v1"
)

func newRegenerate(env *cli.Env) *cobra.Command {
	var force, clientCerts bool
	command := &cobra.Command{
		Use: "regenerate-certs [arg...]", Short: "Regenerate TLS Certificates for a machine", ValidArgsFunction: cli.CompleteMachines(env),
		RunE: func(command *cobra.Command, args []string) error {
			return regenerate(command.Context(), env, args, force, clientCerts)
		},
	}
	command.Flags().BoolVarP(&force, "force", "f", false, "Force rebuild and do not prompt")
	command.Flags().BoolVar(&clientCerts, "client-certs", false, "Also regenerate client certificates and CA.")
	return command
}

func regenerate(ctx context.Context, env *cli.Env, args []string, force, clientCerts bool) error {
	if !force {
		yes, err := env.Confirm("Regenerate TLS machine certs?  Warning: this is irreversible.")
		if err != nil {
			return err
		}
		if !yes {
			return nil
		}
	}
	env.Infof("Regenerating TLS certificates")
	if clientCerts {
		env.Infof("Regenerating local certificates")
		machines, err := env.Machines(ctx, args)
		if err != nil {
			return err
		}
		for _, m := range machines {
			if _, err := env.WriteFiles(ctx, m, true); err != nil {
				return err
			}
		}
	}
	return batch(ctx, env, args, act{
		before: func(*controllerv1.Machine) []string { return nil },
		ask: func(ctx context.Context, c *dial.Client, id, name string) (*controllerv1.Machine, error) {
			r, err := c.Machines.RegenerateCertificates(ctx, &controllerv1.RegenerateCertificatesRequest{RequestId: id, Name: name})
			return r.GetMachine(), err
		},
		after: nothing,
	})
}
