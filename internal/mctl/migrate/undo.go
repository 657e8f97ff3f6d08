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
	Restored  []string `json:"restored"`
	Left      []string `json:"left,omitempty"`      // of machines that were made by mctl since
	Forgotten []string `json:"forgotten,omitempty"` // of a store that was only read
}

// undo forgets the machines that were imported in place and puts their folders back. Hosts are not touched. It may be repeated, also after a
// crash: what is still in the backup is still to be done.
func undo(ctx context.Context, env *cli.Env, path string) error {
	dir, err := env.State()
	if err != nil {
		return err
	}
	switch {
	case path == "" && dir.Context != "":
		return fault.New("migrate.undo", fault.Precondition, path, "with another controller, nothing was imported in place").WithHint("name the directory that was imported")
	case path != "" && (dir.Context != "" || !same(path, dir.Root)):
		return undoElsewhere(ctx, env, dir, path)
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

// undoElsewhere forgets the machines that were imported from another directory, which was only read. Those of a config.json that is another by now are
// not found any more. It may be repeated.
func undoElsewhere(ctx context.Context, env *cli.Env, dir state.Dir, path string) error {
	names, err := (&legacy.Reader{Dir: path}).Folders()
	if err != nil {
		return err
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
	forgotten := make([]bool, len(names))
	var group errgroup.Group
	group.SetLimit(atOnce)
	for at, name := range names {
		group.Go(func() (err error) {
			forgotten[at], err = forgetImported(ctx, client, dir, name, savedSource(path, name))
			return err
		})
	}
	err = group.Wait()
	answer := undone{Restored: []string{}}
	for at, name := range names {
		if forgotten[at] {
			answer.Forgotten = append(answer.Forgotten, name)
		}
	}
	if env.JSON() {
		return errors.Join(err, env.Result(answer))
	}
	for _, name := range answer.Forgotten {
		env.Infof("Forgot %s", name)
	}
	if err == nil && len(answer.Forgotten) == 0 {
		env.Infof("No machine is one that was imported from %s", path)
	}
	return err
}

// forgetImported forgets a machine that was imported from a source, with our folder of it. false for any other.
func forgetImported(ctx context.Context, client *dial.Client, dir state.Dir, name, source string) (bool, error) {
	response, err := client.Machines.GetMachine(ctx, &controllerv1.GetMachineRequest{Name: name})
	m := response.GetMachine()
	switch {
	case source == "" || fault.Is(err, fault.NotFound) || fault.Is(err, fault.Invalid): // or no machine's name at all
		return false, nil
	case err != nil:
		return false, err
	case m.GetStatus().GetImportSource() != source:
		return false, nil
	}
	if err := forget(ctx, client, m); err != nil {
		return false, err
	}
	if mark, _ := dir.Machine(name).Mark(); mark.UID != m.GetUid() {
		return true, nil
	}
	return true, dir.Machine(name).Remove()
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
