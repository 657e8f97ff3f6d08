// Package storetest is the contract that every backend of the store passes.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"mctl/internal/controller/store"
	"mctl/internal/fault"
)

// Run holds a backend against the contract. open returns an empty store that the test closes.
func Run(t *testing.T, open func(t *testing.T) store.Store) {
	for name, test := range map[string]func(*testing.T, store.Store){
		"what is created is there once":                   createOnce,
		"an update needs the revision it was read at":     updateAtRevision,
		"a deletion needs the revision, or none":          deleteAtRevision,
		"a list is in order and under its prefix":         listInOrder,
		"a list's revision is where a watch begins":       watchFromList,
		"a watch sees each change once, in order":         watchInOrder,
		"many writers lose nothing":                       manyWriters,
		"a watch that is too far behind is told":          resync,
		"one that is slow holds nobody up":                slowWatcher,
		"keys and values have limits":                     limits,
		"a store that is closed says so and ends watches": closed,
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t)
			t.Cleanup(func() {
				if err := s.Close(); err != nil {
					t.Errorf("Close: %v", err)
				}
			})
			test(t, s)
		})
	}
}

func createOnce(t *testing.T, s store.Store) {
	revision := must(s.Create(t.Context(), "a/1", []byte("one")))(t)
	if item := must(s.Get(t.Context(), "a/1"))(t); string(item.Value) != "one" || item.Revision != revision || item.Key != "a/1" {
		t.Errorf("got %+v", item)
	}
	_, err := s.Create(t.Context(), "a/1", []byte("two"))
	wantKind(t, err, fault.Exists)
	_, err = s.Get(t.Context(), "a/2")
	wantKind(t, err, fault.NotFound)
}

func updateAtRevision(t *testing.T, s store.Store) {
	first := must(s.Create(t.Context(), "a", []byte("1")))(t)
	second := must(s.Update(t.Context(), "a", []byte("2"), first))(t)
	if second <= first {
		t.Errorf("revision %d after %d", second, first)
	}
	_, err := s.Update(t.Context(), "a", []byte("3"), first)
	wantKind(t, err, fault.Conflict)
	_, err = s.Update(t.Context(), "b", []byte("3"), first)
	wantKind(t, err, fault.NotFound)
	if item := must(s.Get(t.Context(), "a"))(t); string(item.Value) != "2" {
		t.Errorf("value %q", item.Value)
	}
}

func deleteAtRevision(t *testing.T, s store.Store) {
	first := must(s.Create(t.Context(), "a", []byte("1")))(t)
	second := must(s.Update(t.Context(), "a", nil, first))(t)
	_, err := s.Delete(t.Context(), "a", first)
	wantKind(t, err, fault.Conflict)
	must(s.Delete(t.Context(), "a", second))(t)
	_, err = s.Delete(t.Context(), "a", 0)
	wantKind(t, err, fault.NotFound)
	again := must(s.Create(t.Context(), "a", []byte("new")))(t)
	if again <= second {
		t.Errorf("a key that is made again has revision %d after %d", again, second)
	}
	must(s.Delete(t.Context(), "a", 0))(t)
}

func listInOrder(t *testing.T, s store.Store) {
	for _, key := range []string{"b/2", "a/1", "b/10", "b/1", "c"} {
		must(s.Create(t.Context(), key, []byte(key)))(t)
	}
	items, _, err := s.List(t.Context(), "b/")
	if err != nil {
		t.Fatal(err)
	}
	var keys []string
	for _, item := range items {
		keys = append(keys, item.Key)
	}
	if want := []string{"b/1", "b/10", "b/2"}; !slices.Equal(keys, want) {
		t.Errorf("got %v, want %v", keys, want)
	}
}

func watchFromList(t *testing.T, s store.Store) {
	must(s.Create(t.Context(), "a/before", nil))(t)
	_, revision, err := s.List(t.Context(), "a/")
	if err != nil {
		t.Fatal(err)
	}
	must(s.Create(t.Context(), "a/after", nil))(t)
	for change, err := range s.Watch(t.Context(), "a/", revision) {
		if err != nil || change.Key != "a/after" {
			t.Fatalf("got %+v, %v", change, err)
		}
		return
	}
}

