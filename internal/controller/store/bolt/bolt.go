// Package bolt keeps the store in one bbolt file. The file is locked to one process, so changes are broadcast in that
// process after each commit, and revisions are counted in the file.
package bolt

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	bbolt "go.etcd.io/bbolt"

	"mctl/internal/controller/store"
	"mctl/internal/fault"
)

// Limits of a key and a value, in bytes, as store.Store promises.
const (
	maxKey   = 512
	maxValue = 1 << 20
)

var (
	itemsBucket = []byte("items") // key → revision (8 bytes, big endian) + value
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
	writes  chan *write
	watches *broadcast
	stop    context.CancelFunc
	done    chan struct{}
	closing sync.Once
	path    string
}

// write is one wish for the writer: check and put run inside its transaction.
type write struct {
	key    string
	apply  func(bucket *bbolt.Bucket, next store.Revision) (store.Change, error)
	result chan outcome
}

type outcome struct {
	revision store.Revision
	err      error
}

// Open opens the file, or makes it. A file of a newer schema, one that another process holds and one that is damaged are
// fault.Precondition with a hint.
func Open(ctx context.Context, config Config) (*Store, error) {
	if config.LockWait == 0 {
		config.LockWait = time.Second
	}
	if err := create(config.Path); err != nil {
		return nil, err
	}
	db, revision, err := open(config)
	if err != nil {
		return nil, err
	}
	writerCtx, stop := context.WithCancel(context.WithoutCancel(ctx))
	s := &Store{
		db: db, writes: make(chan *write), watches: newBroadcast(revision), stop: stop, done: make(chan struct{}), path: config.Path,
	}
	go s.write(writerCtx)
	return s, nil
}

// Get implements store.Store.
func (s *Store) Get(_ context.Context, key string) (item store.Item, err error) {
	err = s.db.View(func(tx *bbolt.Tx) error {
		raw := tx.Bucket(itemsBucket).Get([]byte(key))
		if raw == nil {
			return notFound(key)
		}
		item = decode([]byte(key), raw)
		return nil
	})
	return item, closedAs(err)
}

// List implements store.Store.
func (s *Store) List(_ context.Context, prefix string) (items []store.Item, revision store.Revision, err error) {
	err = s.db.View(func(tx *bbolt.Tx) error {
		cursor := tx.Bucket(itemsBucket).Cursor()
		for key, raw := cursor.Seek([]byte(prefix)); key != nil && strings.HasPrefix(string(key), prefix); key, raw = cursor.Next() {
			items = append(items, decode(key, raw))
		}
		revision = readRevision(tx)
		return nil
	})
	return items, revision, closedAs(err)
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
	return s.submit(ctx, key, func(bucket *bbolt.Bucket, next store.Revision) (store.Change, error) {
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
		err = s.db.Close()
		forgetOwner(s.path)
	})
	return err
}

func (s *Store) put(ctx context.Context, key string, value []byte, check func(found []byte) error) (store.Revision, error) {
	if len(key) == 0 || len(key) > maxKey || len(value) > maxValue {
		return 0, fault.E("bolt.put", fault.Invalid, key, fmt.Errorf("a key has 1 to %d bytes and a value at most %d", maxKey, maxValue))
	}
	return s.submit(ctx, key, func(bucket *bbolt.Bucket, next store.Revision) (store.Change, error) {
		if err := check(bucket.Get([]byte(key))); err != nil {
			return store.Change{}, err
		}
		change := store.Change{Item: store.Item{Key: key, Value: append([]byte{}, value...), Revision: next}}
		return change, bucket.Put([]byte(key), encode(next, value))
	})
}

func (s *Store) submit(ctx context.Context, key string, apply func(*bbolt.Bucket, store.Revision) (store.Change, error)) (store.Revision, error) {
	w := &write{key: key, apply: apply, result: make(chan outcome, 1)}
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

func closedAs(err error) error {
	if errors.Is(err, bbolt.ErrDatabaseNotOpen) || errors.Is(err, os.ErrClosed) { //nolint:staticcheck // the alias is what View returns
		return errClosed()
	}
	return err
}

func encode(revision store.Revision, value []byte) []byte {
	raw := make([]byte, 8, 8+len(value))
	binary.BigEndian.PutUint64(raw, uint64(revision))
	return append(raw, value...)
}

// decode copies, since bbolt's memory lasts only as long as its transaction.
func decode(key, raw []byte) store.Item {
	return store.Item{Key: string(key), Value: append([]byte{}, raw[8:]...), Revision: revisionOf(raw)}
}

func revisionOf(raw []byte) store.Revision { return store.Revision(binary.BigEndian.Uint64(raw)) }

func readRevision(tx *bbolt.Tx) store.Revision {
	raw := tx.Bucket(metaBucket).Get(revisionKey)
	if len(raw) != 8 {
		return 0
	}
	return store.Revision(binary.BigEndian.Uint64(raw))
}
