//go:build linux

package system

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mctl/internal/fault"
)

func TestOnlyOneHasALock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	held, err := LockFile(t.Context(), path, nil)
	if err != nil {
		t.Fatal(err)
	}
	waiting, taken := make(chan struct{}), make(chan error)
	go func() {
		second, err := LockFile(t.Context(), path, func() { close(waiting) })
		second.Close()
		taken <- err
	}()
	<-waiting
	select {
	case err := <-taken:
		t.Fatalf("two have it: %v", err)
	default:
	}
	held.Close()
	if err := <-taken; err != nil {
		t.Error(err)
	}
}

func TestWaitingForALockEndsWithTheContext(t *testing.T) {
	dir := t.TempDir()
	held, err := LockDir(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := LockDir(ctx, dir); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

func TestADirectoryRemovedMeanwhileIsNoLock(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "host")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	held, err := LockDir(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	result := make(chan error)
	go func() { _, err := LockDir(t.Context(), dir); result <- err }()
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	held.Close()
	if err := <-result; !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

func TestAToolsComplaintBecomesTheFault(t *testing.T) {
	output, err := Run(t.Context(), "sh", "-c", "echo fine")
	if err != nil || output != "fine\n" {
		t.Errorf("%q %v", output, err)
	}
	_, err = Run(t.Context(), "sh", "-c", "echo first >&2; echo 'no such device' >&2; exit 1")
	if !fault.Is(err, fault.Internal) || !strings.Contains(err.Error(), "no such device") {
		t.Errorf("got %v", err)
	}
	_, err = Run(t.Context(), "no-such-tool-anywhere")
	if !fault.Is(err, fault.Precondition) || !strings.Contains(fault.HintOf(err), "apt-get install") {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err = Run(ctx, "sh", "-c", "true"); !fault.Is(err, fault.Unavailable) {
		t.Errorf("got %v", err)
	}
}

func TestATailIsBounded(t *testing.T) {
	tail := &Tail{}
	for range 1000 {
		_, _ = tail.Write([]byte("a line that is rather long, again and again\n"))
	}
	_, _ = tail.Write([]byte("the end\n"))
	if words := tail.String(); !strings.HasSuffix(words, "the end") || len(words) > 200 || len(tail.kept) > 1024 {
		t.Errorf("%q, %d kept", words, len(tail.kept))
	}
}

func TestMountsAreRead(t *testing.T) {
	all, err := Mounts()
	if err != nil || len(all) == 0 {
		t.Fatalf("%v %v", all, err)
	}
	for _, m := range all {
		if !strings.HasPrefix(m.Point, "/") || m.Kind == "" {
			t.Errorf("a bad one: %+v", m)
		}
	}
}

func TestATreeIsRemoved(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "a", "b"), 0o700); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := RemoveTree(filepath.Join(dir, "a")); err != nil {
			t.Error(err)
		}
	}
	if entries, _ := os.ReadDir(dir); len(entries) > 0 {
		t.Errorf("left: %v", entries)
	}
}
