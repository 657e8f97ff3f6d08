package filetree

import (
	"archive/tar"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"mctl/internal/fault"
)

// Receive reads a stream that Send wrote and puts it where target says: below a directory that is there, under the name that
// it has in the stream; else as target itself, whose directory must be there. A file that is there is overwritten, and keeps
// who owns it. Modes are kept, but for what gives rights to whoever runs a file. Nothing is put elsewhere, whatever the stream
// says and whoever changes the tree meanwhile; a file that was begun when the stream broke is taken away again. What was not asked
// for is refused.
func Receive(r io.Reader, target string, asked Asked) error {
	directory, rename := target, ""
	if info, err := os.Stat(target); err != nil || !info.IsDir() {
		if strings.HasSuffix(target, "/") {
			return trouble(target, orNotDirectory(err))
		}
		directory, rename = filepath.Dir(target), filepath.Base(target)
	}
	root, err := os.OpenRoot(directory)
	if err != nil {
		return trouble(directory, err)
	}
	defer root.Close()
	v := receiver{root: root, rename: rename, buffer: make([]byte, bufferSize)}
	archive := tar.NewReader(r)
	for first := true; ; first = false {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			// The stream goes on to its end, or whoever sends would take us for dead.
			_, err = io.Copy(io.Discard, r)
			return errors.Join(v.finish(), err)
		}
		if err == nil {
			err = asked.check(header, first)
		}
		if err == nil {
			err = v.take(header, archive)
		}
		if err != nil {
			return errors.Join(broken(err), v.finish())
		}
	}
}

func orNotDirectory(err error) error {
	if err != nil {
		return err
	}
	return errors.New("not a directory")
}

func broken(err error) error {
	var f *fault.Error
	if errors.As(err, &f) {
		return err
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = errors.New("the copy broke off")
	}
	return fault.E("filetree.Receive", fault.Unavailable, "", err)
}

type receiver struct {
	root   *os.Root
	rename string // for the first name of each entry; empty to leave it
	top    string // that first name, the same for all
	buffer []byte
	modes  []mode // of directories that we made, set last: one that nobody may write can't be filled
}

type mode struct {
	name string
	perm fs.FileMode
}

func (v *receiver) take(header *tar.Header, content io.Reader) error {
	name, err := v.place(header.Name)
	if err != nil {
		return err
	}
	perm := fs.FileMode(header.Mode) & fs.ModePerm
	switch header.Typeflag {
	case tar.TypeDir:
		switch err := v.root.Mkdir(name, perm|0o700); {
		case err == nil:
			v.modes = append(v.modes, mode{name, perm})
		case v.isLink(name) && !v.isDirectory(name):
			return trouble(name, errors.New("a link that does not lead to a directory in the target"))
		case !v.isDirectory(name): // one that was there stays as it is
			return trouble(name, err)
		}
		return nil
	case tar.TypeReg:
		return v.file(name, perm, content)
	}
	return fault.New("filetree.Receive", fault.Invalid, name, printable(header.Name)+": neither a file nor a directory, refused")
}

// place is where an entry goes, below the root.
func (v *receiver) place(name string) (string, error) {
	clean := strings.TrimSuffix(name, "/")
	top, rest, nested := strings.Cut(clean, "/")
	if !filepath.IsLocal(clean) || clean == "." || filepath.Clean(clean) != clean || strings.ContainsRune(clean, 0) || v.top != "" && top != v.top {
		return "", fault.New("filetree.Receive", fault.Denied, "", printable(name)+": a name that leads elsewhere, refused")
	}
	v.top = top
	switch {
	case v.rename == "":
		return clean, nil
	case nested:
		return filepath.Join(v.rename, rest), nil
	}
	return v.rename, nil
}

func (v *receiver) isDirectory(name string) bool {
	info, err := v.root.Stat(name)
	return err == nil && info.IsDir()
}

func (v *receiver) isLink(name string) bool {
	info, err := v.root.Lstat(name)
	return err == nil && info.Mode()&fs.ModeSymlink != 0
}

func (v *receiver) file(name string, perm fs.FileMode, content io.Reader) error {
	file, err := v.root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, perm|0o200)
	made := err == nil
	if errors.Is(err, fs.ErrExist) {
		file, err = v.root.OpenFile(name, os.O_TRUNC|os.O_WRONLY|nonblock, 0)
	}
	if err != nil {
		return trouble(name, err)
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("not a regular file")
	}
	if err == nil {
		_, err = io.CopyBuffer(onlyWriter{file}, content, v.buffer)
	}
	if err == nil && info.Mode().Perm() != perm {
		if err = file.Chmod(perm); !made && errors.Is(err, fs.ErrPermission) {
			err = nil // it is another's, who lets us write
		}
	}
	err = errors.Join(err, file.Close())
	if err != nil && made {
		_ = v.root.Remove(name)
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return err
	}
	if err != nil {
		return trouble(name, err)
	}
	return nil
}

// finish gives directories the modes that they shall have, the innermost first.
func (v *receiver) finish() error {
	var failed error
	for i := len(v.modes) - 1; i >= 0; i-- {
		if m := v.modes[i]; v.root.Chmod(m.name, m.perm) != nil && failed == nil {
			failed = fault.New("filetree.Receive", fault.Precondition, m.name, printable(m.name)+": its mode could not be set")
		}
	}
	return failed
}
