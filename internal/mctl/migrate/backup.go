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

// copyTree copies files, folders and links with their modes and times. What is none of these is left out.
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
			return os.MkdirAll(target, mode.Perm()|0o700)
		case mode.IsRegular():
			return copyFile(path, target, info)
		case mode&fs.ModeSymlink != 0:
			destination, err := os.Readlink(path)
			if err != nil {
				return err
			}
			return os.Symlink(destination, target)
		}
		return nil
	})
}

func copyFile(from, to string, info fs.FileInfo) error {
	if info.Size() >= linked && os.Link(from, to) == nil {
		return nil
	}
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
