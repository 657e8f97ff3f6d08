package tree

import (
	"os"
	"testing"

	"mctl/internal/fault"
)

func TestPutReplacesAndKeepsModeAndFoldersComeAlong(t *testing.T) {
	tree := Tree(t.TempDir())
	one, two := []byte("one"), []byte("two")
	if err := tree.Put("/a/b/c", &one, 0o640); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(tree.Path("/a/b/c"), 0o604); err != nil {
		t.Fatal(err)
	}
	if err := tree.Put("/a/b/c", &two, 0o640); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(tree.Path("/a/b/c"))
	if err != nil || info.Mode().Perm() != 0o604 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if got, err := tree.Read("/a/b/c"); err != nil || string(Bytes(got)) != "two" {
		t.Errorf("%s, %v", Bytes(got), err)
	}
	if entries, _ := os.ReadDir(tree.Path("/a/b")); len(entries) != 1 {
		t.Errorf("left behind: %v", entries)
	}
	for range 2 {
		if err := tree.Put("/a/b/c", nil, 0); err != nil || tree.Exists("/a/b/c") {
			t.Errorf("removed: %v", err)
		}
	}
	if got, err := tree.Read("/a/b/c"); got != nil || err != nil {
		t.Errorf("%v, %v", got, err)
	}
}

func TestWhatCannotBeWrittenIsASentence(t *testing.T) {
	tree := Tree(t.TempDir())
	content := []byte("x")
	if err := tree.Put("/file", &content, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := tree.Put("/file/below", &content, 0o600); !fault.Is(err, fault.Precondition) {
		t.Error(err)
	}
	if _, err := tree.Read("/file/below"); !fault.Is(err, fault.Precondition) {
		t.Error(err)
	}
}

func TestNoFileEqualsNoFileAlone(t *testing.T) {
	empty, full := []byte{}, []byte("x")
	if !Same(nil, nil) || Same(nil, &empty) || Same(&empty, &full) || !Same(&full, &[]byte{'x'}) {
		t.Error("wrong")
	}
}
