package journal

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"mctl/internal/fault"
)

// host is a file system of a test.
type host struct {
	t       *testing.T
	root    string
	journal *Journal
}

func newHost(t *testing.T) *host {
	root := t.TempDir()
	return &host{t: t, root: root, journal: Open(root)}
}

func (h *host) put(path, content string, mode fs.FileMode) {
	h.t.Helper()
	full := filepath.Join(h.root, path)
	must(h.t, os.MkdirAll(filepath.Dir(full), 0o755))
	must(h.t, os.WriteFile(full, []byte(content), mode))
	must(h.t, os.Chmod(full, mode))
}

// change is what every user of a journal does.
func (h *host) change(path, content string) {
	h.t.Helper()
	must(h.t, h.journal.File(path))
	h.put(path, content, 0o644)
	must(h.t, h.journal.Written(path))
}

// restore returns what was put back and what was told.
func (h *host) restore() (touched, told []string) {
	h.t.Helper()
	b, err := h.journal.Read()
	must(h.t, err)
	touched, err = h.journal.Restore(b, func(s string) { told = append(told, s) })
	must(h.t, err)
	h.journal.RemoveFolders(b)
	return touched, told
}

// tree is every path below the root outside of our own folder, with mode and content.
func (h *host) tree() []string {
	h.t.Helper()
	var all []string
	must(h.t, filepath.WalkDir(h.root, func(path string, d fs.DirEntry, err error) error {
		name := strings.TrimPrefix(path, h.root)
		if err != nil || strings.HasPrefix(name, "/var") {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		content := ""
		switch {
		case info.Mode().IsRegular():
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			content = string(text)
		case info.Mode()&fs.ModeSymlink != 0:
			content, err = os.Readlink(path)
		}
		all = append(all, fmt.Sprintf("%s %v %q", name, info.Mode(), content))
		return err
	}))
	return all
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestEverythingGoesBackAsItWas(t *testing.T) {
	h := newHost(t)
	h.put("/etc/docker/daemon.json", "{ \"debug\":true }", 0o600)
	h.put("/etc/special", "x", 0o750|fs.ModeSetgid)
	h.put("/etc/kept", "target", 0o644)
	must(t, os.Symlink("kept", filepath.Join(h.root, "/etc/link")))
	before := h.tree()

	for range 2 { // the first look counts
		h.change("/etc/docker/daemon.json", "{}")
		h.change("/etc/special", "y")
		h.change("/etc/systemd/system/docker.service.d/mctl.conf", "[Service]")
		must(t, h.journal.File("/etc/link"))
		must(t, os.RemoveAll(filepath.Join(h.root, "/etc/link")))
		h.put("/etc/link", "a file", 0o644)
		must(t, h.journal.Written("/etc/link"))
	}
	if slices.Equal(h.tree(), before) {
		t.Fatal("nothing was changed")
	}
	if touched, told := h.restore(); len(touched) != 4 || len(told) != 0 {
		t.Errorf("put back %q, told %q", touched, told)
	}
	if after := h.tree(); !slices.Equal(after, before) {
		t.Errorf("before %q\nafter %q", before, after)
	}
	if touched, _ := h.restore(); len(touched) != 0 {
		t.Errorf("put back again: %q", touched)
	}
}

func TestOneFileGoesBackBeforeAllOthers(t *testing.T) {
	h := newHost(t)
	for _, path := range []string{"/etc/one", "/etc/other", "/etc/theirs"} {
		h.put(path, "former", 0o640)
		h.change(path, "ours")
	}
	h.put("/etc/theirs", "later", 0o640)
	for range 2 {
		for _, path := range []string{"/etc/one", "/etc/theirs", "/etc/unknown"} {
			must(t, h.journal.PutBack(path))
		}
	}
	for path, want := range map[string]string{"/etc/one": "former", "/etc/other": "ours", "/etc/theirs": "later"} {
		if text, err := os.ReadFile(filepath.Join(h.root, path)); err != nil || string(text) != want {
			t.Errorf("%s holds %q, %v", path, text, err)
		}
	}
	if touched, _ := h.restore(); !slices.Equal(touched, []string{"/etc/other"}) {
		t.Errorf("put back at last: %q", touched)
	}
}

func TestWhatOthersChangedStaysAndIsTold(t *testing.T) {
	for name, meddle := range map[string]func(h *host){
		"content": func(h *host) { h.put("/etc/made/file", "theirs", 0o644) },
		"mode":    func(h *host) { must(h.t, os.Chmod(filepath.Join(h.root, "/etc/made/file"), 0o600)) },
		"removed, then a folder": func(h *host) {
			must(h.t, os.Remove(filepath.Join(h.root, "/etc/made/file")))
			must(h.t, os.Mkdir(filepath.Join(h.root, "/etc/made/file"), 0o755))
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t)
			h.change("/etc/made/file", "ours")
			meddle(h)
			before := h.tree()
			if touched, told := h.restore(); len(touched) != 0 || len(told) != 1 || !strings.Contains(told[0], "/etc/made/file") {
				t.Errorf("put back %q, told %q", touched, told)
			}
			if after := h.tree(); !slices.Equal(after, before) {
				t.Errorf("before %q\nafter %q", before, after)
			}
		})
	}
}

func TestAFolderWithSomethingOfOthersStays(t *testing.T) {
	h := newHost(t)
	h.change("/etc/a/b/file", "ours")
	h.put("/etc/a/theirs", "", 0o644)
	h.restore()
	if exists(filepath.Join(h.root, "/etc/a/b")) || !exists(filepath.Join(h.root, "/etc/a/theirs")) {
		t.Errorf("left: %q", h.tree())
	}
}

