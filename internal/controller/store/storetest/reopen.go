package storetest

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mctl/internal/controller/store"
	"mctl/internal/fault"
)

// Reopen holds a backend that persists against what must outlive a process. open returns the store of a directory, the same
// one each time; the test closes it.
func Reopen(t *testing.T, open func(t *testing.T, directory string) store.Store) {
	directory := t.TempDir()
	var want []store.Item
	var last store.Revision
	for round := range 4 {
		s := open(t, directory)
		items, revision, err := s.List(t.Context(), "")
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, items); diff != "" || revision < last {
			t.Errorf("round %d: revision %d after %d, items (-before +after):\n%s", round, revision, last, diff)
		}
		if round > 0 {
			watchOverReopening(t, s, last)
		}
		kept := must(s.Create(t.Context(), fmt.Sprintf("kept/%d", round), fmt.Append(nil, "value ", round)))(t)
		if kept <= last {
			t.Errorf("round %d: revision %d after %d", round, kept, last)
		}
		must(s.Create(t.Context(), "gone", nil))(t)
		last = must(s.Delete(t.Context(), "gone", 0))(t) // the newest revision is that of no item
		if want, _, err = s.List(t.Context(), ""); err != nil || len(want) != round+1 {
			t.Fatalf("round %d: %d items, %v", round, len(want), err)
		}
		for range 2 {
			if err := s.Close(); err != nil {
				t.Fatalf("Close: %v", err)
			}
		}
	}
}

// watchOverReopening holds that whoever resumes at the last revision misses nothing, and whoever resumes before it misses
// nothing or is told.
func watchOverReopening(t *testing.T, s store.Store, last store.Revision) {
	t.Helper()
	made := must(s.Create(t.Context(), "resumed", nil))(t)
	defer func() { must(s.Delete(t.Context(), "resumed", made))(t) }()
	for change, err := range s.Watch(t.Context(), "", last) {
		if err != nil || change.Revision != made {
			t.Errorf("from the last revision: %+v, %v", change, err)
		}
		break
	}
	for change, err := range s.Watch(t.Context(), "", last-1) {
		if !fault.Is(err, fault.Resync) && change.Revision != last {
			t.Errorf("from the one before: %+v, %v", change, err)
		}
		break
	}
}
