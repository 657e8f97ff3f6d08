package buildinfo

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestVersionIsNeverEmpty(t *testing.T) {
	if Version() == "" {
		t.Error("no version")
	}
}

func TestDigestIsThatOfTheExecutable(t *testing.T) {
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want := sha256.Sum256(content)
	got, err := Digest()
	if err != nil || got != hex.EncodeToString(want[:]) {
		t.Errorf("Digest() = %q, %v, want %x", got, err, want)
	}
}

func TestReleasesAreAtMostOneMinorApart(t *testing.T) {
	for _, c := range []struct{ ours, theirs, upgrade string }{
		{"v1.2.3", "v1.2.9", ""}, {"v1.2.3", "v1.3.0", ""}, {"v1.3.0", "v1.2.3", ""},
		{"v1.2.3", "v1.4.0", "controller"}, {"v1.4.0", "v1.2.3", "caller"}, {"v1.9.0", "v2.0.0", "controller"}, {"v2.0.0", "v1.9.0", "caller"},
		{"dev", "v1.4.0", ""}, {"v1.4.0", "dev", ""}, {"v1.4.0", "5c35a80-dirty", ""}, {"v1.2.0", "v1.4.0-5-g5c35a80", "controller"}, {"v1.4.0", "", ""},
	} {
		err := Compatible(c.ours, c.theirs)
		if (err == nil) != (c.upgrade == "") || err != nil && !strings.HasSuffix(err.Error(), "upgrade the "+c.upgrade) {
			t.Errorf("%s and %s: %v", c.ours, c.theirs, err)
		}
	}
}

func TestAStampChangesWithItsFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "program")
	if got := Stamp(path); got != "" {
		t.Errorf("of no file: %s", got)
	}
	seen := map[string]bool{}
	for _, content := range []string{"a", "ab", "abc"} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		seen[Stamp(path)] = true
		if again := Stamp(path); !seen[again] {
			t.Errorf("%s, and it was not changed", again)
		}
	}
	if len(seen) != 3 {
		t.Errorf("%d stamps of three files", len(seen))
	}
}
