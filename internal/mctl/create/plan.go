package create

import (
	"context"

	"mctl/internal/mctl/cli"
	"mctl/internal/mctl/dial"
	controllerv1 "mctl/proto/mctl/controller/v1"
)

// planned is what a dry run answers.
type planned struct {
	Name   string   `json:"name"`
	Driver string   `json:"driver"`
	Plan   []string `json:"plan"`
}

// plan has everything checked and says what would be made.
func plan(ctx context.Context, env *cli.Env, client *dial.Client, opts options) error {
	response, err := client.Machines.CreateMachine(ctx, &controllerv1.CreateMachineRequest{
		RequestId: cli.RequestID(), Name: opts.name, Spec: opts.spec, ValidateOnly: true,
	})
	if err != nil {
		return refused(opts.name, err)
	}
	lines := response.GetPlan()
	if env.JSON() {
		return env.Result(planned{opts.name, opts.spec.GetDriver(), append([]string{}, lines...)})
	}
	if len(lines) == 0 {
		env.Infof("The checks have passed; the driver %s does not tell what it would make.", opts.spec.GetDriver())
	}
	for _, line := range lines {
		env.Infof("would make: %s", line)
	}
	return nil
}
