package bolt

import (
	"context"
	"encoding/binary"
	"fmt"

	bbolt "go.etcd.io/bbolt"

	"mctl/internal/controller/store"
	"mctl/internal/fault"
)

// maxGroup bounds how many writes share one transaction.
const maxGroup = 1000

// write is the only writer. Whatever waits when a transaction begins shares it and its fsync; a write that is refused
// leaves nothing in it and does not harm its neighbours.
func (s *Store) write(ctx context.Context) {
	defer close(s.done)
	for {
		var group []*write
		select {
		case <-ctx.Done():
			return
		case w := <-s.writes:
			group = append(group, w)
		}
	gather:
		for len(group) < maxGroup {
			select {
			case w := <-s.writes:
				group = append(group, w)
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
	if err == errNothing { //nolint:errorlint // it is ours and never wrapped
		err = nil
	}
	if err == nil {
		s.watches.send(changes)
	}
	for i, w := range group {
		if err != nil && results[i].err == nil {
			results[i] = outcome{err: fault.E("bolt.commit", fault.Unavailable, w.key, fmt.Errorf("write to the store: %w", err)).
				WithHint("see whether the disk is full")}
		}
		w.result <- results[i]
	}
}

// errNothing rolls a transaction back in which every write was refused.
var errNothing = fault.New("bolt.commit", fault.Internal, "", "nothing to commit")

// guarded turns bbolt's panic over a damaged page into an error.
func (s *Store) guarded(update func(*bbolt.Tx) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = damaged(s.path, fmt.Errorf("%v", p))
		}
	}()
	return s.db.Update(update)
}
