package bolt

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"

	bbolt "go.etcd.io/bbolt"

	"mctl/internal/controller/store"
	"mctl/internal/fault"
)

// What shares one transaction, at most.
const (
	maxGroup      = 1000     // writes
	maxGroupBytes = 16 << 20 // of values
)

// write is the only writer. Whatever waits when a transaction begins shares it and its fsync; a write that is refused
// leaves nothing in it and does not harm its neighbours.
func (s *Store) write(ctx context.Context) {
	defer close(s.done)
	debug.SetPanicOnFault(true) // of this goroutine; see reading
	for {
		var group []*write
		select {
		case <-ctx.Done():
			return
		case w := <-s.writes:
			group = append(group, w)
		}
		// Those who were just answered may have their next write at hand: they run first.
		runtime.Gosched()
	gather:
		for size := group[0].size; len(group) < maxGroup && size < maxGroupBytes; {
			select {
			case w := <-s.writes:
				group = append(group, w)
				size += w.size
			default:
				break gather
			}
		}
		s.commit(group)
	}
}

func (s *Store) commit(group []*write) {
	results := make([]outcome, len(group))
	var changes []store.Change
	err := s.guarded(func(tx *bbolt.Tx) error {
		bucket, revision := tx.Bucket(itemsBucket), readRevision(tx)
		for i, w := range group {
			change, err := w.apply(bucket, revision+1)
			if err != nil {
				results[i] = outcome{err: err}
				continue
			}
			revision++
			results[i] = outcome{revision: revision}
			changes = append(changes, change)
		}
		if len(changes) == 0 {
			return errNothing
		}
		var raw [8]byte
		binary.BigEndian.PutUint64(raw[:], uint64(revision))
		return tx.Bucket(metaBucket).Put(revisionKey, raw[:])
	})
	switch {
	case err == nil || s.landed(changes):
		s.watches.send(changes)
	case errors.Is(err, errNothing):
		err = nil
	}
	for i, w := range group {
		if err != nil && results[i].err == nil {
			results[i] = outcome{err: s.failed(w.key, err)}
		}
		w.result <- results[i]
	}
}

// errNothing rolls a transaction back in which every write was refused.
var errNothing = fault.New("bolt.commit", fault.Internal, "", "nothing to commit")

// landed reports whether a transaction that ended with an error is nevertheless what readers now see, as happens when the
// very last fsync fails. Its writers are told of the error, and watchers of the changes.
func (s *Store) landed(changes []store.Change) bool {
	if len(changes) == 0 {
		return false
	}
	var revision store.Revision
	err := s.read(func(tx *bbolt.Tx) error {
		revision = readRevision(tx)
		return nil
	})
	return err == nil && revision == changes[len(changes)-1].Revision
}

func (s *Store) failed(key string, cause error) error {
	var damage *fault.Error
	switch {
	case errors.As(cause, &damage):
		return damage
	case noRoom(cause):
		s.logger.Warn("no room for the store", "path", s.path, "error", cause)
		return fault.E("bolt.commit", fault.Quota, key, fmt.Errorf("no room to write to the store: %w", cause)).
			WithHint("make room on the disk of " + s.path)
	}
	s.logger.Error("cannot write to the store", "path", s.path, "error", cause)
	return fault.E("bolt.commit", fault.Unavailable, key, fmt.Errorf("write to the store: %w", cause)).
		WithHint("see whether the disk of " + s.path + " is in order")
}

// noRoom goes by the words also: bbolt does not wrap the error of a file that can't grow.
func noRoom(err error) bool {
	return slices.ContainsFunc([]syscall.Errno{syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG}, func(code syscall.Errno) bool {
		return errors.Is(err, code) || strings.Contains(err.Error(), code.Error())
	})
}

// guarded turns bbolt's panic over a damaged page into an error.
func (s *Store) guarded(update func(*bbolt.Tx) error) (err error) {
	if s.wreck != nil {
		return s.wreck
	}
	defer func() {
		if p := recover(); p != nil {
			s.wreck = s.broken(panicked(p))
			err = s.wreck
		}
	}()
	return s.update(update)
}
