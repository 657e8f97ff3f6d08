package machine

import (
	"context"
	"errors"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"mctl/internal/mctl/cli"
	"mctl/internal/mctl/output"
	controllerv1 "mctl/proto/mctl/controller/v1"
)

// newUpdateLabels is of GitLab's docker-machine, whose Runner tells a cloud's bill apart by it.
func newUpdateLabels(env *cli.Env) *cobra.Command {
	var labels []string
	command := &cobra.Command{
		Use: "update-labels [arg...]", Short: "Add labels to a machine, and to its instance where the cloud has labels",
		Example: "mctl update-labels --label team=web --label stage=test web", ValidArgsFunction: cli.CompleteMachines(env),
		Args: atLeastOne(env),
		RunE: func(command *cobra.Command, args []string) error {
			wanted, err := parseLabels(labels)
			if err != nil {
				return err
			}
			return updateLabels(command.Context(), env, args, wanted)
		},
	}
	command.Flags().StringArrayVar(&labels, "label", nil, "Label to add, in the form key=value; may be repeated")
	return command
}

// parseLabels reads key=value each. Of a key that is given twice the last counts.
func parseLabels(texts []string) (map[string]string, error) {
	if len(texts) == 0 {
		return nil, cli.Usagef("no label is given").WithHint("such as --label team=web")
	}
	labels := map[string]string{}
	for _, text := range texts {
		key, value, given := strings.Cut(text, "=")
		if !given || key == "" {
			return nil, cli.Usagef("invalid value %q for flag -label: it should be key=value", text).WithHint("such as --label team=web")
		}
		labels[key] = value
	}
	return labels, nil
}

// updateLabels labels all machines at once. Each failure is told, and undoes none of the others.
func updateLabels(ctx context.Context, env *cli.Env, names []string, labels map[string]string) error {
	machines, err := env.Machines(ctx, names)
	if err != nil {
		return err
	}
	client, err := env.Client(ctx)
	if err != nil {
		return err
	}
	labelled, failed := make([]*controllerv1.Machine, len(machines)), make([]error, len(machines))
	var group errgroup.Group
	group.SetLimit(atOnce)
	for i, m := range machines {
		group.Go(func() error {
			response, err := client.Machines.UpdateLabels(ctx, &controllerv1.UpdateLabelsRequest{
				RequestId: cli.RequestID(), Name: m.GetName(), Labels: labels,
			})
			if labelled[i] = response.GetMachine(); err != nil {
				failed[i] = cli.Wrap(err, "Error updating the labels of %q: %w", m.GetName())
			}
			return nil
		})
	}
	_ = group.Wait()
	done := []*controllerv1.Machine{}
	for _, m := range labelled {
		if m != nil {
			done = append(done, m)
			env.Infof("Labels of %q were updated.", m.GetName())
		}
	}
	return errors.Join(append(failed, env.Result(output.Messages(done)))...)
}
