package filetree

import (
	"archive/tar"
	"errors"
	"io"
	"path"
	"strings"

	"mctl/internal/fault"
)

// Asked is what was asked of a sender, who may be a hostile host and send a .profile where a log was wanted.
type Asked struct {
	Path      string // as Send gets it
	Recursive bool
	Anything  bool // the sender may choose
}

// check refuses an entry that was not asked for. The first one is of the name that was asked for; where that is known to the
// sender alone, as that of a home directory is, it is a directory that no program looks for.
func (a Asked) check(header *tar.Header, first bool) error {
	if a.Anything {
		return nil
	}
	top, _, nested := strings.Cut(strings.TrimSuffix(header.Name, "/"), "/")
	wanted, known := a.name()
	switch {
	case known && top != wanted,
		!known && (strings.HasPrefix(top, ".") || !nested && header.Typeflag != tar.TypeDir),
		!a.Recursive && (!first || header.Typeflag != tar.TypeReg):
		return fault.New("filetree.Receive", fault.Denied, "", printable(header.Name)+": sent, though nobody asked for it, refused")
	}
	return nil
}

// name is the last name of the path; false where the path has none.
func (a Asked) name() (string, bool) {
	clean := path.Clean(a.Path)
	if clean == "~" {
		return "", false
	}
	base := path.Base(clean)
	return base, base != "." && base != ".." && base != "/"
}

// Relay passes on a stream that Send wrote, as far as it was asked for.
func Relay(w io.Writer, r io.Reader, asked Asked) error {
	in, out, buffer := tar.NewReader(r), tar.NewWriter(w), make([]byte, bufferSize)
	for first := true; ; first = false {
		header, err := in.Next()
		if errors.Is(err, io.EOF) {
			err = out.Close()
			if err == nil {
				_, err = io.Copy(io.Discard, r) // up to the sender's last word
			}
			return err
		}
		if err == nil {
			err = asked.check(header, first)
		}
		if err == nil {
			err = out.WriteHeader(&tar.Header{Typeflag: header.Typeflag, Name: header.Name, Mode: header.Mode, Size: header.Size, Format: tar.FormatPAX})
		}
		if err == nil {
			_, err = io.CopyBuffer(onlyWriter{out}, in, buffer)
		}
		if err != nil {
			return broken(err)
		}
	}
}
