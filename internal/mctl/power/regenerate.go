package power

import (
	"context"
	"errors"
	"io"

	"github.com/spf13/cobra"

	"mctl/internal/fault"
	"mctl/internal/mctl/cli"
	"mctl/internal/mctl/dial"
	controllerv1 "mctl/proto/mctl/controller/v1"
)

func newRegenerate(env *cli.Env) *cobra.Command {
	var force, clientCerts bool
	command := &cobra.Command{
		Use: "regenerate-certs [arg...]", Short: "Regenerate TLS Certificates for a machine", Example: "mctl regenerate-certs -f web",
		ValidArgsFunction: cli.CompleteMachines(env),
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
		if errors.Is(err, io.EOF) {
			return fault.E("power.regenerate", fault.Precondition, "", io.EOF).WithHint("give --force where nobody can answer")
		}
		if err != nil || !yes {
			return errors.Join(err, env.Result([]any{}))
		}
	}
	env.Infof("Regenerating TLS certificates")
	if clientCerts {
		env.Infof("Regenerating local certificates")
	}
	return batch(ctx, env, args, act{
		check: hasPower,
		ask: func(ctx context.Context, c *dial.Client, id, name string) (*controllerv1.Machine, error) {
			r, err := c.Machines.RegenerateCertificates(ctx, &controllerv1.RegenerateCertificatesRequest{RequestId: id, Name: name})
			return r.GetMachine(), err
		},
		renew: clientCerts,
	})
}
