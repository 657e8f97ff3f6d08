package migrate

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"mctl/internal/mctl/state"
)

// backupPrefix begins the names of the folders, beside machines, that hold a store as docker-machine left it.
const backupPrefix = "machines.before-mctl-"

// linked is from which size on a file is linked instead of copied: a virtual machine's disk, which goes on in both places.
const linked = 16 << 20

// backups are those of a store, the newest first.
func backups(root string) []string {
	found, _ := filepath.Glob(filepath.Join(root, backupPrefix+"*")) // only a bad pattern is an error
	slices.Sort(found)
	slices.Reverse(found)
	return found
}

// backUp copies the folders of a store that no backup has yet, and the certificates, to a folder beside them: whole or not at all. It
// returns the folder; nothing where there is nothing to copy.
func backUp(root string, names []string, now time.Time) (string, error) {
	const hidden = "." + backupPrefix
	left, _ := filepath.Glob(filepath.Join(root, hidden+"*"))
	for _, path := range left { // of one that was killed
		_ = os.RemoveAll(path)
	}
	present := backups(root)
	names = slices.DeleteFunc(slices.Clone(names), func(name string) bool {
		return slices.ContainsFunc(present, func(backup string) bool { return sameMachine(root, backup, name) })
	})
	if len(names) == 0 {
		return "", nil
	}
	temporary, err := os.MkdirTemp(root, hidden)
	if err != nil {
		return "", state.Trouble(root, err)
	}
	for _, part := range append([]string{"certs"}, prefixed("machines", names)...) {
		if err := copyTree(filepath.Join(root, part), filepath.Join(temporary, part)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			_ = os.RemoveAll(temporary)
			return "", state.Trouble(root, err)
		}
	}
	if err := state.Flush(temporary); err != nil { // before its name says that it is whole
		_ = os.RemoveAll(temporary)
		return "", state.Trouble(root, err)
	}
	final := filepath.Join(root, backupPrefix+now.UTC().Format(time.DateOnly))
	for slices.Contains(present, final) {
		final += "+"
	}
	if err := errors.Join(os.Rename(temporary, final), syncDir(root)); err != nil {
		return "", state.Trouble(final, err)
	}
	return final, nil
}

func prefixed(dir string, names []string) []string {
	paths := make([]string, len(names))
	for i, name := range names {
		paths[i] = filepath.Join(dir, name)
	}
	return paths
}

// sameMachine reports whether a backup has a folder as it is now.
func sameMachine(root, backup, name string) bool {
	file := filepath.Join("machines", name, "config.json")
	now, err := state.ReadBounded(filepath.Join(root, file))
	then, thenErr := state.ReadBounded(filepath.Join(backup, file))
	return err == nil && thenErr == nil && bytes.Equal(now, then)
}

// copyTree copies files, folders and links with their modes, times and owners. What is none of these, such as the socket of a virtual machine
// that runs, is linked where that can be.
func copyTree(from, to string) error {
	return filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		inside, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, inside)
		info, err := entry.Info()
		if err != nil {
			return err
		}
		switch mode := info.Mode(); {
		case mode.IsDir():
			err = errors.Join(os.MkdirAll(target, 0o700), os.Chmod(target, mode.Perm()|0o700))
		case mode.IsRegular() && info.Size() >= linked && os.Link(path, target) == nil:
			return nil
		case mode.IsRegular():
			err = copyFile(path, target, info)
		case mode&fs.ModeSymlink != 0:
			var destination string
			if destination, err = os.Readlink(path); err == nil {
				err = os.Symlink(destination, target)
			}
		default:
			_ = os.Link(path, target)
			return nil
		}
		if system, ok := info.Sys().(*syscall.Stat_t); ok && err == nil {
			_ = os.Lchown(target, int(system.Uid), int(system.Gid)) // only root may give files away
		}
		return err
	})
}

func copyFile(from, to string, info fs.FileInfo) error {
	in, err := os.OpenFile(from, os.O_RDONLY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close(), os.Chmod(to, info.Mode().Perm()), os.Chtimes(to, info.ModTime(), info.ModTime()))
}

func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// restore puts a machine's folder back where it was, in place of ours or of none.
func restore(root, backup, name string) error {
	folder, saved := filepath.Join(root, "machines", name), filepath.Join(backup, "machines", name)
	aside := filepath.Join(root, "machines", "."+name+"-undone")
	if err := os.RemoveAll(aside); err != nil {
		return state.Trouble(aside, err)
	}
	if err := os.Rename(folder, aside); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return state.Trouble(folder, err)
	}
	if err := os.Rename(saved, folder); err != nil {
		return state.Trouble(folder, err)
	}
	if err := os.RemoveAll(aside); err != nil {
		return state.Trouble(aside, err)
	}
	return nil
}
