package bolt

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"syscall"

	bbolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"mctl/internal/controller/store"
	"mctl/internal/fault"
)

// schema is the layout that this build reads and writes.
const schema = 1

// create makes the first file whole or not at all: a temporary one, moved into place, with the directory synced, so that a
// power cut leaves no half a file. A file that is there is left alone.
func create(path string) error {
	switch info, err := os.Stat(path); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return unreadable(path, err)
	case !info.Mode().IsRegular():
		return unreadable(path, fmt.Errorf("%s is no file", path))
	case info.Size() == 0: // bbolt would take it for a new one, and everything would seem to be gone
		return damaged(path, errors.New("the file is empty"))
	default: // its maker may have been killed before the directory was synced
		return unreadable(path, syncDirectory(filepath.Dir(path)))
	}
	temporary, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".new-*") // 0600
	if err != nil {
		return unreadable(path, err)
	}
	defer os.Remove(temporary.Name())
	if err := errors.Join(temporary.Close(), initialize(temporary.Name())); err != nil {
		return unreadable(path, err)
	}
	// A link fails where a rename would put an empty store over one that another process has just made.
	if err := os.Link(temporary.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return unreadable(path, err)
	}
	return unreadable(path, syncDirectory(filepath.Dir(path)))
}

func syncDirectory(path string) error {
	directory, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(directory.Sync(), directory.Close())
}

func initialize(path string) error {
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		return err
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		if _, err := tx.CreateBucket(itemsBucket); err != nil {
			return err
		}
		meta, err := tx.CreateBucket(metaBucket)
		if err != nil {
			return err
		}
		return meta.Put(schemaKey, binary.BigEndian.AppendUint64(nil, schema))
	})
	return errors.Join(err, db.Close())
}

func open(config Config) (db *bbolt.DB, file *os.File, revision store.Revision, err error) {
	opened, file, err := openFile(config)
	if err != nil {
		return nil, nil, 0, err
	}
	err = reading(opened, func(tx *bbolt.Tx) error {
		if err := knownSchema(tx, config.Path); err != nil {
			return err
		}
		revision = readRevision(tx)
		return verify(tx, revision)
	})
	if err == nil {
		return opened, file, revision, nil
	}
	var refused *fault.Error
	if !errors.As(err, &refused) {
		refused = damaged(config.Path, err)
	}
	if err := opened.Close(); err != nil {
		config.Logger.Warn("cannot close the store", "path", config.Path, "error", err)
	}
	return nil, nil, 0, refused
}

// openFile locks and maps the file. bbolt reads its list of free pages here, and may panic over it.
func openFile(config Config) (db *bbolt.DB, file *os.File, err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			file.Close() // and with it goes the lock
			db, file, err = nil, nil, damaged(config.Path, panicked(p))
		}
	}()
	db, err = bbolt.Open(config.Path, 0o600, &bbolt.Options{
		Timeout: config.LockWait, FreelistType: bbolt.FreelistMapType,
		OpenFile: func(name string, flag int, mode os.FileMode) (*os.File, error) {
			file, err = os.OpenFile(name, flag, mode)
			return file, err
		},
	})
	switch {
	case err == nil:
		return db, file, nil
	case errors.Is(err, bolterrors.ErrTimeout):
		return nil, nil, fault.E("bolt.Open", fault.Precondition, config.Path, fmt.Errorf("the store %s is held by %s", config.Path, owner(config.Path))).
			WithHint("stop that process, or use another state directory")
	case errors.As(err, new(syscall.Errno)):
		return nil, nil, unreadable(config.Path, err)
	}
	return nil, nil, damaged(config.Path, err)
}

func knownSchema(tx *bbolt.Tx, path string) error {
	meta := tx.Bucket(metaBucket)
	if meta == nil || tx.Bucket(itemsBucket) == nil {
		return damaged(path, errors.New("it is no store of mctl's"))
	}
	raw := meta.Get(schemaKey)
	if len(raw) != 8 {
		return damaged(path, errors.New("it names no schema"))
	}
	if found := binary.BigEndian.Uint64(raw); found > schema {
		return fault.E("bolt.Open", fault.Precondition, path,
			fmt.Errorf("the store %s was written by a newer mctl (schema %d, this one knows %d)", path, found, schema)).
			WithHint("upgrade mctl")
	}
	return nil
}

// verify reads every item, then lets bbolt check that each page is used once, so that damage is found now and not in the
// middle of some later act; 100,000 items of 1 kB take 30 ms. The items come first and in this goroutine: bbolt checks in
// one of its own, where a page beyond the end of the file could not be caught.
func verify(tx *bbolt.Tx, revision store.Revision) error {
	err := tx.Bucket(itemsBucket).ForEach(func(key, raw []byte) error {
		if err := sound(key, raw); err != nil {
			return err
		}
		if revisionOf(raw) > revision {
			return errors.New("an item in it is newer than the store")
		}
		return nil
	})
	if err != nil {
		return err
	}
	var first error
	for err := range tx.Check() { // to its end, else its goroutine stays
		if first == nil {
			first = err
		}
	}
	return first
}

// reading runs a read-only transaction. Over a damaged page bbolt panics, or reads beyond the mapped file; both become an
// error here and no end of the process.
func reading(db *bbolt.DB, do func(*bbolt.Tx) error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = panicked(p)
		}
	}()
	return db.View(do)
}

// panicked puts a panic over a damaged page into words.
func panicked(p any) error {
	if _, ok := p.(runtime.Error); ok {
		return errors.New("a page of it can't be read")
	}
	return fmt.Errorf("%v", p)
}

func damaged(path string, cause error) *fault.Error {
	return fault.E("bolt.Open", fault.Precondition, path, fmt.Errorf("the store %s is damaged: %w", path, cause)).
		WithHint("put a backup in its place, or move it away to begin with an empty one")
}

// unreadable is nil for nil.
func unreadable(path string, err error) error {
	if err == nil {
		return nil
	}
	return fault.E("bolt.Open", fault.Precondition, path, fmt.Errorf("the store can't be used: %w", err)).
		WithHint("see who owns " + filepath.Dir(path) + " and whether there is room")
}
