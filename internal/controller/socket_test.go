package controller

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestSocketWhoseFileIsRemovedComesBack(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "mctl")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "s")
	listener, err := listenUnix(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				done <- err
				return
			}
			conn.Close()
		}
	}()
	for _, remove := range []string{path, dir} {
		if err := os.RemoveAll(remove); err != nil {
			t.Fatal(err)
		}
		look := time.NewTicker(20 * time.Millisecond)
		for deadline := time.Now().Add(20 * time.Second); ; <-look.C {
			conn, err := net.Dial("unix", path)
			if err == nil {
				conn.Close()
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s was removed, and nobody answers any more: %v", remove, err)
			}
		}
		look.Stop()
	}
	for name, mode := range map[string]os.FileMode{path: 0o600, dir: 0o700} {
		if info, err := os.Stat(name); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s has mode %v, %v", name, info.Mode(), err)
		}
	}
	if listener.Addr().String() != path {
		t.Errorf("it is at %s", listener.Addr())
	}
	listener.Close()
	if err := <-done; !errors.Is(err, net.ErrClosed) {
		t.Errorf("accepting ends with %v", err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file is left: %v", err)
	}
}

func TestWhatIsNoSocketIsLeftAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	if err := os.WriteFile(path, []byte("theirs"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := listenUnix(t.Context(), path); err == nil {
		t.Error("a file was taken for a socket")
	}
	if text, _ := os.ReadFile(path); string(text) != "theirs" {
		t.Errorf("it holds %q", text)
	}
}

func TestSocketDoesNotComeBackWhereOthersCouldSwapIt(t *testing.T) {
	base := t.TempDir()
	dir := filepath.Join(base, "mctl")
	path := filepath.Join(dir, "s")
	for name, spoil := range map[string]func() error{
		"open to others": func() error { return os.Chmod(dir, 0o770) },
		"a link":         func() error { return errors.Join(os.Remove(dir), os.Symlink(base, dir)) },
		"another user's": func() error { return os.Chown(dir, 65534, 65534) },
	} {
		if name == "another user's" && os.Getuid() != 0 {
			continue // only root can give a directory away
		}
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		listener, err := listenUnix(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(os.Remove(path), spoil()); err != nil {
			t.Fatal(err)
		}
		listener.(*socket).revive()
		if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: it came back: %v", name, err)
		}
		listener.Close()
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
	}
}
