package journal

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/google/renameio/v2"
)

// maxFormer bounds what is kept of one file. Configuration is small.
const maxFormer = 4 << 20

// former is what a path was like.
type former struct {
	Absent  bool        `json:"absent,omitempty"`
	Link    string      `json:"link,omitempty"` // where a symbolic link leads
	Content []byte      `json:"content,omitempty"`
	Mode    fs.FileMode `json:"mode,omitempty"` // permissions, with setuid and its like
	UID     int         `json:"uid,omitempty"`
	GID     int         `json:"gid,omitempty"`
}

// look returns what a path is like.
func look(path string) (former, error) {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return former{Absent: true}, nil
	}
	if err != nil {
		return former{}, err
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return former{}, fmt.Errorf("%s has no owner", path)
	}
	f := former{Mode: info.Mode() &^ fs.ModeType, UID: int(owner.Uid), GID: int(owner.Gid)}
	switch {
	case info.Mode()&fs.ModeSymlink != 0:
		f.Mode = 0
		f.Link, err = os.Readlink(path)
	case !info.Mode().IsRegular():
		return former{}, fmt.Errorf("%s is neither a file nor a link", path)
	case info.Size() > maxFormer:
		return former{}, fmt.Errorf("%s is too large to be remembered", path)
	default:
		f.Content, err = os.ReadFile(path)
	}
	return f, err
}

// digest tells two states of a path apart.
func (f former) digest() string {
	if f.Absent {
		return "absent"
	}
	sum := sha256.New()
	fmt.Fprintf(sum, "%s\x00%s\x00%s", strconv.FormatUint(uint64(f.Mode), 8), f.Link, f.Content)
	return hex.EncodeToString(sum.Sum(nil))
}

// reads reports whether somebody who reads a path would find the same in what it was like and in what it is like now.
func (f former) reads(path string, now former) bool {
	if f.Link == "" || now.Link != "" {
		return f.Absent == now.Absent && f.Link == now.Link && bytes.Equal(f.Content, now.Content)
	}
	target := f.Link
	if !filepath.IsAbs(target) {
		target = filepath.Join(filepath.Dir(path), target)
	}
	content, err := os.ReadFile(target)
	return err == nil && !now.Absent && bytes.Equal(content, now.Content)
}

// restore makes a path what it was like.
func (f former) restore(path string) error {
	if f.Absent {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if f.Link != "" {
		return link(f.Link, path)
	}
	file, err := renameio.NewPendingFile(path, renameio.WithTempDir(filepath.Dir(path)))
	if err != nil {
		return err
	}
	defer func() { _ = file.Cleanup() }()
	if _, err := file.Write(f.Content); err != nil {
		return err
	}
	// The owner first: changing it takes setuid away.
	if err := file.Chown(f.UID, f.GID); err != nil {
		return err
	}
	if err := file.Chmod(f.Mode); err != nil {
		return err
	}
	return file.CloseAtomicallyReplace()
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// link makes path a symbolic link, at once or not at all.
func link(target, path string) error {
	temporary := filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+strconv.FormatUint(uint64(rand.Uint32()), 10))
	if err := os.Symlink(target, temporary); err != nil {
		return err
	}
	if err := os.Rename(temporary, path); err != nil {
		os.Remove(temporary)
		return err
	}
	return nil
}

// Sweep removes what writes of path that were cut short left beside it: every file of ours is written under another name
// first, which is a dot, its own name and a number. Nobody else may write path meanwhile.
func (j *Journal) Sweep(path string) {
	entries, err := os.ReadDir(j.at(filepath.Dir(path)))
	if err != nil {
		return
	}
	for _, entry := range entries {
		number, found := strings.CutPrefix(entry.Name(), "."+filepath.Base(path))
		if _, err := strconv.ParseUint(number, 10, 64); !found || err != nil || entry.IsDir() {
			continue
		}
		os.Remove(j.at(filepath.Join(filepath.Dir(path), entry.Name())))
	}
}