func watchInOrder(t *testing.T, s store.Store) {
	_, from, err := s.List(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	const n = 200
	var writer sync.WaitGroup
	writer.Go(func() {
		for i := range n {
			key := fmt.Sprintf("k/%03d", i)
			revision, err := s.Create(t.Context(), key, nil)
			if err == nil && i%2 == 0 {
				_, err = s.Delete(t.Context(), key, revision)
			}
			if err == nil {
				_, err = s.Create(t.Context(), "other/"+key, nil)
			}
			if err != nil {
				t.Error(err)
			}
		}
	})
	defer writer.Wait()
	seen, last := 0, from
	for change, err := range s.Watch(t.Context(), "k/", from) {
		if err != nil {
			t.Fatal(err)
		}
		if change.Revision <= last || !strings.HasPrefix(change.Key, "k/") {
			t.Fatalf("got %+v after revision %d", change, last)
		}
		last = change.Revision
		if seen++; seen == n+n/2 {
			return
		}
	}
}

func manyWriters(t *testing.T, s store.Store) {
	must(s.Create(t.Context(), "counter", []byte{0, 0}))(t)
	var writers sync.WaitGroup
	const workers, times = 20, 20
	for range workers {
		writers.Go(func() {
			for range times {
				for {
					item, err := s.Get(t.Context(), "counter")
					if err != nil {
						t.Error(err)
						return
					}
					n := int(item.Value[0])<<8 + int(item.Value[1]) + 1
					_, err = s.Update(t.Context(), "counter", []byte{byte(n >> 8), byte(n)}, item.Revision)
					if err == nil {
						break
					}
					if !fault.Is(err, fault.Conflict) {
						t.Error(err)
						return
					}
				}
			}
		})
	}
	writers.Wait()
	item := must(s.Get(t.Context(), "counter"))(t)
	if n := int(item.Value[0])<<8 + int(item.Value[1]); n != workers*times {
		t.Errorf("counted %d, want %d", n, workers*times)
	}
}

// history is more than any backend is asked to keep.
const history = 20_000

func fill(t *testing.T, s store.Store) {
	t.Helper()
	var writers sync.WaitGroup
	for w := range 100 {
		writers.Go(func() {
			for i := range history / 100 {
				if _, err := s.Create(t.Context(), fmt.Sprintf("fill/%d/%d", w, i), nil); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	writers.Wait()
}

func resync(t *testing.T, s store.Store) {
	from := must(s.Create(t.Context(), "a", nil))(t)
	fill(t, s)
	for _, err := range s.Watch(t.Context(), "", from) {
		wantKind(t, err, fault.Resync)
		return
	}
	t.Error("the watch ended without a word")
}

func slowWatcher(t *testing.T, s store.Store) {
	from := must(s.Create(t.Context(), "a", nil))(t)
	must(s.Create(t.Context(), "b", nil))(t)
	first := true
	for _, err := range s.Watch(t.Context(), "", from) {
		if first {
			if err != nil {
				t.Fatal(err)
			}
			fill(t, s) // while this watcher does not read: no write may wait for it
			first = false
			continue
		}
		if err == nil {
			continue // what it had been given already
		}
		wantKind(t, err, fault.Resync)
		return
	}
}

func limits(t *testing.T, s store.Store) {
	for name, c := range map[string]struct {
		key   string
		value int
	}{
		"empty key": {"", 1}, "long key": {strings.Repeat("k", 513), 1}, "large value": {"k", 1<<20 + 1},
	} {
		_, err := s.Create(t.Context(), c.key, make([]byte, c.value))
		if !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	must(s.Create(t.Context(), strings.Repeat("k", 512), make([]byte, 1<<20)))(t)
}

func closed(t *testing.T, s store.Store) {
	revision := must(s.Create(t.Context(), "a", nil))(t)
	ended := make(chan error, 1)
	go func() {
		for _, err := range s.Watch(context.Background(), "", revision) {
			ended <- err
			return
		}
		ended <- errors.New("it ended without a word")
	}()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	wantKind(t, <-ended, fault.Unavailable)
	_, err := s.Get(t.Context(), "a")
	wantKind(t, err, fault.Unavailable)
	_, err = s.Create(t.Context(), "b", nil)
	wantKind(t, err, fault.Unavailable)
}

// must unwraps a result: must(f())(t).
func must[T any](value T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
}

func wantKind(t *testing.T, err error, kind fault.Kind) {
	t.Helper()
	if !fault.Is(err, kind) {
		t.Errorf("got %v (%s), want %s", err, fault.KindOf(err), kind)
	}
}
