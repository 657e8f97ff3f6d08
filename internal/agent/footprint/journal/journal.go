// Package journal remembers what a host was like before mctl changed it, and puts it back.
package journal

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/google/renameio/v2"

	"mctl/internal/fault"
)

// Where a journal is on a host.
const (
	folder      = "/var/lib/mctl"
	journalFile = folder + "/footprint.json"
)

// Journal remembers on disk, before each act, what a host was like. Several processes may use one at the same time.
type Journal struct {
	root string
}

// Open returns the journal of a host. root stands in front of every path; it is empty but in tests.
func Open(root string) *Journal { return &Journal{root: root} }

// Book is what a journal holds.
type Book struct {
	Files    map[string]Entry `json:"files"`    // by path
	Folders  []string         `json:"folders"`  // that came into being for a file
	Packages []string         `json:"packages"` // that came by us
}

// Entry is a file that we made or changed.
type Entry struct {
	Former former  `json:"former"`
	Left   *string `json:"left"` // digest of what we left; nil while a change has begun and not ended
}

// File remembers what path is like, or that there is nothing, before it is created or changed. Only the first call for a
// path counts, so it may be repeated. Precondition when the journal can't be written or the file is no ordinary one.
func (j *Journal) File(path string) error {
	return j.change(func(b *Book) error {
		known, again := b.Files[path]
		if !again {
			now, err := look(j.at(path))
			if err != nil {
				return err
			}
			known.Former = now
			for parent := filepath.Dir(path); !exists(j.at(parent)); parent = filepath.Dir(parent) {
				b.Folders = append(b.Folders, parent)
			}
		}
		known.Left = nil
		b.Files[path] = known
		return nil
	})
}

// Written remembers what path is like now, after a change of ours. A path that File does not know stays unknown. It may be
// repeated.
func (j *Journal) Written(path string) error {
	return j.change(func(b *Book) error {
		known, ok := b.Files[path]
		if !ok {
			return nil
		}
		now, err := look(j.at(path))
		if err != nil {
			return err
		}
		digest := now.digest()
		known.Left = &digest
		b.Files[path] = known
		return nil
	})
}

// Returned tells that path holds nothing of ours any more: whoever changed it took our part out again. Where that left it
// with its former content, mode and owner still go back; else somebody else changed it since, and it is theirs. A path that
// File does not know stays unknown. It may be repeated.
func (j *Journal) Returned(path string) error {
	return j.change(func(b *Book) error {
		known, ok := b.Files[path]
		if !ok {
			return nil
		}
		now, err := look(j.at(path))
		if err != nil {
			return err
		}
		if !known.Former.reads(j.at(path), now) {
			delete(b.Files, path)
			return nil
		}
		digest := now.digest()
		known.Left = &digest
		b.Files[path] = known
		return nil
	})
}

// Keep forgets what paths were like: what is there now is somebody else's, and stays. A path that File does not know stays unknown. It
// may be repeated.
func (j *Journal) Keep(paths ...string) error {
	return j.change(func(b *Book) error {
		for _, path := range paths {
			delete(b.Files, path)
		}
		return nil
	})
}

// Package remembers packages that come by us, before they come. It may be repeated.
func (j *Journal) Package(names ...string) error {
	return j.change(func(b *Book) error {
		b.Packages = append(b.Packages, names...)
		slices.Sort(b.Packages)
		b.Packages = slices.Compact(b.Packages)
		return nil
	})
}

// change reads the journal, lets edit change it and writes it, with the state directory locked against other processes.
func (j *Journal) change(edit func(*Book) error) error {
	const op = "journal.change"
	state := j.at(folder)
	if err := os.MkdirAll(state, 0o700); err != nil {
		return fault.E(op, fault.Precondition, folder, err)
	}
	lock, err := os.Open(state)
	if err != nil {
		return fault.E(op, fault.Precondition, folder, err)
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return fault.E(op, fault.Precondition, folder, fmt.Errorf("can't lock %s: %w", folder, err))
	}
	b, err := j.Read()
	if err != nil {
		return err
	}
	former, err := json.Marshal(b)
	if err != nil {
		return fault.E(op, fault.Internal, journalFile, err)
	}
	if err := edit(&b); err != nil {
		return fault.E(op, fault.Precondition, journalFile, err)
	}
	text, err := json.Marshal(b)
	if err != nil {
		return fault.E(op, fault.Internal, journalFile, err)
	}
	if string(text) == string(former) {
		return nil
	}
	if err := renameio.WriteFile(j.at(journalFile), text, 0o600, renameio.WithTempDir(state)); err != nil {
		return fault.E(op, fault.Precondition, journalFile, fmt.Errorf("can't write %s: %w", journalFile, err)).
			WithHint("make room on the host's disk")
	}
	return nil
}

// Read returns what the journal holds; an empty book when there is none. Precondition when it is damaged.
func (j *Journal) Read() (Book, error) {
	b := Book{Files: map[string]Entry{}}
	text, err := os.ReadFile(j.at(journalFile))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return b, nil
	case err != nil:
		return b, fault.E("journal.Read", fault.Precondition, journalFile, err)
	}
	if err := json.Unmarshal(text, &b); err != nil {
		return b, fault.E("journal.Read", fault.Precondition, journalFile, fmt.Errorf("%s is damaged: %w", journalFile, err)).
			WithHint("put it back from a backup, or delete it to let everything stay as it is")
	}
	if b.Files == nil {
		b.Files = map[string]Entry{}
	}
	return b, nil
}

func (j *Journal) at(path string) string { return filepath.Join(j.root, path) }