func TestAChangeThatACrashCutShortIsUndone(t *testing.T) {
	h := newHost(t)
	h.put("/etc/file", "former", 0o644)
	before := h.tree()
	must(t, h.journal.File("/etc/file"))
	must(t, h.journal.File("/etc/never"))
	h.put("/etc/file", "ours", 0o644)
	if touched, _ := h.restore(); !slices.Equal(touched, []string{"/etc/file"}) || !slices.Equal(h.tree(), before) {
		t.Errorf("put back %q, now %q", touched, h.tree())
	}
}

func TestWhatWasReturnedIsPutBackOnlyWhereItReadsAsBefore(t *testing.T) {
	for name, c := range map[string]struct {
		left string // what the file holds when it is returned
		link bool   // it was a link before us
		want []string
	}{
		"as before":               {left: "theirs", want: []string{"/etc/x"}}, // its mode goes back
		"changed by others":       {left: "theirs, later"},
		"as before, by a link":    {left: "theirs", link: true, want: []string{"/etc/x"}},
		"changed, a link before":  {left: "theirs, later", link: true},
		"removed by others since": {},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t)
			h.put("/etc/x", "theirs", 0o640)
			if c.link {
				must(t, os.Rename(filepath.Join(h.root, "/etc/x"), filepath.Join(h.root, "/etc/target")))
				must(t, os.Symlink("target", filepath.Join(h.root, "/etc/x")))
			}
			must(t, h.journal.File("/etc/x"))
			must(t, os.Remove(filepath.Join(h.root, "/etc/x")))
			h.put("/etc/x", "theirs and ours", 0o644)
			must(t, h.journal.Written("/etc/x"))
			must(t, os.Remove(filepath.Join(h.root, "/etc/x")))
			if c.left != "" {
				h.put("/etc/x", c.left, 0o644)
			}
			for range 2 {
				must(t, h.journal.Returned("/etc/x"))
			}
			must(t, h.journal.Returned("/etc/unknown"))
			touched, told := h.restore()
			if !slices.Equal(touched, c.want) || len(told) > 0 {
				t.Errorf("put back %q, told %q", touched, told)
			}
			content, _ := os.ReadFile(filepath.Join(h.root, "/etc/x"))
			if string(content) != c.left {
				t.Errorf("it holds %q", content)
			}
		})
	}
}

func TestWhatAKilledWriterLeftBesideAFileGoesWithIt(t *testing.T) {
	h := newHost(t)
	h.put("/etc/x", "theirs", 0o644)
	before := h.tree()
	h.change("/etc/x", "ours")
	for _, name := range []string{".x123", ".x1844674407370955161"} {
		h.put("/etc/"+name, "half", 0o600)
	}
	kept := []string{"/etc/.x", "/etc/.x12a", "/etc/x123", "/etc/.xy1"}
	for _, path := range kept {
		h.put(path, "theirs", 0o644)
	}
	must(t, os.Mkdir(filepath.Join(h.root, "/etc/.x9"), 0o755))
	h.restore()
	for _, path := range kept {
		must(t, os.Remove(filepath.Join(h.root, path)))
	}
	must(t, os.Remove(filepath.Join(h.root, "/etc/.x9")))
	if after := h.tree(); !slices.Equal(after, before) {
		t.Errorf("before %q\nafter %q", before, after)
	}
}

func TestAFileInTheirFoldersPlaceStays(t *testing.T) {
	h := newHost(t)
	h.change("/etc/a/b/file", "ours")
	must(t, os.RemoveAll(filepath.Join(h.root, "/etc/a/b")))
	h.put("/etc/a/b", "theirs", 0o644)
	h.restore()
	if !exists(filepath.Join(h.root, "/etc/a/b")) {
		t.Error("it was removed as if it were our folder")
	}
}

func TestSeveralProcessesLoseNothing(t *testing.T) {
	h := newHost(t)
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			j := Open(h.root) // another process has another one
			if err := j.Package(fmt.Sprintf("p%02d", i), "docker"); err != nil {
				t.Error(err)
			}
			if err := j.File(fmt.Sprintf("/etc/%d", i)); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	b, err := h.journal.Read()
	must(t, err)
	if len(b.Files) != 20 || len(b.Packages) != 21 || !slices.IsSorted(b.Packages) {
		t.Errorf("%d files, packages %q", len(b.Files), b.Packages)
	}
	if info, err := os.Stat(filepath.Join(h.root, journalFile)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the journal may hold secrets of daemon.json: %v, %v", info, err)
	}
}

func TestWhatCannotBePutBackIsNotTouched(t *testing.T) {
	h := newHost(t)
	must(t, os.MkdirAll(filepath.Join(h.root, "/etc/folder"), 0o755))
	h.put("/etc/large", strings.Repeat("x", maxFormer+1), 0o644)
	for _, path := range []string{"/etc/folder", "/etc/large"} {
		if err := h.journal.File(path); !fault.Is(err, fault.Precondition) {
			t.Errorf("%s: %v", path, err)
		}
	}
	must(t, h.journal.Written("/etc/unknown"))
	must(t, os.WriteFile(filepath.Join(h.root, journalFile), []byte("{"), 0o600))
	if err := h.journal.File("/etc/x"); !fault.Is(err, fault.Precondition) {
		t.Errorf("a damaged journal gives %v", err)
	}
}
