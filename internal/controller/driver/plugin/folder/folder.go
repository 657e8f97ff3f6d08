// Package folder is what a plugin takes for docker-machine's store: a directory for each machine, on the controller's computer, for
// the plugin's user alone.
package folder

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/crypto/ssh"

	"mctl/internal/controller/driver"
	"mctl/internal/controller/driver/plugin/process"
	"mctl/internal/fault"
)

const (
	maxKey  = 64 << 10
	scratch = ".check-"
)

// Account is a user that plugins run as.
type Account struct {
	process.User
	Name, Home string
}

// FindAccount finds the user that plugins run as; nil, for ourselves, where no name is given. fault.Precondition says how to make a
// user that is missing.
func FindAccount(name string) (*Account, error) {
	if name == "" {
		return nil, nil
	}
	found, err := user.Lookup(name)
	var ids []uint32
	if err == nil {
		ids, err = idsOf(found)
	}
	if err != nil {
		return nil, fault.E("folder.FindAccount", fault.Precondition, name,
			fmt.Errorf("third-party drivers run as the user %q, whom the controller's computer does not have", name)).
			WithHint(fmt.Sprintf("`useradd --system --create-home --home-dir /var/lib/%[1]s --shell /usr/sbin/nologin %[1]s` there, or give the controller --plugin-user", name)).
			WithReason(fault.ReasonPrecheck)
	}
	return &Account{process.User{UID: ids[0], GID: ids[1], Groups: ids[2:]}, name, found.HomeDir}, nil
}

// idsOf are the numbers of a user, of its group, and of the groups that it is in: such as kvm, or libvirt.
func idsOf(u *user.User) ([]uint32, error) {
	groups, err := u.GroupIds()
	if err != nil {
		return nil, err
	}
	var ids []uint32
	for _, text := range append([]string{u.Uid, u.Gid}, groups...) {
		id, err := strconv.ParseUint(text, 10, 32)
		if err != nil {
			return nil, err
		}
		ids = append(ids, uint32(id))
	}
	return ids, nil
}

// base opens the directory that holds one for each machine: ours, or one in the home of the user that plugins run as, who can't
// look into ours. That user may put links in its home, which must lead nobody out of it: name is where it is below the root.
func base(own string, a *Account) (root *os.Root, name string, err error) {
	if a == nil {
		if err := os.MkdirAll(own, 0o700); err != nil {
			return nil, "", err
		}
		root, err = os.OpenRoot(own)
		return root, ".", err
	}
	root, err = os.OpenRoot(a.Home)
	if err != nil || !filepath.IsAbs(a.Home) {
		return nil, "", fault.E("folder.base", fault.Precondition, a.Name,
			fmt.Errorf("the home directory %s of the user %q, whom third-party drivers run as, is not there", a.Home, a.Name)).
			WithHint("make it, owned by that user").WithReason(fault.ReasonPrecheck)
	}
	return root, "mctl", nil
}

// Folder is the store of one machine. What is in it belongs to the plugin, so whoever reads it must not be led out of it by a
// link.
type Folder struct {
	Path    string
	own     string // where ours are
	uid     string
	machine string
	account *Account
	root    *os.Root
}

// Open makes a machine's folder under own, or under the account's home, or finds it. fault.Precondition. Close or drop it.
func Open(own string, a *Account, uid, machine string) (*Folder, error) {
	trouble := func(err error) error {
		return fault.E("folder.Open", fault.Precondition, machine, fmt.Errorf("can't make a folder for the plugin: %w", err)).
			WithHint("see to it that the controller can write there")
	}
	if !filepath.IsLocal(uid) || filepath.Base(uid) != uid || uid == "." {
		return nil, trouble(fs.ErrInvalid)
	}
	all, dir, err := base(own, a)
	var known *fault.Error
	switch {
	case errors.As(err, &known):
		return nil, err
	case err != nil:
		return nil, trouble(err)
	}
	defer all.Close()
	name := filepath.Join(dir, uid)
	f := &Folder{Path: filepath.Join(all.Name(), name), own: own, uid: uid, machine: machine, account: a}
	err = all.MkdirAll(name, 0o700)
	if a != nil && err == nil {
		err = errors.Join(all.Lchown(dir, int(a.UID), int(a.GID)), all.Lchown(name, int(a.UID), int(a.GID)))
	}
	if err == nil {
		f.root, err = all.OpenRoot(name)
	}
	if err != nil {
		return nil, trouble(err)
	}
	if err := f.mkdir("machines", filepath.Join("machines", machine)); err != nil {
		f.Close()
		return nil, trouble(err)
	}
	return f, nil
}

