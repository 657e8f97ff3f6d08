// Package bolt keeps the store in one bbolt file. The file is locked to one process, so changes are broadcast in that
// process after each commit, and revisions are counted in the file.
package bolt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	bbolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"mctl/internal/controller/store"
	"mctl/internal/fault"
)

// Limits of a key and a value, in bytes, as store.Store promises.
const (
	maxKey   = 512
	maxValue = 1 << 20
)

var (
	itemsBucket = []byte("items") // see encode
	metaBucket  = []byte("meta")
	schemaKey   = []byte("schema")
	revisionKey = []byte("revision")
)

// Config is what a store needs.
type Config struct {
	Path   string // of the file; its directory must be there
	Logger hclog.Logger
	// LockWait is how long another process may hold the file; zero means one second.
	LockWait time.Duration
}

// Store is the store over one file.
type Store struct {
	db      *bbolt.DB
	file    *os.File // of db
	writes  chan *write
	watches *broadcast
	stop    context.CancelFunc
	done    chan struct{}
	closing sync.Once
	path    string
	logger  hclog.Logger
	update  func(func(*bbolt.Tx) error) error // one transaction; another one in tests
	// wreck is why a write ended in a panic, which may leave bbolt's lock held: no other is tried. The writer's until done.
	wreck error
}

// write is one wish for the writer: check and put run inside its transaction.
type write struct {
	key    string
	size   int // of the value, in bytes
	apply  func(bucket *bbolt.Bucket, next store.Revision) (store.Change, error)
	result chan outcome
}

type outcome struct {
	revision store.Revision
	err      error
}

// Open opens the file, or makes it. A file of a newer schema, one that another process holds and one that is damaged are
// fault.Precondition with a hint. The context's end does not close the store.
func Open(ctx context.Context, config Config) (*Store, error) {
	if config.LockWait == 0 {
		config.LockWait = time.Second
	}
	if config.Logger == nil {
		config.Logger = hclog.NewNullLogger()
	}
	begun := time.Now()
	if err := create(config.Path); err != nil {
		return nil, err
	}
	db, file, revision, err := open(config)
	if err != nil {
		return nil, err
	}
	config.Logger.Debug("store opened", "path", config.Path, "revision", revision, "took", time.Since(begun))
	writerCtx, stop := context.WithCancel(context.WithoutCancel(ctx))
	s := &Store{
		db: db, file: file, writes: make(chan *write), watches: newBroadcast(revision), stop: stop, done: make(chan struct{}),
		path: config.Path, logger: config.Logger, update: db.Update,
	}
	go s.write(writerCtx)
	return s, nil
}

// Get implements store.Store.
func (s *Store) Get(_ context.Context, key string) (item store.Item, err error) {
	err = s.read(func(tx *bbolt.Tx) error {
		raw := tx.Bucket(itemsBucket).Get([]byte(key))
		if raw == nil {
			return notFound(key)
		}
		item, err = decode([]byte(key), raw)
		return err
	})
	return item, err
}

// List implements store.Store.
func (s *Store) List(_ context.Context, prefix string) (items []store.Item, revision store.Revision, err error) {
	err = s.read(func(tx *bbolt.Tx) error {
		cursor, under := tx.Bucket(itemsBucket).Cursor(), []byte(prefix)
		for key, raw := cursor.Seek(under); key != nil && bytes.HasPrefix(key, under); key, raw = cursor.Next() {
			item, err := decode(key, raw)
			if err != nil {
				return err
			}
			items = append(items, item)
		}
		revision = readRevision(tx)
		return nil
	})
	if err != nil {
		return nil, 0, err
	}
	return items, revision, nil
}

// read runs a read-only transaction. Damage that came after opening is fault.Internal.
func (s *Store) read(do func(*bbolt.Tx) error) error {
	err := reading(s.db, do)
	switch {
	case err == nil || errors.As(err, new(*fault.Error)):
		return err
	case errors.Is(err, bolterrors.ErrDatabaseNotOpen) || errors.Is(err, os.ErrClosed):
		return errClosed()
	}
	return s.broken(err)
}

