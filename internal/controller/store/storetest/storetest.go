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
		"a watch ends with its context or its loop":       watchEnds,
		"list and watch rebuild the store at any moment":  rebuild,
		"a refused write does its neighbours no harm":     neighbours,
		"what is handed out is the caller's own":          ownCopies,
		"a watch that is too far behind is told":          resync,
		"one from a revision yet to come is told":         future,
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
	revision := must(s.Create(t.Context(), strings.Repeat("k", 512), make([]byte, 1<<20)))(t)
	_, err := s.Update(t.Context(), strings.Repeat("k", 512), make([]byte, 1<<20+1), revision)
	wantKind(t, err, fault.Invalid)
}

func neighbours(t *testing.T, s store.Store) {
	must(s.Create(t.Context(), "taken", []byte("first")))(t)
	var writers sync.WaitGroup
	for i := range 100 {
		writers.Go(func() {
			key := "taken"
			if i%2 == 0 {
				key = fmt.Sprintf("free/%d", i)
			}
			_, err := s.Create(t.Context(), key, []byte("second"))
			if taken := fault.Is(err, fault.Exists); taken != (i%2 == 1) || !taken && err != nil {
				t.Errorf("%s: %v", key, err)
			}
		})
	}
	writers.Wait()
	if items, _, err := s.List(t.Context(), "free/"); err != nil || len(items) != 50 {
		t.Errorf("%d items, %v", len(items), err)
	}
	if item := must(s.Get(t.Context(), "taken"))(t); string(item.Value) != "first" {
		t.Errorf("a refused write left %q", item.Value)
	}
}

func ownCopies(t *testing.T, s store.Store) {
	value := []byte("value")
	must(s.Create(t.Context(), "a", value))(t)
	value[0] = 'X'
	must(s.Get(t.Context(), "a"))(t).Value[0] = 'Y'
	items, _, err := s.List(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	items[0].Value[0] = 'Z'
	if item := must(s.Get(t.Context(), "a"))(t); string(item.Value) != "value" {
		t.Errorf("the stored value became %q", item.Value)
	}
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
