package machine

import (
	"context"

	"mctl/internal/mctl/cli"
	"mctl/internal/mctl/output"
	"mctl/internal/mctl/state"
	controllerv1 "mctl/proto/mctl/controller/v1"
)

// foreignItems are the folders that another program made, beside the machines that are known.
func foreignItems(ctx context.Context, env *cli.Env, known []*controllerv1.Machine) ([]Item, error) {
	dir, err := env.State()
	if err != nil {
		return nil, err
	}
	folders, err := dir.Folders()
	if err != nil {
		return nil, err
	}
	ours := make(map[string]bool, len(known))
	for _, m := range known {
		ours[m.GetName()] = true
	}
	var items []Item
	for _, name := range folders {
		if ours[name] {
			continue // before its mark is read: that would be a file for each machine
		}
		folder := dir.Machine(name)
		if _, marked := folder.Mark(); marked {
			env.Forget(ctx, name) // somebody else has removed it
			continue
		}
		driver := folder.ForeignDriver()
		if driver == "" {
			driver = "not found"
		}
		items = append(items, Item{
			Name: output.Line(name), DriverName: output.Line(driver), State: "Error", DockerVersion: "Unknown", Error: "not imported",
			SwarmOptions: state.NewSwarmOptions(nil), EngineOptions: state.NewEngineOptions(nil),
		})
	}
	return items, nil
}