// broken says that a page or an item can't be read, of a store that could when it was opened.
func (s *Store) broken(cause error) error {
	s.logger.Error("the store is damaged", "path", s.path, "error", cause)
	return fault.E("bolt", fault.Internal, s.path, fmt.Errorf("the store %s is damaged: %w", s.path, cause)).
		WithHint("stop the controller and put a backup in its place")
}

// Create implements store.Store.
func (s *Store) Create(ctx context.Context, key string, value []byte) (store.Revision, error) {
	return s.put(ctx, key, value, func(found []byte) error {
		if found != nil {
			return fault.E("bolt.Create", fault.Exists, key, fmt.Errorf("%s is there already", key))
		}
		return nil
	})
}

// Update implements store.Store.
func (s *Store) Update(ctx context.Context, key string, value []byte, at store.Revision) (store.Revision, error) {
	return s.put(ctx, key, value, func(found []byte) error { return unchanged(key, found, at) })
}

// Delete implements store.Store.
func (s *Store) Delete(ctx context.Context, key string, at store.Revision) (store.Revision, error) {
	return s.submit(ctx, key, 0, func(bucket *bbolt.Bucket, next store.Revision) (store.Change, error) {
		found := bucket.Get([]byte(key))
		if found == nil {
			return store.Change{}, notFound(key)
		}
		if at != 0 {
			if err := unchanged(key, found, at); err != nil {
				return store.Change{}, err
			}
		}
		change := store.Change{Item: store.Item{Key: key, Revision: next}, Deleted: true}
		return change, bucket.Delete([]byte(key))
	})
}

// Close implements store.Store.
func (s *Store) Close() error {
	var err error
	s.closing.Do(func() {
		s.stop()
		<-s.done
		s.watches.close()
		if s.wreck != nil {
			err = s.file.Close() // bbolt's own would wait for the lock for ever
			return
		}
		err = s.db.Close()
	})
	return err
}

func (s *Store) put(ctx context.Context, key string, value []byte, check func(found []byte) error) (store.Revision, error) {
	if len(key) == 0 || len(key) > maxKey || len(value) > maxValue {
		return 0, fault.E("bolt.put", fault.Invalid, key, fmt.Errorf("a key has 1 to %d bytes and a value at most %d", maxKey, maxValue))
	}
	return s.submit(ctx, key, len(value), func(bucket *bbolt.Bucket, next store.Revision) (store.Change, error) {
		if err := check(bucket.Get([]byte(key))); err != nil {
			return store.Change{}, err
		}
		change := store.Change{Item: store.Item{Key: key, Value: append([]byte{}, value...), Revision: next}}
		return change, bucket.Put([]byte(key), encode(key, next, value))
	})
}

func (s *Store) submit(ctx context.Context, key string, size int, apply func(*bbolt.Bucket, store.Revision) (store.Change, error)) (store.Revision, error) {
	w := &write{key: key, size: size, apply: apply, result: make(chan outcome, 1)}
	select {
	case s.writes <- w:
	case <-s.done:
		return 0, errClosed()
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	// A write that the writer has taken is waited for: its caller must know what came of it.
	result := <-w.result
	return result.revision, result.err
}

func unchanged(key string, found []byte, at store.Revision) error {
	if found == nil {
		return notFound(key)
	}
	if revisionOf(found) != at {
		return fault.E("bolt.Update", fault.Conflict, key, fmt.Errorf("%s was changed meanwhile", key))
	}
	return nil
}

func notFound(key string) error {
	return fault.E("bolt.Get", fault.NotFound, key, fmt.Errorf("%s is not there", key))
}

func errClosed() error {
	return fault.New("bolt", fault.Unavailable, "", "the store is closed")
}
