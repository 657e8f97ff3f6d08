package machine

import (
	"context"
	"maps"
	"slices"

	"mctl/internal/mctl/cli"
	"mctl/internal/mctl/output"
	"mctl/internal/mctl/state"
)

// foreign are the folders of which it is not known yet that they are machines'.
type foreign struct {
	dir   state.Dir
	names map[string]struct{}
}

// readForeign finds the folders. It comes before the machines are asked for: a machine has its folder before its record.
func readForeign(env *cli.Env) (foreign, error) {
	dir, err := env.State()
	if err != nil {
		return foreign{}, err
	}
	names, err := dir.Folders()
	if err != nil {
		return foreign{}, err
	}
	f := foreign{dir: dir, names: make(map[string]struct{}, len(names))}
	for _, name := range names {
		f.names[name] = struct{}{}
	}
	return f, nil
}

// leaveOut takes a machine's folder out, before its mark is read: that would be a file for each machine.
func (f foreign) leaveOut(name string) { delete(f.names, name) }

// items are rows of what is left, which another program made.
func (f foreign) items(ctx context.Context, env *cli.Env) []Item {
	var items []Item
	for _, name := range slices.Sorted(maps.Keys(f.names)) {
		folder := f.dir.Machine(name)
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
	return items
}
