package transfer

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"mctl/internal/fault"
)

// everyHost is what OpenSSH's programs shall hold to, whichever host it is.
const everyHost = "Host *\n  StrictHostKeyChecking yes\n  GlobalKnownHostsFile /dev/null\n  PasswordAuthentication no\n  LogLevel ERROR\n" +
	"  ConnectTimeout 10\n  ServerAliveInterval 60\n  ControlMaster no\n  ControlPath none\n"

// configPattern names configuration files; they are held by their locks, which end with their processes.
const configPattern = "mctl-ssh-*"

// writeConfig makes a configuration file for ssh, after it has removed those of commands that were killed. done removes it.
func writeConfig(hosts string) (path string, done func(), err error) {
	sweepConfigs()
	for range 100 {
		file, err := os.CreateTemp("", configPattern)
		if err != nil {
			return "", nil, configTrouble(err)
		}
		done := func() { _ = errors.Join(os.Remove(file.Name()), file.Close()) }
		switch held, err := hold(file); {
		case err != nil:
			done()
			return "", nil, configTrouble(err)
		case !held: // another command has just taken it for one that is left over
			_ = file.Close()
			continue
		}
		if _, err := file.WriteString(everyHost + hosts); err != nil {
			done()
			return "", nil, configTrouble(err)
		}
		return file.Name(), done, nil
	}
	return "", nil, configTrouble(errors.New("others remove it"))
}

func configTrouble(err error) error {
	return fault.E("transfer.writeConfig", fault.Precondition, os.TempDir(), fmt.Errorf("can't write a file for ssh: %w", err)).
		WithHint("make room in " + os.TempDir() + ", or name another directory by TMPDIR")
}

// hold locks a file; false where somebody else has, or where it has no name any more.
func hold(file *os.File) (bool, error) {
	err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	opened, err := file.Stat()
	if err != nil {
		return false, err
	}
	named, err := os.Lstat(file.Name())
	return err == nil && os.SameFile(opened, named), nil
}

// sweepConfigs removes the files of commands that were killed. Other users' can't be opened.
func sweepConfigs() {
	left, _ := filepath.Glob(filepath.Join(os.TempDir(), configPattern))
	for _, path := range left {
		file, err := os.OpenFile(path, os.O_WRONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
		if err != nil {
			continue
		}
		if held, err := hold(file); held && err == nil {
			_ = os.Remove(path)
		}
		_ = file.Close()
	}
}
