package migrate

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sync/errgroup"

	"mctl/internal/fault"
	"mctl/internal/mctl/cli"
	"mctl/internal/mctl/dial"
	"mctl/internal/mctl/follow"
	"mctl/internal/mctl/legacy"
	"mctl/internal/mctl/output"
	"mctl/internal/mctl/state"
	controllerv1 "mctl/proto/mctl/controller/v1"
)

// undone is what --undo answers with --output json.
type undone struct {
	Restored []string `json:"restored"`
	Left     []string `json:"left,omitempty"` // of machines that were made by mctl since
}

// undo forgets the machines that were imported in place and puts their folders back. Hosts are not touched. It may be repeated, also after a
// crash: what is still in the backup is still to be done.
func undo(ctx context.Context, env *cli.Env, path string) error {
	dir, err := env.State()
	if err != nil {
		return err
	}
	if path != "" && !same(path, dir.Root) || dir.Context != "" {
		return fault.New("migrate.undo", fault.Precondition, path, "only an import of the state directory itself has something to undo; any other has only read").
			WithHint("`mctl rm --forget` forgets single machines")
	}
	found := backups(dir.Root)
	if len(found) == 0 {
		return fault.New("migrate.undo", fault.Precondition, dir.Root, "nothing was imported in place in "+dir.Root).
			WithHint("name the state directory with --storage-path; a backup there is called " + backupPrefix + "DATE")
	}
	client, err := env.Client(ctx)
	if err != nil {
		return err
	}
	unlock, err := lock(dir)
	if err != nil {
		return err
	}
	defer unlock()
	answer := undone{Restored: []string{}}
	for _, backup := range found {
		if err := undoOne(ctx, client, dir, backup, &answer); err != nil {
			return err
		}
	}
	if env.JSON() {
		return env.Result(answer)
	}
	for _, name := range answer.Restored {
		env.Infof("Brought back %s", name)
	}
	for _, name := range answer.Left {
		env.Infof("Left %s: a machine that was made since has that name", name)
	}
	return nil
}

// undoOne brings one backup back, and removes it when nothing is left in it.
func undoOne(ctx context.Context, client *dial.Client, dir state.Dir, backup string, answer *undone) error {
	entries, err := os.ReadDir(filepath.Join(backup, "machines"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return state.Trouble(backup, err)
	}
	var mu sync.Mutex
	var left int
	var group errgroup.Group
	group.SetLimit(atOnce)
	for _, entry := range entries {
		group.Go(func() error {
			restored, err := undoMachine(ctx, client, dir, backup, entry.Name())
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err != nil:
				return err
			case restored:
				answer.Restored = append(answer.Restored, entry.Name())
			default:
				left++
				answer.Left = append(answer.Left, entry.Name())
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil || left > 0 {
		return err
	}
	if err := os.RemoveAll(backup); err != nil {
		return state.Trouble(backup, err)
	}
	return nil
}

// undoMachine brings one folder back, after its machine was forgotten. false where another machine has its name by now.
func undoMachine(ctx context.Context, client *dial.Client, dir state.Dir, backup, name string) (bool, error) {
	untouched := dir.Machine(name).Foreign() // or back already
	response, err := client.Machines.GetMachine(ctx, &controllerv1.GetMachineRequest{Name: name})
	m := response.GetMachine()
	switch source := m.GetStatus().GetImportSource(); {
	case fault.Is(err, fault.NotFound):
	case err != nil:
		return false, err
	case untouched && source != savedSource(backup, name): // a machine from elsewhere
	case source == "":
		return false, nil
	default: // also where an import was killed between the record and the folder
		if err := forget(ctx, client, m); err != nil {
			return false, err
		}
	}
	if untouched {
		return true, nil
	}
	return true, restore(dir.Root, backup, name)
}

// savedSource is what a machine was imported from whose folder is in a backup.
func savedSource(backup, name string) string {
	config, err := state.ReadBounded(filepath.Join(backup, "machines", name, "config.json"))
	if err != nil {
		return ""
	}
	return legacy.Source(config)
}

// forget removes a machine's record, and leaves its host as it is.
func forget(ctx context.Context, client *dial.Client, m *controllerv1.Machine) error {
	_, err := client.Machines.DeleteMachine(ctx, &controllerv1.DeleteMachineRequest{
		RequestId: cli.RequestID(), Name: m.GetName(), Abandon: true, Force: true,
	})
	if fault.Is(err, fault.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	_, err = follow.Machine(ctx, client, follow.Goal{Name: m.GetName(), UID: m.GetUid(), Deleted: true, Progress: output.Silent{}})
	return err
}
