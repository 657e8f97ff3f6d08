package bolt

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
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
	if path := os.Getenv("BOLT_TEST_WRITER"); path != "" {
		writeUntilKilled(path)
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

func TestWhatWasWrittenIsThereAfterReopening(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	s := mustOpen(t, path)
	before, err := s.Create(t.Context(), "a", []byte("1"))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = mustOpen(t, path)
	defer s.Close()
	if item, err := s.Get(t.Context(), "a"); err != nil || string(item.Value) != "1" || item.Revision != before {
		t.Errorf("got %+v, %v", item, err)
	}
	if after, err := s.Create(t.Context(), "b", nil); err != nil || after <= before {
		t.Errorf("revision %d after %d, %v", after, before, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

func TestAFileThatIsHeldSaysByWhom(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	s := mustOpen(t, path)
	defer s.Close()
	_, err := openAt(t, path)
	if !fault.Is(err, fault.Precondition) || !strings.Contains(err.Error(), fmt.Sprintf("process %d", os.Getpid())) || fault.HintOf(err) == "" {
		t.Errorf("got %v, hint %q", err, fault.HintOf(err))
	}
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

func TestADamagedFileIsASentenceAndNeverAPanic(t *testing.T) {
	whole := filepath.Join(t.TempDir(), "store.db")
	s := mustOpen(t, whole)
	for i := range 200 {
		if _, err := s.Create(t.Context(), fmt.Sprintf("machine/%d", i), bytes.Repeat([]byte{1}, 500)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(whole)
	if err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(1, 2))
	mutations := map[string][]byte{
		"empty": {}, "garbage": bytes.Repeat([]byte("garbage!"), 4096), "short": content[:100], "half": content[:len(content)/2],
	}
	for i := range 100 {
		mutated := bytes.Clone(content)
		for range 1 + random.IntN(100) {
			mutated[random.IntN(len(mutated))] ^= byte(1 + random.IntN(255))
		}
		mutations[fmt.Sprint("flipped ", i)] = mutated
	}
	for name, mutated := range mutations {
		path := filepath.Join(t.TempDir(), "store.db")
		if err := os.WriteFile(path, mutated, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := openAt(t, path)
		if err == nil {
			s.Close() // the change was in a free page, or in a value
			continue
		}
		if !fault.Is(err, fault.Precondition) || fault.HintOf(err) == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// writeUntilKilled is another process: it writes, and says what was acknowledged, until it is killed.
func writeUntilKilled(path string) {
	s, err := Open(context.Background(), Config{Path: path, Logger: hclog.NewNullLogger()})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	for i := 0; ; i++ {
		if _, err := s.Create(context.Background(), fmt.Sprintf("k/%08d", i), []byte("v")); err != nil {
			os.Exit(1)
		}
		fmt.Fprintln(os.Stdout, i)
	}
}

func TestWhatWasAcknowledgedSurvivesKills(t *testing.T) {
	for round := range 5 {
		path := filepath.Join(t.TempDir(), "store.db")
		writer := exec.CommandContext(t.Context(), os.Args[0])
		writer.Env = append(os.Environ(), "BOLT_TEST_WRITER="+path)
		output, err := writer.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := writer.Start(); err != nil {
			t.Fatal(err)
		}
		var acknowledged int
		for range 50 + 37*round {
			if _, err := fmt.Fscan(output, &acknowledged); err != nil {
				t.Fatal(err)
			}
		}
		if err := writer.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = writer.Wait()
		s := mustOpen(t, path)
		for i := range acknowledged + 1 {
			if _, err := s.Get(t.Context(), fmt.Sprintf("k/%08d", i)); err != nil {
				t.Errorf("round %d: lost %d of %d: %v", round, i, acknowledged, err)
			}
		}
		s.Close()
	}
}

func BenchmarkWrites(b *testing.B) {
	for _, writers := range []int{1, 64} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			s := mustOpen(b, filepath.Join(b.TempDir(), "store.db"))
			defer s.Close()
			value := make([]byte, 1000)
			var all sync.WaitGroup
			next := make(chan int)
			for range writers {
				all.Go(func() {
					for i := range next {
						if _, err := s.Create(b.Context(), fmt.Sprintf("k/%d", i), value); err != nil {
							b.Error(err)
						}
					}
				})
			}
			for i := 0; b.Loop(); i++ {
				next <- i
			}
			close(next)
			all.Wait()
		})
	}
}

func BenchmarkListOf10000(b *testing.B) {
	s := mustOpen(b, filepath.Join(b.TempDir(), "store.db"))
	defer s.Close()
	var all sync.WaitGroup
	for w := range 100 {
		all.Go(func() {
			for i := range 100 {
				if _, err := s.Create(b.Context(), fmt.Sprintf("machine/%d-%d", w, i), make([]byte, 1000)); err != nil {
					b.Error(err)
				}
			}
		})
	}
	all.Wait()
	for b.Loop() {
		if items, _, err := s.List(b.Context(), "machine/"); err != nil || len(items) != 10_000 {
			b.Fatal(len(items), err)
		}
	}
}
