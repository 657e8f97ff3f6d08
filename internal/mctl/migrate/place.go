package migrate

import (
	"os"
	"path/filepath"
	"syscall"

	"mctl/internal/fault"
	"mctl/internal/mctl/state"
)

// same reports whether two paths are one directory.
func same(a, b string) bool {
	first, err := os.Stat(a)
	if err != nil {
		return false
	}
	second, err := os.Stat(b)
	return err == nil && os.SameFile(first, second)
}

// lock keeps other imports away from the state directory until it is let go of, which the end of the process does, too.
func lock(dir state.Dir) (unlock func(), err error) {
	if err := dir.MakeOwn(); err != nil {
		return nil, err
	}
	path := filepath.Join(dir.Own(), "import.lock")
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, state.Trouble(path, err)
	}
	if syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) != nil {
		_ = file.Close()
		return nil, fault.New("migrate.lock", fault.Precondition, path, "another import or export is under way in this state directory").WithHint("try again when it has ended")
	}
	return func() { _ = file.Close() }, nil
}
