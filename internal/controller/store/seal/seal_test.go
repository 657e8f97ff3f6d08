package seal

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"mctl/internal/fault"
)

func open(t *testing.T, path string) *Sealer {
	t.Helper()
	s, err := Open(path, "")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestWhatIsSealedOpensForItsRecordAlone(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "seal.key"))
	for _, plaintext := range []string{"", "secret", strings.Repeat("x", 100_000)} {
		sealed, err := s.Seal("machine/a", []byte(plaintext))
		if err != nil {
			t.Fatal(err)
		}
		if plaintext != "" && bytes.Contains(sealed, []byte(plaintext)) {
			t.Error("the plaintext shows")
		}
		if got, err := s.Open("machine/a", sealed); err != nil || string(got) != plaintext {
			t.Errorf("got %d bytes, %v", len(got), err)
		}
		if _, err := s.Open("machine/b", sealed); !fault.Is(err, fault.Precondition) {
			t.Errorf("moved to another record: %v", err)
		}
		for i := range min(len(sealed), 60) {
			changed := bytes.Clone(sealed)
			changed[i] ^= 1
			if _, err := s.Open("machine/a", changed); err == nil {
				t.Errorf("byte %d changed, and it opens", i)
			}
			if _, err := s.Open("machine/a", sealed[:i]); err == nil {
				t.Errorf("cut to %d bytes, and it opens", i)
			}
		}
	}
}

func TestTheSameKeyComesBackAndAnotherDoesNotOpen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "seal.key")
	sealed, err := open(t, path).Seal("r", []byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := open(t, path).Open("r", sealed); err != nil || string(got) != "secret" {
		t.Errorf("after reopening: %q, %v", got, err)
	}
	other := open(t, filepath.Join(t.TempDir(), "seal.key"))
	if _, err := other.Open("r", sealed); !fault.Is(err, fault.Precondition) || fault.HintOf(err) == "" {
		t.Errorf("with another key: %v", err)
	}
}

func TestManyFirstOpensMakeOneKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "seal.key")
	var all sync.WaitGroup
	macs := make([]string, 20)
	for i := range macs {
		all.Go(func() {
			if s, err := Open(path, ""); err != nil {
				t.Error(err)
			} else {
				macs[i] = string(s.MAC("test", nil))
			}
		})
	}
	all.Wait()
	for _, mac := range macs {
		if mac != macs[0] {
			t.Fatal("two keys were made")
		}
	}
}

func TestABadKeyIsASentence(t *testing.T) {
	for name, c := range map[string]struct {
		content string
		mode    os.FileMode
	}{
		"readable by others": {strings.Repeat("A", 43) + "=", 0o644}, "too short": {"AAAA", 0o600}, "no base64": {"%%%", 0o600}, "empty": {"", 0o600},
	} {
		path := filepath.Join(t.TempDir(), "seal.key")
		if err := os.WriteFile(path, []byte(c.content), c.mode); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(path, ""); !fault.Is(err, fault.Precondition) || !strings.Contains(err.Error(), path) || fault.HintOf(err) == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Open("", "no key"); !fault.Is(err, fault.Precondition) || !strings.Contains(err.Error(), "MCTL_SEAL_KEY") {
		t.Errorf("given: %v", err)
	}
}

func TestAKeyThatIsGoneIsMissedAndNotMadeAnew(t *testing.T) {
	path := filepath.Join(t.TempDir(), "seal.key")
	if err := Missing(path, ""); !fault.Is(err, fault.Precondition) || !strings.Contains(err.Error(), path) || fault.HintOf(err) == "" {
		t.Errorf("without any: %v", err)
	}
	if err := Missing(path, "given"); err != nil {
		t.Errorf("with one that is given: %v", err)
	}
	open(t, path)
	if err := Missing(path, ""); err != nil {
		t.Errorf("with the file: %v", err)
	}
}

func TestTheKeyNeverPrintsAndPurposesDiffer(t *testing.T) {
	given := "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
	s, err := Open("", given)
	if err != nil {
		t.Fatal(err)
	}
	if printed := fmt.Sprintf("%v %+v %#v %s", s, s, s, s); strings.Contains(printed, "0123") || strings.Contains(printed, "48 49") {
		t.Errorf("it prints as %s", printed)
	}
	if bytes.Equal(s.MAC("a", []byte("x")), s.MAC("b", []byte("x"))) {
		t.Error("two purposes share a key")
	}
}
