package bolt

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	bbolt "go.etcd.io/bbolt"
	"go.uber.org/goleak"

	"mctl/internal/controller/store"
	"mctl/internal/controller/store/storetest"
	"mctl/internal/fault"
)

func TestMain(m *testing.M) {
	if act := os.Getenv("BOLT_TEST_ACT"); act != "" {
		os.Exit(actAs(act, os.Getenv("BOLT_TEST_PATH")))
	}
	goleak.VerifyTestMain(m)
}

func openAt(t testing.TB, path string) (*Store, error) {
	t.Helper()
	return Open(t.Context(), Config{Path: path, Logger: hclog.NewNullLogger(), LockWait: 100 * time.Millisecond})
}

func mustOpen(t testing.TB, path string) *Store {
	t.Helper()
	s, err := openAt(t, path)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestContract(t *testing.T) {
	storetest.Run(t, func(t *testing.T) store.Store { return mustOpen(t, filepath.Join(t.TempDir(), "store.db")) })
}

func TestReopening(t *testing.T) {
	storetest.Reopen(t, func(t *testing.T, directory string) store.Store {
		return mustOpen(t, filepath.Join(directory, "store.db"))
	})
}

func TestTheFileIsForItsOwnerAloneAndHasNoLeftovers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	defer mustOpen(t, path).Close()
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if entries, err := os.ReadDir(filepath.Dir(path)); err != nil || len(entries) != 1 {
		t.Errorf("%v, %v", entries, err)
	}
}

func TestOneOfManyFirstOpensWins(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	var all sync.WaitGroup
	var won atomic.Int32
	release := make(chan struct{})
	tried := make(chan struct{}, 20)
	for range cap(tried) {
		all.Go(func() {
			s, err := openAt(t, path)
			tried <- struct{}{}
			if err != nil {
				if !fault.Is(err, fault.Precondition) {
					t.Error(err)
				}
				return
			}
			won.Add(1)
			<-release
			s.Close()
		})
	}
	for range cap(tried) {
		<-tried
	}
	close(release)
	all.Wait()
	if won.Load() != 1 {
		t.Errorf("%d opened the same file", won.Load())
	}
	mustOpen(t, path).Close()
}

func TestANewerSchemaIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	s := mustOpen(t, path)
	if err := s.db.Update(func(tx *bbolt.Tx) error {
		return tx.Bucket(metaBucket).Put(schemaKey, binary.BigEndian.AppendUint64(nil, schema+1))
	}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := openAt(t, path); !fault.Is(err, fault.Precondition) || !strings.Contains(err.Error(), "newer mctl (schema 2, this one knows 1)") {
		t.Errorf("got %v", err)
	}
}

func TestWhatTheStoreCannotUseIsASentence(t *testing.T) {
	directory := t.TempDir()
	if err := os.WriteFile(filepath.Join(directory, "empty"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, path := range map[string]string{
		"no directory": filepath.Join(directory, "none", "store.db"), "a directory": directory, "an empty file": filepath.Join(directory, "empty"),
	} {
		if _, err := openAt(t, path); !fault.Is(err, fault.Precondition) || fault.HintOf(err) == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
	if info, err := os.Stat(filepath.Join(directory, "empty")); err != nil || info.Size() != 0 {
		t.Errorf("the empty file was written to: %v, %v", info, err)
	}
}

// When the very last fsync of a transaction fails, its writers are told so, and yet readers see it: then watchers must too.
func TestAWriteThatFailedAndLandedIsSeenByWatchers(t *testing.T) {
	for name, landed := range map[string]bool{"landed": true, "rolled back": false} {
		t.Run(name, func(t *testing.T) {
			s := mustOpen(t, filepath.Join(t.TempDir(), "store.db"))
			defer s.Close()
			from, err := s.Create(t.Context(), "a", nil)
			if err != nil {
				t.Fatal(err)
			}
			s.update = func(do func(*bbolt.Tx) error) error {
				s.update = s.db.Update // the writer calls this, and nobody else
				return s.db.Update(func(tx *bbolt.Tx) error {
					if err := do(tx); err != nil || landed {
						return err
					}
					return errors.New("input/output error")
				})
			}
			if landed {
				inner := s.update
				s.update = func(do func(*bbolt.Tx) error) error { return errors.Join(inner(do), errors.New("input/output error")) }
			}
			if _, err := s.Create(t.Context(), "b", nil); !fault.Is(err, fault.Unavailable) {
				t.Fatal(err)
			}
			if _, err := s.Create(t.Context(), "c", nil); err != nil {
				t.Fatal(err)
			}
			want := "c"
			if landed {
				want = "b"
			}
			for change, err := range s.Watch(t.Context(), "", from) {
				if err != nil || change.Key != want {
					t.Errorf("got %+v, %v; want %s first", change, err, want)
				}
				break
			}
		})
	}
}

func TestWritesThatWaitShareATransaction(t *testing.T) {
	s := mustOpen(t, filepath.Join(t.TempDir(), "store.db"))
	defer s.Close()
	var transactions atomic.Int32
	begun, release := make(chan struct{}), make(chan struct{})
	s.update = func(do func(*bbolt.Tx) error) error {
		if transactions.Add(1) == 1 {
			close(begun)
			<-release
		}
		return s.db.Update(do)
	}
	const writers = 50
	var all sync.WaitGroup
	create := func(key string) {
		if _, err := s.Create(t.Context(), key, nil); err != nil {
			t.Error(err)
		}
	}
	all.Go(func() { create("first") })
	<-begun
	for i := range writers {
		all.Go(func() { create(fmt.Sprint("k/", i)) })
	}
	close(release)
	all.Wait()
	// A few may come too late for the second one; without groups there would be one transaction for each.
	if n := transactions.Load(); n > writers/2 {
		t.Errorf("%d transactions for %d writes", n, writers+1)
	}
}

func TestHistoryIsBoundedByBytesToo(t *testing.T) {
	s := mustOpen(t, filepath.Join(t.TempDir(), "store.db"))
	defer s.Close()
	at, err := s.Create(t.Context(), "a", nil)
	if err != nil {
		t.Fatal(err)
	}
	first := at
	for range maxHistoryBytes/maxValue + 1 {
		if at, err = s.Update(t.Context(), "a", make([]byte, maxValue), at); err != nil {
			t.Fatal(err)
		}
	}
	if s.watches.bytes > maxHistoryBytes {
		t.Errorf("%d bytes are kept", s.watches.bytes)
	}
	for _, err := range s.Watch(t.Context(), "", first) {
		if !fault.Is(err, fault.Resync) {
			t.Errorf("got %v", err)
		}
		break
	}
}
