package storetest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mctl/internal/controller/store"
	"mctl/internal/fault"
)

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

func watchEnds(t *testing.T, s store.Store) {
	first := must(s.Create(t.Context(), "a", nil))(t)
	must(s.Create(t.Context(), "b", nil))(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	seen := 0
	for _, err := range s.Watch(ctx, "", first-1) {
		if err != nil {
			t.Fatalf("its end is no fault of the store's: %v", err)
		}
		seen++
		cancel()
	}
	if seen != 1 {
		t.Errorf("%d changes, want the one before the context ended", seen)
	}
	again := s.Watch(t.Context(), "", first-1)
	for range 2 { // and the same sequence begins anew
		for change, err := range again {
			if err != nil || change.Key != "a" {
				t.Errorf("got %+v, %v", change, err)
			}
			break
		}
	}
}

// rebuild has writers at work while watchers begin at any moment: what each listed, with the changes that it saw after,
// must be the store as it is in the end.
func rebuild(t *testing.T, s store.Store) {
	const workers, writes = 8, 60
	var writers, watchers sync.WaitGroup
	end := make(chan store.Revision, workers) // one for each watcher
	for w := range workers {
		writers.Go(func() { scribble(t, s, rand.New(rand.NewPCG(uint64(w), 1)), writes) })
		watchers.Go(func() { follow(t, s, end) })
	}
	writers.Wait()
	last := must(s.Create(t.Context(), "k/last", nil))(t)
	for range workers {
		end <- last
	}
	watchers.Wait()
}

// scribble creates, updates and deletes a few keys that it shares with others.
func scribble(t *testing.T, s store.Store, random *rand.Rand, times int) {
	for i := range times {
		key := fmt.Sprintf("k/%d", random.IntN(10))
		item, err := s.Get(t.Context(), key)
		switch {
		case fault.Is(err, fault.NotFound):
			_, err = s.Create(t.Context(), key, fmt.Append(nil, i))
		case err == nil && random.IntN(3) == 0:
			_, err = s.Delete(t.Context(), key, item.Revision)
		case err == nil:
			_, err = s.Update(t.Context(), key, fmt.Append(nil, i), item.Revision)
		}
		if err != nil && !fault.Is(err, fault.Exists) && !fault.Is(err, fault.NotFound) && !fault.Is(err, fault.Conflict) {
			t.Error(err)
			return
		}
	}
}

func follow(t *testing.T, s store.Store, end <-chan store.Revision) {
	items, from, err := s.List(t.Context(), "k/")
	if err != nil {
		t.Error(err)
		return
	}
	state := map[string]store.Item{}
	for _, item := range items {
		state[item.Key] = item
	}
	last := from
	for change, err := range s.Watch(t.Context(), "k/", from) {
		if err != nil || change.Revision <= last {
			t.Errorf("got %+v, %v after revision %d", change, err, last)
			return
		}
		last = change.Revision
		if change.Deleted {
			delete(state, change.Key)
		} else {
			state[change.Key] = change.Item
		}
		if change.Key == "k/last" {
			break
		}
	}
	if want := <-end; last != want {
		t.Errorf("the last change has revision %d, want %d", last, want)
	}
	items, _, err = s.List(t.Context(), "k/")
	if err != nil {
		t.Error(err)
	}
	final := map[string]store.Item{}
	for _, item := range items {
		final[item.Key] = item
	}
	if diff := cmp.Diff(final, state); diff != "" {
		t.Errorf("the store (-) and what the watcher makes of it (+):\n%s", diff)
	}
}

// history is more than any backend is asked to keep.
const history = 10_000

func fill(t *testing.T, s store.Store) {
	t.Helper()
	var writers sync.WaitGroup
	for w := range 200 {
		writers.Go(func() {
			for i := range history / 200 {
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

func future(t *testing.T, s store.Store) {
	revision := must(s.Create(t.Context(), "a", nil))(t)
	for _, err := range s.Watch(t.Context(), "", revision+1) {
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
	t.Error("the watch ended without a word")
}
