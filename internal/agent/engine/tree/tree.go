// Package tree reads and replaces whole files of the host, below a root that tests choose.
package tree

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/google/renameio/v2"

	"mctl/internal/fault"
)

// Tree is the root, empty for the host's own.
type Tree string

// Path returns where a path of the host is.
func (t Tree) Path(path string) string { return filepath.Join(string(t), path) }

// Exists reports whether there is a file.
func (t Tree) Exists(path string) bool {
	_, err := os.Stat(t.Path(path))
	return err == nil
}

// Read returns a file's content; nil when there is none. Precondition when it can't be read.
func (t Tree) Read(path string) (*[]byte, error) {
	content, err := os.ReadFile(t.Path(path))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fault.E("tree.Read", fault.Precondition, path, fmt.Errorf("%s can't be read: %w", path, bare(err)))
	}
	return &content, nil
}

// Put makes a file what content is, at once or not at all; nil removes it. An existing file keeps its mode and owner, a new
// one gets mode. Folders that lack are made. Precondition when it can't be written.
func (t Tree) Put(path string, content *[]byte, mode fs.FileMode) error {
	full := t.Path(path)
	if content == nil {
		if err := os.Remove(full); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return unwritable(path, err)
		}
		return nil
	}
	owner := (*syscall.Stat_t)(nil)
	if info, err := os.Stat(full); err == nil {
		mode = info.Mode().Perm()
		owner, _ = info.Sys().(*syscall.Stat_t)
	}
	folder := fs.FileMode(0o755)
	if mode&0o077 == 0 {
		folder = 0o700
	}
	if err := os.MkdirAll(filepath.Dir(full), folder); err != nil {
		return unwritable(path, err)
	}
	// Beside it, so that it has the labels of its folder where SELinux looks at them.
	file, err := renameio.NewPendingFile(full, renameio.WithTempDir(filepath.Dir(full)), renameio.WithStaticPermissions(mode))
	if err != nil {
		return unwritable(path, err)
	}
	defer func() { _ = file.Cleanup() }() // does nothing once it is in place
	if _, err := file.Write(*content); err != nil {
		return unwritable(path, err)
	}
	if owner != nil && (int(owner.Uid) != os.Getuid() || int(owner.Gid) != os.Getgid()) {
		if err := file.Chown(int(owner.Uid), int(owner.Gid)); err != nil {
			return unwritable(path, err)
		}
	}
	if err := file.CloseAtomicallyReplace(); err != nil {
		return unwritable(path, err)
	}
	return nil
}

func unwritable(path string, err error) error {
	f := fault.E("tree.Put", fault.Precondition, path, fmt.Errorf("%s can't be written: %w", path, bare(err)))
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		f.Err = fmt.Errorf("the host's disk is full: %w", f.Err)
		return f.WithHint("make room on the host, then run `mctl retry`")
	}
	return f
}

// bare drops the path that the os package repeats.
func bare(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// Digest is the SHA-256 of a content, hexadecimal; empty for no file.
func Digest(content *[]byte) string {
	if content == nil {
		return ""
	}
	sum := sha256.Sum256(*content)
	return hex.EncodeToString(sum[:])
}

// Same reports whether two contents are equal; no file equals no file alone.
func Same(a, b *[]byte) bool { return (a == nil) == (b == nil) && Digest(a) == Digest(b) }

// Bytes is a content, nothing for no file.
func Bytes(content *[]byte) []byte {
	if content == nil {
		return nil
	}
	return *content
}
