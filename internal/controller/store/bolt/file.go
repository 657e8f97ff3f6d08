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
	"strconv"
	"strings"

	bbolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"mctl/internal/controller/store"
	"mctl/internal/fault"
)

// schema is the layout that this build reads and writes.
const schema = 1

// create makes the first file whole or not at all: a temporary one, renamed, with the directory synced, so that a power
// cut leaves no half a file. A file that is there is left alone.
func create(path string) error {
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return unreadable(path, err)
	}
	temporary := fmt.Sprintf("%s.new-%d", path, os.Getpid())
	defer os.Remove(temporary)
	db, err := bbolt.Open(temporary, 0o600, nil)
	if err != nil {
		return unreadable(path, err)
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
	if err := errors.Join(err, db.Close()); err != nil {
		return unreadable(path, err)
	}
	// A link fails where a rename would put an empty store over one that another process has just made.
	if err := os.Link(temporary, path); err != nil && !errors.Is(err, fs.ErrExist) {
		return unreadable(path, err)
	}
	directory, err := os.Open(filepath.Dir(path))
	if err != nil {
		return unreadable(path, err)
	}
	defer directory.Close()
	return unreadable(path, directory.Sync())
}

func open(config Config) (db *bbolt.DB, revision store.Revision, err error) {
	// A damaged page can point outside of the mapped file; that shall be a panic, which is caught, and no end of the process.
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = damaged(config.Path, fmt.Errorf("%v", p))
		}
	}()
	db, err = bbolt.Open(config.Path, 0o600, &bbolt.Options{Timeout: config.LockWait, FreelistType: bbolt.FreelistMapType})
	switch {
	case errors.Is(err, bolterrors.ErrTimeout):
		return nil, 0, fault.E("bolt.Open", fault.Precondition, config.Path, fmt.Errorf("the store %s is held by %s", config.Path, owner(config.Path))).
			WithHint("stop that process, or use another state directory")
	case errors.Is(err, fs.ErrPermission):
		return nil, 0, unreadable(config.Path, err)
	case err != nil:
		return nil, 0, damaged(config.Path, err)
	}
	err = db.View(func(tx *bbolt.Tx) error {
		meta := tx.Bucket(metaBucket)
		if meta == nil || tx.Bucket(itemsBucket) == nil {
			return damaged(config.Path, errors.New("it is no store of mctl's"))
		}
		raw := meta.Get(schemaKey)
		if len(raw) != 8 {
			return damaged(config.Path, errors.New("it names no schema"))
		}
		if found := binary.BigEndian.Uint64(raw); found > schema {
			return fault.E("bolt.Open", fault.Precondition, config.Path,
				fmt.Errorf("the store %s was written by a newer mctl (schema %d, this one knows %d)", config.Path, found, schema)).
				WithHint("upgrade mctl")
		}
		revision = readRevision(tx)
		return verify(tx, config.Path)
	})
	if err != nil {
		return nil, 0, errors.Join(err, db.Close())
	}
	noteOwner(config.Path)
	return db, revision, nil
}

// verify reads every item once, so that a damaged page is found now and not in the middle of some later act.
func verify(tx *bbolt.Tx, path string) error {
	touched := 0
	err := tx.Bucket(itemsBucket).ForEach(func(key, raw []byte) error {
		if len(key) == 0 || len(raw) < 8 || len(key) > maxKey || len(raw) > maxValue+8 {
			return damaged(path, errors.New("an item in it is cut off"))
		}
		touched += int(key[len(key)-1]) + int(raw[len(raw)-1])
		return nil
	})
	runtime.KeepAlive(touched)
	return err
}

func damaged(path string, cause error) error {
	return fault.E("bolt.Open", fault.Precondition, path, fmt.Errorf("the store %s is damaged: %w", path, cause)).
		WithHint("put a backup in its place, or move it away to begin with an empty one")
}

func unreadable(path string, err error) error {
	if err == nil {
		return nil
	}
	return fault.E("bolt.Open", fault.Precondition, path, fmt.Errorf("the store can't be used: %w", err)).
		WithHint("see who owns " + filepath.Dir(path) + " and whether there is room")
}

// The lock says that somebody holds the file, not who; a note beside it does. It may be stale, so it is believed only
// while that process lives.
func noteOwner(path string) {
	_ = os.WriteFile(path+".pid", []byte(strconv.Itoa(os.Getpid())), 0o600)
}

func forgetOwner(path string) { os.Remove(path + ".pid") }

func owner(path string) string {
	text, _ := os.ReadFile(path + ".pid")
	pid := strings.TrimSpace(string(text))
	if _, err := strconv.Atoi(pid); err != nil {
		return "another process"
	}
	command, err := os.ReadFile("/proc/" + pid + "/comm")
	if err != nil {
		return "another process"
	}
	return fmt.Sprintf("process %s (%s)", pid, strings.TrimSpace(string(command)))
}
