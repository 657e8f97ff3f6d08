package state

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/google/renameio/v2"
	"golang.org/x/crypto/ssh"

	"mctl/internal/fault"
	controllerv1 "mctl/proto/mctl/controller/v1"
)

// Names of the files in a machine's folder.
const (
	markFile       = ".mctl"
	configFile     = "config.json"
	keyFile        = "id_rsa"
	publicKeyFile  = "id_rsa.pub"
	knownHostsFile = "known_hosts"
)

// Folder is where the client keeps one machine's files.
type Folder struct {
	Path string
	Name string // the machine's
}

// Mark says whose a folder is. A folder without one is foreign: read at most, never changed.
type Mark struct {
	UID        string `json:"uid"`                  // of the machine; empty while it is only being asked for
	Controller string `json:"controller,omitempty"` // that a create has asked
}

// Key is the private key for logging in to the host; it need not exist.
func (f Folder) Key() string { return filepath.Join(f.Path, keyFile) }

// KnownHosts is where the host's pinned keys stand for ssh.
func (f Folder) KnownHosts() string { return filepath.Join(f.Path, knownHostsFile) }

// File is a file of the folder.
func (f Folder) File(name string) string { return filepath.Join(f.Path, name) }

// HasKey reports whether there is a private key.
func (f Folder) HasKey() bool { return exists(f.Key()) }

// Exists reports whether anything has the folder's name.
func (f Folder) Exists() bool { return exists(f.Path) }

// Foreign reports whether another program made what has the folder's name. Other commands may put ours there or take it away
// meanwhile, so it has to be the same before and after the look at its mark.
func (f Folder) Foreign() bool {
	before, err := os.Lstat(f.Path)
	if err != nil || !f.isLocal() {
		return false
	}
	if _, ours := f.Mark(); ours {
		return false
	}
	after, err := os.Lstat(f.Path)
	return err == nil && os.SameFile(before, after)
}

// Mark reads the mark; false for a folder that is foreign or not there. A link in place of either is not of our making.
func (f Folder) Mark() (Mark, bool) {
	if info, err := os.Lstat(f.Path); err != nil || !info.IsDir() {
		return Mark{}, false
	}
	text, err := readBounded(f.File(markFile), syscall.O_NOFOLLOW)
	if err != nil {
		return Mark{}, false
	}
	var mark Mark
	// A mark that can't be read is still a mark: only we make such a file.
	_ = json.Unmarshal(text, &mark)
	return mark, true
}

// errForeign says that another program's folder is where ours should be.
func (f Folder) errForeign() error {
	return fault.New("state.Claim", fault.Exists, f.Path, "the folder "+f.Path+" is there already and not of mctl's making").
		WithHint("move it away, then try again")
}

// Claim makes the machine's folder ours, with the key that a create had made for it when it was killed. It is Folder.Claim and
// Recover in one.
func (d Dir) Claim(m *controllerv1.Machine) (Folder, error) {
	folder := d.Machine(m.GetName())
	if !folder.isLocal() {
		return folder, folder.Claim(m.GetUid())
	}
	return folder, errors.Join(d.Recover(m.GetName(), m.GetUid(), m.GetSpec().GetSshAuthorizedKeys()), folder.Claim(m.GetUid()))
}

// isLocal reports whether the folder can't be anywhere but where machines' folders are.
func (f Folder) isLocal() bool {
	return f.Name == filepath.Base(f.Name) && !strings.HasPrefix(f.Name, ".")
}

// Claim makes the folder ours for the machine with a uid, and makes it where it is missing. A folder that was marked for
// another machine of that name, one that is no more, is emptied first. A foreign folder is fault.Exists. May be repeated.
func (f Folder) Claim(uid string) error {
	mark, ours := f.Mark()
	switch {
	case !f.isLocal():
		return fault.New("state.Claim", fault.Invalid, f.Name, fmt.Sprintf("%q can't name a machine's folder", f.Name))
	case ours && mark.UID == uid:
		return nil
	case ours:
		if err := os.RemoveAll(f.Path); err != nil {
			return Trouble(f.Path, err)
		}
	case f.Foreign():
		return f.errForeign()
	}
	if err := makePrivate(f.Path); err != nil {
		return err
	}
	return f.writeMark(Mark{UID: uid})
}

