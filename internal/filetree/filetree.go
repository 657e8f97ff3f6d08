// Package filetree turns trees of files into tar streams and back, for both ends of a copy. Whoever receives trusts nothing
// of the stream: it holds directories and regular files alone, whose names stay below the target.
package filetree

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"mctl/internal/fault"
)

const (
	bufferSize = 64 << 10
	maxUnsized = 4 << 20 // of a file that does not say how long it is
)

// Send writes what path names to w: a file, or with recursive a directory and all below it. The first entry of the stream
// carries path's own last name. Links are followed. What is neither a file nor a directory, or can't be read, is left out and
// told once the rest is sent.
func Send(w io.Writer, name string, recursive bool) error {
	s := sender{archive: tar.NewWriter(w), buffer: make([]byte, bufferSize), recursive: recursive}
	base := filepath.Base(filepath.Clean(name))
	if base == "." || base == ".." || base == string(filepath.Separator) {
		absolute, err := filepath.Abs(name)
		if err != nil {
			return trouble(name, err)
		}
		if base = filepath.Base(absolute); base == string(filepath.Separator) {
			base = "root"
		}
	}
	if err := s.send(name, base, nil); err != nil {
		return err
	}
	if err := s.archive.Close(); err != nil {
		return trouble(name, err)
	}
	return errors.Join(s.left...)
}

type sender struct {
	archive   *tar.Writer
	buffer    []byte
	recursive bool
	left      []error // what was left out
}

// send writes one file or directory under a name of the stream. above are the directories that it is in.
func (s *sender) send(name, as string, above []os.FileInfo) error {
	info, err := os.Stat(name)
	switch {
	case err != nil:
		s.leave(trouble(name, err))
		return nil
	case info.Mode().IsRegular():
		return s.file(name, as)
	case !info.IsDir():
		s.leave(fault.New("filetree.Send", fault.Precondition, name, printable(name)+": not a regular file"))
		return nil
	case !s.recursive:
		s.leave(fault.New("filetree.Send", fault.Precondition, name, printable(name)+": is a directory").WithHint("-r copies directories"))
		return nil
	case slices.ContainsFunc(above, func(a os.FileInfo) bool { return os.SameFile(a, info) }):
		s.leave(fault.New("filetree.Send", fault.Precondition, name, printable(name)+": a link to a directory that it is in"))
		return nil
	}
	header := &tar.Header{Typeflag: tar.TypeDir, Name: as + "/", Mode: int64(info.Mode().Perm()), Format: tar.FormatPAX}
	if err := s.archive.WriteHeader(header); err != nil {
		return trouble(name, err)
	}
	entries, err := os.ReadDir(name)
	if err != nil {
		s.leave(trouble(name, err))
	}
	above = append(slices.Clone(above), info)
	for _, entry := range entries {
		if err := s.send(filepath.Join(name, entry.Name()), path.Join(as, entry.Name()), above); err != nil {
			return err
		}
	}
	return nil
}

func (s *sender) file(name, as string) error {
	file, err := openFile(name)
	if err != nil {
		s.leave(trouble(name, err))
		return nil
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil || !info.Mode().IsRegular() { // it is another one by now
		s.leave(fault.New("filetree.Send", fault.Precondition, name, printable(name)+": not a regular file"))
		return nil
	}
	size, content := info.Size(), io.Reader(file)
	if size == 0 { // as those of /proc say, whatever they hold
		text, err := io.ReadAll(io.LimitReader(file, maxUnsized+1))
		if len(text) > maxUnsized {
			err = errors.New("it is long and does not say how long")
		}
		if err != nil {
			s.leave(trouble(name, err))
			return nil
		}
		size, content = int64(len(text)), bytes.NewReader(text)
	}
	header := &tar.Header{Typeflag: tar.TypeReg, Name: as, Mode: int64(info.Mode().Perm()), Size: size, Format: tar.FormatPAX}
	if err := s.archive.WriteHeader(header); err != nil {
		return trouble(name, err)
	}
	// One that grows is sent as long as it was; one that shrinks can't be sent any more, since its length is told.
	sent, err := io.CopyBuffer(onlyWriter{s.archive}, io.LimitReader(content, size), s.buffer)
	if err == nil && sent < size {
		err = errors.New("it became shorter while it was read")
	}
	if err != nil {
		return trouble(name, err)
	}
	return nil
}

// onlyWriter hides ReadFrom, which takes a buffer of its own.
type onlyWriter struct{ io.Writer }

func (s *sender) leave(err error) { s.left = append(s.left, err) }

// trouble is an error of the file system in one clause.
func trouble(name string, err error) error {
	cause := err
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) {
		cause = pathErr.Err
	}
	kind := fault.Precondition
	if errors.Is(err, fs.ErrNotExist) {
		kind = fault.NotFound
	}
	return fault.E("filetree", kind, name, fmt.Errorf("%s: %w", printable(name), cause))
}

// printable keeps what a name may hold from meaning anything to a terminal.
func printable(name string) string {
	if quoted := fmt.Sprintf("%+q", name); quoted[1:len(quoted)-1] != name {
		return quoted
	}
	return name
}

// Home completes a path as a host's user means it: relative to the home directory, which ~ is too.
func Home(home, name string) string {
	if rest, ok := strings.CutPrefix(name, "~/"); ok || name == "~" || name == "" {
		name = strings.TrimPrefix(rest, "~")
		if name == "" {
			return home
		}
	}
	if filepath.IsAbs(name) {
		return name
	}
	joined := filepath.Join(home, name)
	if strings.HasSuffix(name, "/") {
		joined += "/"
	}
	return joined
}
