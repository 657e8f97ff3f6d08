// Package state is what the client keeps on disk: the state directory, a folder per machine, and the marks that tell ours
// from foreign ones.
package state

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"mctl/internal/fault"
)

// Lookup reads one environment variable.
type Lookup func(name string) (string, bool)

// Locate returns the absolute path of the state directory: flag, then environment, then a default in the home directory.
// dockerMachine says that we were called by that name, whose users expect its variable first and its default.
func Locate(flag string, lookup Lookup, dockerMachine bool) (string, error) {
	const op = "state.Locate"
	variables := []string{"MCTL_HOME", "MACHINE_STORAGE_PATH"}
	fallback := ".mctl"
	if dockerMachine {
		variables = []string{"MACHINE_STORAGE_PATH", "MCTL_HOME"}
		fallback = filepath.Join(".docker", "machine")
	}
	path := flag
	for _, variable := range variables {
		if path == "" {
			path, _ = lookup(variable)
		}
	}
	if path == "" {
		home, _ := lookup("HOME")
		if home == "" {
			return "", fault.New(op, fault.Precondition, "", "no state directory is known, since HOME is not set").
				WithHint("set " + variables[0] + ", or give --storage-path")
		}
		path = filepath.Join(home, fallback)
	}
	absolute, err := filepath.Abs(path)
	if err != nil {
		return "", fault.E(op, fault.Internal, path, err)
	}
	return absolute, nil
}

// Dir is one state directory, seen through one context: the local controller keeps its machines' files at the top, where
// docker-machine's users look; those of another controller have a place of their own, since names may repeat.
type Dir struct {
	Root    string // absolute
	Context string // empty for the local controller
}

// Own is where everything of ours lives that no reader of docker-machine's files knows.
func (d Dir) Own() string { return filepath.Join(d.Root, "mctl") }

// Contexts is where other controllers are noted.
func (d Dir) Contexts() string { return filepath.Join(d.Own(), "contexts") }

// ControllerLog is where the local controller writes what it prints.
func (d Dir) ControllerLog() string { return filepath.Join(d.Own(), "controller.log") }

// files is the top of what belongs to the context.
func (d Dir) files() string {
	if d.Context == "" {
		return d.Root
	}
	return filepath.Join(d.Contexts(), d.Context)
}

// Certs is where the caller's keys and certificates for the docker CLI are, one folder an authority.
func (d Dir) Certs() string { return filepath.Join(d.files(), "certs") }

// Machines is where each machine has a folder.
func (d Dir) Machines() string { return filepath.Join(d.files(), "machines") }

// Machine returns a machine's folder, which need not exist.
func (d Dir) Machine(name string) Folder {
	return Folder{Path: filepath.Join(d.Machines(), name), Name: name}
}

// MakeOwn makes the directory for our own files, readable by the user alone.
func (d Dir) MakeOwn() error { return makePrivate(d.Own()) }

// Folders lists the names of all folders of machines, ours and foreign, in the order of the directory. A state directory
// that is not there has none.
func (d Dir) Folders() ([]string, error) {
	entries, err := os.ReadDir(d.Machines())
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, Trouble(d.Root, err)
	}
	var names []string
	for _, entry := range entries {
		if entry.IsDir() && !strings.HasPrefix(entry.Name(), ".") {
			names = append(names, entry.Name())
		}
	}
	return names, nil
}

func makePrivate(path string) error {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return Trouble(path, err)
	}
	return nil
}

// Trouble is the fault for a state directory that can't be used, in one sentence.
func Trouble(path string, err error) error {
	cause := err
	var pathErr *os.PathError
	var linkErr *os.LinkError
	switch {
	case errors.As(err, &pathErr):
		path, cause = pathErr.Path, pathErr.Err
	case errors.As(err, &linkErr):
		path, cause = linkErr.New, linkErr.Err
	}
	if info, err := os.Stat(path); err == nil && info.IsDir() && errors.Is(cause, os.ErrExist) {
		cause = syscall.EISDIR // os.Rename says of a directory in a file's place that the file exists
	}
	return fault.New("state", fault.Precondition, path, "can't use the state directory: "+path+": "+cause.Error()).
		WithHint(remedy(path, cause) + ", or name another one with --storage-path")
}

// remedy is what somebody does about it.
func remedy(path string, cause error) string {
	switch {
	case errors.Is(cause, os.ErrExist), errors.Is(cause, syscall.EISDIR), errors.Is(cause, syscall.ENOTDIR), errors.Is(cause, errIrregular):
		return "move away what is at " + path
	case errors.Is(cause, syscall.ENOSPC), errors.Is(cause, syscall.EDQUOT):
		return "make room where it is"
	case errors.Is(cause, syscall.EROFS):
		return "mount it for writing"
	}
	return "check its owner and mode"
}