// Adopt makes a foreign folder that of the machine with a uid, and leaves all that is in it. May be repeated.
func (f Folder) Adopt(uid string) error {
	if !f.isLocal() {
		return fault.New("state.Adopt", fault.Invalid, f.Name, fmt.Sprintf("%q can't name a machine's folder", f.Name))
	}
	return f.writeMark(Mark{UID: uid})
}

func (f Folder) writeMark(mark Mark) error {
	text, err := json.Marshal(mark)
	if err != nil {
		return err
	}
	return f.Write(markFile, append(text, '\n'), 0o600)
}

// Write puts a file into the folder, whole or not at all. A file that has that content already is left alone.
func (f Folder) Write(name string, content []byte, mode os.FileMode) error {
	return WriteFile(f.File(name), content, mode)
}

// WriteKeys puts the key pair for logging in there.
func (f Folder) WriteKeys(private, public []byte) error {
	if err := f.Write(keyFile, private, 0o600); err != nil || public == nil {
		return err
	}
	return f.Write(publicKeyFile, public, 0o600)
}

// WriteKnownHosts pins the host's keys (authorized_keys format) under alias. Without keys nothing is written. Of each key
// only the key is taken over: a line could say more, such as that an authority is trusted.
func (f Folder) WriteKnownHosts(alias string, keys []string) error {
	if len(keys) == 0 {
		return nil
	}
	var text strings.Builder
	for _, line := range keys {
		key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(line))
		if err != nil {
			return fault.E("state.WriteKnownHosts", fault.Internal, alias, fmt.Errorf("the pinned host key of %q can't be read: %w", alias, err))
		}
		text.WriteString(alias + " " + string(ssh.MarshalAuthorizedKey(key)))
	}
	return f.Write(knownHostsFile, []byte(text.String()), 0o600)
}

// Remove takes the folder away if it is ours. One that is foreign or not there is left as it is.
func (f Folder) Remove() error {
	if _, ours := f.Mark(); !ours {
		return nil
	}
	// The mark goes last: what a crash leaves is still ours.
	entries, err := os.ReadDir(f.Path)
	for _, entry := range entries {
		if entry.Name() != markFile {
			err = errors.Join(err, os.RemoveAll(f.File(entry.Name())))
		}
	}
	if err == nil {
		err = os.RemoveAll(f.Path)
	}
	if err != nil {
		return Trouble(f.Path, err)
	}
	return nil
}

// WriteFile writes a file whole or not at all. One that has that content already, and lets nobody else in, is left alone.
func WriteFile(path string, content []byte, mode os.FileMode) error {
	if holds(path, content, mode) {
		return nil
	}
	if err := Replace(path, content, mode); err != nil {
		return Trouble(path, err)
	}
	return nil
}

// Replace writes a file whole or not at all, and gives it this mode, whatever the present one has: renameio.WriteFile would
// keep that.
func Replace(path string, content []byte, mode os.FileMode) error {
	file, err := renameio.NewPendingFile(path, renameio.WithStaticPermissions(mode), renameio.WithTempDir(filepath.Dir(path)))
	if err != nil {
		return err
	}
	defer file.Cleanup() //nolint:errcheck // does nothing once the file is in its place
	if _, err := file.Write(content); err != nil {
		return err
	}
	return file.CloseAtomicallyReplace()
}

func holds(path string, content []byte, mode os.FileMode) bool {
	info, err := os.Lstat(path)
	if err != nil || info.Mode()&^mode != 0 {
		return false
	}
	present, err := os.ReadFile(path)
	return err == nil && bytes.Equal(present, content)
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// maxFile bounds what is read of a file that another program may have made: the largest config.json seen has about 4 kB.
const maxFile = 1 << 20

// ReadBounded reads a regular file of another program's. One of more than a mebibyte is an error, and so is anything else, such as a
// pipe that nobody writes into, which is not waited for.
func ReadBounded(path string) ([]byte, error) { return readBounded(path, 0) }

// readBounded is ReadBounded with more of open's flags, such as O_NOFOLLOW.
func readBounded(path string, flags int) ([]byte, error) {
	file, err := openRegular(path, flags)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err == nil && len(text) > maxFile {
		return nil, &os.PathError{Op: "read", Path: path, Err: errTooLarge}
	}
	return text, err
}

var (
	errIrregular = errors.New("not a regular file")
	errTooLarge  = errors.New("larger than a mebibyte")
)

func openRegular(path string, flags int) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK|flags, 0)
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = &os.PathError{Op: "open", Path: path, Err: errIrregular}
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}
