// Package store is the controller's memory: a revisioned key-value contract that bbolt and etcd fit alike. It knows no
// domain type. The contract stands here, beside its implementations, because it has several consumers and storetest needs a
// home for what every backend must do.
package store

import (
	"context"
	"iter"
)

// Revision counts writes to the whole store. Every write makes a new, greater one. Zero is never the revision of a write.
type Revision uint64

// Item is one key with its value.
type Item struct {
	Key      string
	Value    []byte
	Revision Revision // of the write that made this value
}

// Change is one write, as watchers see it.
type Change struct {
	Item         // Value is nil for a deletion; Revision is that of the write
	Deleted bool // the key is gone
}

// Store keeps keys under prefixes such as "machine/". All methods are safe for use at the same time. What a write
// acknowledged survives a crash. Keys are at most 512 bytes, values at most 1 MiB: larger is fault.Invalid. A store that is
// closed answers fault.Unavailable.
type Store interface {
	// Get returns the item of key, or fault.NotFound.
	Get(ctx context.Context, key string) (Item, error)
	// List returns all items under prefix in the order of their keys, and the revision of the store at which it was read:
	// watching from there misses nothing.
	List(ctx context.Context, prefix string) ([]Item, Revision, error)
	// Create writes a key that must not be there, else fault.Exists.
	Create(ctx context.Context, key string, value []byte) (Revision, error)
	// Update writes a key whose item must have the revision at, else fault.Conflict; fault.NotFound when it is gone.
	Update(ctx context.Context, key string, value []byte, at Revision) (Revision, error)
	// Delete removes a key whose item must have the revision at, else fault.Conflict; at zero removes any. fault.NotFound
	// when it is gone.
	Delete(ctx context.Context, key string, at Revision) (Revision, error)
	// Watch yields every change under prefix with a revision greater than from, in order, without gap or repetition, until
	// ctx ends or the loop breaks; the values are shared with other watchers and not to be changed. It ends with
	// fault.Resync when from is older than what is kept or yet to come, or when the loop is too slow: list again and watch
	// from the list's revision.
	Watch(ctx context.Context, prefix string, from Revision) iter.Seq2[Change, error]
	// Close ends all watches and frees the backend. It may be repeated.
	Close() error
}
