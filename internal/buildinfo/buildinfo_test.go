package buildinfo

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
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
