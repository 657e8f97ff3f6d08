package filetree

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"mctl/internal/fault"
)

// write makes files (a name ending in "/" is a directory) with modes.
func write(t *testing.T, root string, files map[string]fs.FileMode) {
	t.Helper()
	names := slices.Sorted(maps.Keys(files))
	for _, name := range names {
		path := filepath.Join(root, name)
		var err error
		if strings.HasSuffix(name, "/") {
			err = os.MkdirAll(path, 0o755)
		} else {
			err = os.WriteFile(path, []byte("content of "+name), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	slices.Reverse(names)
	for _, name := range names {
		if err := os.Chmod(filepath.Join(root, name), files[name]); err != nil {
			t.Fatal(err)
		}
	}
}

// read lists what is below root: a mode for each name.
func read(t *testing.T, root string) map[string]fs.FileMode {
	t.Helper()
	found := map[string]fs.FileMode{}
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || path == root {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(root, path)
		if entry.IsDir() {
			name += "/"
		}
		found[name] = info.Mode().Perm()
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func carry(from, to string, recursive bool) (sent, received error) {
	r, w := io.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		sent = Send(w, from, recursive)
		w.Close()
	}()
	received = Receive(r, to, Asked{Path: from, Recursive: recursive})
	r.Close()
	<-done
	return sent, received
}

func TestATreeArrivesWithItsModes(t *testing.T) {
	from, to := t.TempDir(), t.TempDir()
	tree := map[string]fs.FileMode{"site/": 0o750, "site/a": 0o640, "site/run": 0o755, "site/empty/": 0o700, "site/closed/": 0o555, "site/closed/b": 0o400}
	write(t, from, tree)
	for _, target := range []string{to, filepath.Join(to, "site"), filepath.Join(to, "other")} {
		sent, received := carry(filepath.Join(from, "site"), target, true)
		if err := errors.Join(sent, received); err != nil {
			t.Fatalf("%s: %v", target, err)
		}
	}
	want := map[string]fs.FileMode{}
	for name, mode := range tree {
		want[name] = mode
		want["site/"+name] = mode
		want["other"+strings.TrimPrefix(name, "site")] = mode
	}
	if got := read(t, to); !maps.Equal(got, want) {
		t.Errorf("got %v\nwant %v", got, want)
	}
	if text, err := os.ReadFile(filepath.Join(to, "other", "closed", "b")); err != nil || string(text) != "content of site/closed/b" {
		t.Errorf("%q, %v", text, err)
	}
}

func TestAFileGoesWhereScpWouldPutIt(t *testing.T) {
	from, to := t.TempDir(), t.TempDir()
	write(t, from, map[string]fs.FileMode{"a": 0o4711, "longer": 0o644})
	write(t, to, map[string]fs.FileMode{"dir/": 0o700, "there": 0o600})
	if err := os.Symlink("there", filepath.Join(to, "link")); err != nil {
		t.Fatal(err)
	}
	for _, target := range []string{"dir", "dir/", "dir/b", "there", "link"} {
		sent, received := carry(filepath.Join(from, "a"), filepath.Join(to, target)+strings.Repeat("/", strings.Count(target, "dir/")-strings.Count(target, "/b")), false)
		if err := errors.Join(sent, received); err != nil {
			t.Fatalf("%s: %v", target, err)
		}
	}
	want := map[string]fs.FileMode{"dir/": 0o700, "dir/a": 0o711, "dir/b": 0o711, "there": 0o711, "link": 0o777}
	if got := read(t, to); !maps.Equal(got, want) {
		t.Errorf("got %v\nwant %v", got, want)
	}
	if _, received := carry(filepath.Join(from, "a"), filepath.Join(to, "none")+"/", false); !fault.Is(received, fault.NotFound) {
		t.Errorf("a directory that is not there: %v", received)
	}
	if _, received := carry(filepath.Join(from, "a"), filepath.Join(to, "none", "a"), false); !fault.Is(received, fault.NotFound) {
		t.Errorf("in a directory that is not there: %v", received)
	}
	if _, received := carry(filepath.Join(from, "longer"), filepath.Join(to, "there", "x"), false); received == nil {
		t.Error("below a file")
	}
}

func TestLinksAreFollowedAndWhatCanNotBeSentIsTold(t *testing.T) {
	from, to := t.TempDir(), t.TempDir()
	write(t, from, map[string]fs.FileMode{"tree/": 0o755, "tree/a": 0o644, "elsewhere": 0o600})
	for name, target := range map[string]string{"link": "../elsewhere", "loop": "..", "dangling": "nowhere"} {
		if err := os.Symlink(target, filepath.Join(from, "tree", name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(from, "tree", "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	sent, received := carry(filepath.Join(from, "tree"), to, true)
	if received != nil {
		t.Fatal(received)
	}
	for _, want := range []string{"dangling: no such file", "pipe: not a regular file", "tree/loop/tree: a link to a directory that it is in"} {
		if !strings.Contains(sent.Error(), want) {
			t.Errorf("not told: %s\n%v", want, sent)
		}
	}
	got := read(t, to)
	if got["tree/link"] != 0o600 || got["tree/a"] != 0o644 || got["tree/loop/elsewhere"] != 0o600 {
		t.Errorf("%v", got)
	}
	if sent, _ := carry(filepath.Join(from, "tree"), to, false); fault.HintOf(sent) == "" {
		t.Errorf("a directory without -r: %v", sent)
	}
}

// entry is one of a hostile stream.
type entry struct {
	header  tar.Header
	content string
}

func stream(t *testing.T, entries ...entry) []byte {
	t.Helper()
	var buffer bytes.Buffer
	w := tar.NewWriter(&buffer)
	for _, e := range entries {
		e.header.Size = int64(len(e.content))
		e.header.Mode = 0o777
		if err := w.WriteHeader(&e.header); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, e.content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buffer.Bytes()
}

func TestAHostileStreamPutsNothingElsewhere(t *testing.T) {
	file := func(name string) entry { return entry{tar.Header{Typeflag: tar.TypeReg, Name: name}, "evil"} }
	dir := func(name string) entry { return entry{tar.Header{Typeflag: tar.TypeDir, Name: name}, ""} }
	for name, entries := range map[string][]entry{
		"upwards":           {file("../evil")},
		"upwards below":     {dir("a/"), file("a/../../evil")},
		"upwards within":    {dir("a/"), file("a/../evil")},
		"absolute":          {file("/tmp/mctl-evil")},
		"nothing":           {file("")},
		"the root":          {dir("./")},
		"the parent":        {dir("../")},
		"an escape":         {file("\x1b]0;evil\x07/../../evil")},
		"another top":       {dir("a/"), file("b")},
		"a link and below":  {{tar.Header{Typeflag: tar.TypeSymlink, Name: "a", Linkname: ".."}, ""}, file("a/evil")},
		"a hard link":       {{tar.Header{Typeflag: tar.TypeLink, Name: "a", Linkname: "../outside/secret"}, ""}},
		"a device":          {{tar.Header{Typeflag: tar.TypeChar, Name: "a", Devmajor: 1, Devminor: 3}, ""}},
		"a pipe":            {{tar.Header{Typeflag: tar.TypeFifo, Name: "a"}, ""}},
		"a link that is up": {file("up/evil")},
		"a tree over it":    {dir("up/"), file("up/evil")},
		"that link itself":  {file("secret")},
		"a pipe that is":    {file("pipe")},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			write(t, root, map[string]fs.FileMode{"target/": 0o755, "outside/": 0o755, "outside/secret": 0o600})
			target := filepath.Join(root, "target")
			if err := errors.Join(
				os.Symlink("..", filepath.Join(target, "up")), os.Symlink("../outside/secret", filepath.Join(target, "secret")),
				syscall.Mkfifo(filepath.Join(target, "pipe"), 0o600),
			); err != nil {
				t.Fatal(err)
			}
			err := Receive(bytes.NewReader(stream(t, entries...)), target, Asked{Anything: true})
			if err == nil {
				t.Error("it was taken")
			} else if strings.ContainsAny(err.Error(), "\x1b\x07") {
				t.Errorf("an escape is told: %q", err)
			} else if name == "a tree over it" && !strings.Contains(err.Error(), "up: a link that does not lead to a directory in the target") {
				t.Errorf("it says %q", err)
			}
			if text, err := os.ReadFile(filepath.Join(root, "outside", "secret")); err != nil || string(text) != "content of outside/secret" {
				t.Errorf("outside is %q, %v", text, err)
			}
			entries, _ := os.ReadDir(root)
			if _, err := os.Lstat("/tmp/mctl-evil"); len(entries) != 2 || err == nil {
				t.Errorf("%v", entries)
			}
		})
	}
}

func TestALinkThatComesInBetweenLeadsNowhere(t *testing.T) {
	root := t.TempDir()
	write(t, root, map[string]fs.FileMode{"target/": 0o755, "outside/": 0o755})
	var entries []entry
	for range 500 {
		entries = append(entries, entry{tar.Header{Typeflag: tar.TypeDir, Name: "d/"}, ""}, entry{tar.Header{Typeflag: tar.TypeReg, Name: "d/evil"}, "evil"})
	}
	text := stream(t, entries...)
	var over atomic.Bool
	done := make(chan struct{})
	go func() { // somebody changes the tree all the time
		defer close(done)
		place := filepath.Join(root, "target", "d")
		for !over.Load() {
			_ = os.RemoveAll(place)
			_ = os.Symlink(filepath.Join(root, "outside"), place)
			_ = os.Remove(place)
			_ = os.Mkdir(place, 0o755)
		}
	}()
	for range 10 {
		_ = Receive(bytes.NewReader(text), filepath.Join(root, "target"), Asked{Anything: true}) // whether that works is another matter
	}
	over.Store(true)
	<-done
	if outside, _ := os.ReadDir(filepath.Join(root, "outside")); len(outside) > 0 {
		t.Errorf("outside: %v", outside)
	}
}

func TestABrokenStreamLeavesNoHalfFile(t *testing.T) {
	target := t.TempDir()
	half := stream(t, entry{tar.Header{Typeflag: tar.TypeDir, Name: "d/"}, ""}, entry{tar.Header{Typeflag: tar.TypeReg, Name: "d/half"}, strings.Repeat("x", 5000)})
	err := Receive(bytes.NewReader(half[:2000]), target, Asked{Anything: true})
	if !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "broke off") {
		t.Errorf("%v", err)
	}
	if got := read(t, target); !maps.Equal(got, map[string]fs.FileMode{"d/": 0o777}) {
		t.Errorf("%v", got)
	}
	if err := Receive(bytes.NewReader(nil), target, Asked{Anything: true}); err != nil {
		t.Errorf("an empty stream: %v", err)
	}
	if err := Receive(strings.NewReader("no tar at all, and long enough to be told from one"), target, Asked{Anything: true}); err == nil {
		t.Error("nonsense was taken")
	}
}

func TestHomeIsWhatAHostsUserMeans(t *testing.T) {
	for given, want := range map[string]string{"": "/home/ann", "~": "/home/ann", "~/": "/home/ann", "~/a/": "/home/ann/a/", "a": "/home/ann/a", "/etc/x": "/etc/x", "a/": "/home/ann/a/", "~bob": "/home/ann/~bob"} {
		if got := Home("/home/ann", given); got != want {
			t.Errorf("Home(%q) = %q, want %q", given, got, want)
		}
	}
}

func TestAHostSendsNothingButWhatItWasAskedFor(t *testing.T) {
	file := func(name string) entry {
		return entry{tar.Header{Typeflag: tar.TypeReg, Name: name}, "content"}
	}
	directory := func(name string) entry { return entry{tar.Header{Typeflag: tar.TypeDir, Name: name + "/"}, ""} }
	for name, c := range map[string]struct {
		asked   Asked
		entries []entry
		taken   string // what is put in place; empty for nothing
	}{
		"a file":                     {Asked{Path: "/var/log/app.log"}, []entry{file("app.log")}, "app.log"},
		"another file":               {Asked{Path: "/var/log/app.log"}, []entry{file(".profile")}, ""},
		"one more file":              {Asked{Path: "app.log"}, []entry{file("app.log"), file("app.log")}, "app.log"},
		"a tree for a file":          {Asked{Path: "~/ssh"}, []entry{directory("ssh"), file("ssh/x")}, ""},
		"a tree":                     {Asked{Path: "a/../ssh/", Recursive: true}, []entry{directory("ssh"), file("ssh/.x")}, "ssh/.x"},
		"another tree":               {Asked{Path: "ssh", Recursive: true}, []entry{directory(".ssh"), file(".ssh/x")}, ""},
		"a home":                     {Asked{Path: "~", Recursive: true}, []entry{directory("jo"), file("jo/.x")}, "jo/.x"},
		"a hidden one for a home":    {Asked{Path: "~/.", Recursive: true}, []entry{directory(".ssh"), file(".ssh/x")}, ""},
		"a file for a home":          {Asked{Path: "..", Recursive: true}, []entry{file("Makefile")}, ""},
		"a file after all of a home": {Asked{Path: "", Recursive: true}, []entry{directory("jo"), file("jo")}, "jo"},
	} {
		t.Run(name, func(t *testing.T) {
			direct, relayed := t.TempDir(), t.TempDir()
			text := stream(t, c.entries...)
			r, w := io.Pipe()
			done := make(chan struct{})
			go func() {
				defer close(done)
				err := Receive(r, relayed, Asked{Anything: true}) // as a host takes it
				r.CloseWithError(err)
			}()
			err := Relay(w, bytes.NewReader(text), c.asked)
			w.CloseWithError(err)
			<-done
			for target, err := range map[string]error{direct: Receive(bytes.NewReader(text), direct, c.asked), relayed: err} {
				if refused := len(c.entries) > 1 && !c.asked.Recursive || c.taken == "" || c.taken == "jo"; refused != (err != nil) {
					t.Errorf("%v", err)
				}
				found := slices.Sorted(maps.Keys(read(t, target)))
				if c.taken == "" && len(found) > 0 || c.taken != "" && !slices.ContainsFunc(found, func(n string) bool { return strings.TrimSuffix(n, "/") == c.taken }) {
					t.Errorf("in place is %q", found)
				}
			}
		})
	}
}

func TestAFileThatDoesNotSayItsLengthIsSentWhole(t *testing.T) {
	want, err := os.ReadFile("/proc/version")
	if err != nil {
		t.Skip("there is no /proc")
	}
	to := t.TempDir()
	if sent, received := carry("/proc/version", to, false); sent != nil || received != nil {
		t.Fatalf("%v, %v", sent, received)
	}
	if got, err := os.ReadFile(filepath.Join(to, "version")); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%q, %v", got, err)
	}
}

func TestNoNameSteersATerminal(t *testing.T) {
	from := filepath.Join(t.TempDir(), "a\x1b[31m")
	if err := os.Mkdir(from, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(from, "p\x1b[2J"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, recursive := range []bool{true, false} {
		if sent, _ := carry(from, t.TempDir(), recursive); sent == nil || strings.Contains(sent.Error(), "\x1b") {
			t.Errorf("%q", sent)
		}
	}
}