// OpenScratch makes a folder for a question alone. Drop it.
func OpenScratch(own string, a *Account, machine string) (*Folder, error) {
	return Open(own, a, scratch+rand.Text(), machine)
}

// Sweep removes what questions left behind that were cut short by a crash.
func Sweep(own string, a *Account) {
	all, dir, err := base(own, a)
	if err != nil {
		return
	}
	defer all.Close()
	entries, _ := fs.ReadDir(all.FS(), dir) // there may be none yet
	for _, entry := range entries {
		if strings.HasPrefix(entry.Name(), scratch) {
			_ = all.RemoveAll(filepath.Join(dir, entry.Name()))
		}
	}
}

// Close lets go of it.
func (f *Folder) Close() { _ = f.root.Close() }

// Drop removes it with all that is in it. It may be repeated.
func (f *Folder) Drop() {
	f.Close()
	if all, dir, err := base(f.own, f.account); err == nil {
		_ = all.RemoveAll(filepath.Join(dir, f.uid))
		all.Close()
	}
}

// Renew takes away what an earlier Create left in the machine's own directory.
func (f *Folder) Renew() error {
	own := filepath.Join("machines", f.machine)
	if err := f.root.RemoveAll(own); err != nil {
		return err
	}
	return f.mkdir(own)
}

func (f *Folder) mkdir(names ...string) error {
	for _, name := range names {
		if err := f.root.Mkdir(name, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		if err := f.give(name); err != nil {
			return err
		}
	}
	return nil
}

func (f *Folder) give(name string) error {
	if f.account == nil {
		return nil
	}
	return f.root.Lchown(name, int(f.account.UID), int(f.account.GID))
}

// Place writes a file that is not there yet, for the plugin alone, into a directory that is made where it is missing.
func (f *Folder) Place(name string, content []byte) error {
	var dirs []string
	for dir := filepath.Dir(name); dir != "."; dir = filepath.Dir(dir) {
		dirs = append([]string{dir}, dirs...)
	}
	if err := f.mkdir(dirs...); err != nil {
		return err
	}
	file, err := f.root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	_, err = file.Write(content)
	return errors.Join(err, file.Close(), f.give(name))
}

var strange = regexp.MustCompile(`[^A-Za-z0-9._-]`)

// Upload places the files that options carry, and returns their paths by flag, whose names have been checked. Texts that are no
// files are left out. Beside a private key lies its public one, which drivers expect there as ssh-keygen leaves it.
func (f *Folder) Upload(options driver.Options) (map[string]string, error) {
	paths := map[string]string{}
	for flag, option := range options {
		if option.Content == nil || len(option.Values) != 1 || strange.MatchString(flag) {
			continue
		}
		dir := filepath.Join("files", flag)
		if err := f.mkdir("files", dir); err != nil {
			return nil, err
		}
		name := strange.ReplaceAllString(filepath.Base(option.Values[0]), "_")
		if name == "." || name == ".." {
			name = "file"
		}
		if err := f.Place(filepath.Join(dir, name), option.Content); err != nil {
			return nil, err
		}
		if public := publicOf(option.Content); public != nil {
			if err := f.Place(filepath.Join(dir, name+".pub"), public); err != nil {
				return nil, err
			}
		}
		paths[flag] = filepath.Join(f.Path, dir, name)
	}
	return paths, nil
}

// publicOf is a private key's public one, as authorized_keys has it; nil for anything else.
func publicOf(content []byte) []byte {
	key, err := ssh.ParsePrivateKey(content)
	var locked *ssh.PassphraseMissingError
	switch {
	case err == nil:
		return ssh.MarshalAuthorizedKey(key.PublicKey())
	case errors.As(err, &locked) && locked.PublicKey != nil:
		return ssh.MarshalAuthorizedKey(locked.PublicKey)
	}
	return nil
}

// Inside returns a path within the folder, if it is.
func (f *Folder) Inside(path string) (string, bool) {
	name, err := filepath.Rel(f.Path, path)
	return name, err == nil && filepath.IsLocal(name)
}

// ReadKey reads a private key that the plugin names. Outside of the folder only one that runs as we do may name a file.
func (f *Folder) ReadKey(path string) ([]byte, error) {
	var file *os.File
	var err error
	name, inside := f.Inside(path)
	switch {
	case inside:
		file, err = f.root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a pipe that nobody writes to would never open
	case f.account == nil && filepath.IsAbs(path):
		file, err = os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	default:
		return nil, fs.ErrPermission
	}
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if info, err := file.Stat(); err != nil || !info.Mode().IsRegular() || info.Size() > maxKey {
		return nil, fs.ErrInvalid
	}
	content, err := io.ReadAll(io.LimitReader(file, maxKey))
	return bytes.Clone(content), err
}
