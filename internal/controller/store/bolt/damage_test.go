package bolt

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"mctl/internal/controller/store"
	"mctl/internal/fault"
)

// written is a closed store with 200 items, the later ones written one by one, and what is in it.
func written(t *testing.T) (content []byte, items map[string]string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "store.db")
	s := mustOpen(t, path)
	items = map[string]string{}
	for i := range 200 {
		key, value := fmt.Sprintf("machine/%d", i), bytes.Repeat([]byte{byte(i)}, 500)
		if _, err := s.Create(t.Context(), key, value); err != nil {
			t.Fatal(err)
		}
		items[key] = string(value)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return content, items
}

// unraced runs a test in a build without the race detector, and reports whether it did. The detector looks at memory before
// it is read, in C code: a page that is beyond a damaged file ends the process there, which no Go program can recover from.
func unraced(t *testing.T) bool {
	t.Helper()
	if !raced {
		return false
	}
	binary := filepath.Join(t.TempDir(), "bolt.test")
	if output, err := exec.CommandContext(t.Context(), "go", "test", "-c", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	output, err := exec.CommandContext(t.Context(), binary, "-test.v", "-test.run", "^"+t.Name()+"$").CombinedOutput()
	if err != nil || !bytes.Contains(output, []byte("--- PASS: "+t.Name())) {
		t.Errorf("%v: %s", err, output)
	}
	return true
}

func TestADamagedFileIsASentenceAndNeverAPanicNorAWrongValue(t *testing.T) {
	if unraced(t) {
		return
	}
	content, want := written(t)
	seed := uint64(1)
	t.Log("seed", seed)
	random := rand.New(rand.NewPCG(seed, 2))
	mutations := map[string][]byte{
		"empty": {}, "garbage": bytes.Repeat([]byte("garbage!"), 4096), "short": content[:100], "a page": content[:4096],
		"two pages": content[:8192], "half": content[:len(content)/2], "without its end": content[:len(content)-1],
		"zeros": make([]byte, len(content)), "zeros at the end": append(bytes.Clone(content[:len(content)/2]), make([]byte, len(content)/2)...),
	}
	for i := range 150 {
		mutated := bytes.Clone(content)
		for range 1 + random.IntN(30)*(i%2) { // each second one has a single flipped byte
			mutated[random.IntN(len(mutated))] ^= byte(1 + random.IntN(255))
		}
		mutations[fmt.Sprint("flipped ", i)] = mutated
	}
	for i := range 50 { // the heads of pages, where the pointers are
		mutated := bytes.Clone(content)
		mutated[random.IntN(len(mutated)/4096)*4096+random.IntN(64)] ^= byte(1 + random.IntN(255))
		mutations[fmt.Sprint("head ", i)] = mutated
	}
	refused := 0
	for name, mutated := range mutations {
		path := filepath.Join(t.TempDir(), "store.db")
		if err := os.WriteFile(path, mutated, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := openAt(t, path)
		if err != nil {
			refused++
			if !fault.Is(err, fault.Precondition) || fault.HintOf(err) == "" {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		holds(t, s, name, want) // the change was in a free page, or in the older of the two meta pages
		s.Close()
	}
	t.Logf("%d of %d were refused", refused, len(mutations))
}

// holds checks that a store that opened has the right values, all but the newest (the older meta page may be in use), and
// that it can be written to.
func holds(t *testing.T, s *Store, name string, want map[string]string) {
	t.Helper()
	items, _, err := s.List(t.Context(), "")
	if err != nil || len(items) < len(want)-1 {
		t.Errorf("%s: %d items, %v", name, len(items), err)
	}
	for _, item := range items {
		if string(item.Value) != want[item.Key] {
			t.Errorf("%s: %s has a wrong value", name, item.Key)
		}
	}
	for i := range 20 {
		if _, err := s.Create(t.Context(), fmt.Sprint("new/", i), make([]byte, 1000)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if after, _, err := s.List(t.Context(), ""); err != nil || len(after) != len(items)+20 {
		t.Errorf("%s: after writing %d items, %v", name, len(after), err)
	}
}

func TestDamageUnderARunningStoreIsAnErrorAndNeverTheEndOfTheProcess(t *testing.T) {
	if unraced(t) {
		return
	}
	for name, damage := range map[string]func(path string) error{
		"cut off": func(path string) error { return os.Truncate(path, 8192) },
		"overwritten": func(path string) error {
			content, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			file, err := os.OpenFile(path, os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			defer file.Close()
			_, err = file.WriteAt(bytes.Repeat([]byte{0xff}, len(content)-8192), 8192)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			content, want := written(t)
			path := filepath.Join(t.TempDir(), "store.db")
			if err := os.WriteFile(path, content, 0o600); err != nil {
				t.Fatal(err)
			}
			s := mustOpen(t, path)
			if err := damage(path); err != nil {
				t.Fatal(err)
			}
			for key := range want {
				if _, err := s.Get(t.Context(), key); !fault.Is(err, fault.Internal) || fault.HintOf(err) == "" {
					t.Errorf("Get: %v", err)
				}
				break
			}
			if _, _, err := s.List(t.Context(), ""); !fault.Is(err, fault.Internal) {
				t.Errorf("List: %v", err)
			}
			if _, err := s.Create(t.Context(), "new", nil); !fault.Is(err, fault.Internal) {
				t.Errorf("Create: %v", err)
			}
			for _, err := range s.Watch(t.Context(), "", store.Revision(len(want))) {
				if !fault.Is(err, fault.Internal) {
					t.Errorf("Watch: %v", err)
				}
				break
			}
			if err := s.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
		})
	}
}
