// Package dockercontext is `mctl docker-context`: contexts of the docker CLI's own, so that `docker --context NAME` talks to
// a machine's engine and no variables are needed.
package dockercontext

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"syscall"

	"mctl/internal/fault"
	"mctl/internal/mctl/state"
)

// store is the docker CLI's directory of contexts. In there a context has a folder meta/DIGEST with meta.json, and a folder
// tls/DIGEST with the files of each endpoint; DIGEST is that of its name.
type store struct {
	config   string // the docker CLI's directory
	machines string // where the state directory has its machines; only contexts for these are ours
}

// record is a context as we see it.
type record struct {
	Name     string `json:"name"`
	Machine  string `json:"machine"`
	Endpoint string `json:"endpoint"` // tcp://HOST:PORT, or unix://PATH
}

// meta is the docker CLI's meta.json. Of Metadata it keeps what it does not know.
type meta struct {
	Name     string
	Metadata struct {
		Description string `json:",omitempty"`
		Mark        *mark  `json:"mctl,omitempty"`
	}
	Endpoints map[string]endpoint
}

type endpoint struct {
	Host          string
	SkipTLSVerify bool
}

// mark says that a context is ours. It names the context, since the docker CLI copies marks along with contexts.
type mark struct {
	Context  string `json:"context"`
	Machine  string `json:"machine"`
	Machines string `json:"machines"`
}

// dockerEndpoint is the docker CLI's name for the endpoint that is an engine.
const dockerEndpoint = "docker"

// locate finds the docker CLI's directory as it does itself.
func locate(lookup state.Lookup, dir state.Dir) (store, error) {
	config, _ := lookup("DOCKER_CONFIG")
	if config == "" {
		home, _ := lookup("HOME")
		if home == "" {
			return store{}, fault.New("dockercontext", fault.Precondition, "", "the docker CLI's directory is not known, since HOME is not set").
				WithHint("set DOCKER_CONFIG")
		}
		config = filepath.Join(home, ".docker")
	}
	return store{config: config, machines: dir.Machines()}, nil
}

// validName is what the docker CLI takes for a context's name; one it keeps for itself.
var validName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.+-]+$`)

func checkName(name string) error {
	if validName.MatchString(name) && name != "default" {
		return nil
	}
	return fault.New("dockercontext", fault.Invalid, name, fmt.Sprintf("the docker CLI takes no context of the name %q", name)).
		WithHint("put something in front with --prefix, such as --prefix mctl-")
}

// list returns the contexts that are ours, in the order of their folders. What can't be read is not ours.
func (s store) list() ([]record, error) {
	folders, err := os.ReadDir(filepath.Join(s.config, "contexts", "meta"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, s.trouble(err)
	}
	var ours []record
	for _, folder := range folders {
		path := filepath.Join(s.config, "contexts", "meta", folder.Name(), "meta.json")
		if r, ok := s.read(path); ok && digest(r.Name) == folder.Name() {
			ours = append(ours, r)
		}
	}
	return ours, nil
}

// read reads a meta.json; false where it is not ours.
func (s store) read(path string) (record, bool) {
	text, err := readSmall(path)
	if err != nil {
		return record{}, false
	}
	var m meta
	if err := json.Unmarshal(text, &m); err != nil || m.Metadata.Mark == nil {
		return record{}, false
	}
	ours := m.Metadata.Mark.Context == m.Name && m.Metadata.Mark.Machines == s.machines
	return record{Name: m.Name, Machine: m.Metadata.Mark.Machine, Endpoint: m.Endpoints[dockerEndpoint].Host}, ours
}

// change says what became of a context.
type change string

const (
	created   change = "created"
	updated   change = "updated"
	unchanged change = "unchanged"
)

// put makes a context, or mends one that is ours. files are ca.pem, cert.pem and key.pem, or none. One of that name that is not ours is
// fault.Exists. May be repeated.
func (s store) put(r record, files map[string][]byte) (change, error) {
	if err := checkName(r.Name); err != nil {
		return "", err
	}
	there, err := s.own(r.Name)
	if err != nil {
		return "", err
	}
	m := meta{Name: r.Name, Endpoints: map[string]endpoint{dockerEndpoint: {Host: r.Endpoint}}}
	m.Metadata.Description = "The machine " + r.Machine
	m.Metadata.Mark = &mark{Context: r.Name, Machine: r.Machine, Machines: s.machines}
	text, err := json.Marshal(m)
	if err != nil {
		return "", fault.E("dockercontext.put", fault.Internal, r.Name, err)
	}
	if err := errors.Join(os.MkdirAll(s.config, 0o700), os.MkdirAll(s.meta(r.Name), 0o755)); err != nil { //nolint:gosec // as docker has it
		return "", s.trouble(err)
	}
	// The mark comes first: a key that a crash leaves is not without an owner.
	changed, err := write(filepath.Join(s.meta(r.Name), "meta.json"), text, 0o644)
	if err != nil {
		return "", s.trouble(err)
	}
	if len(files) == 0 {
		err = os.RemoveAll(s.tls(r.Name))
	} else {
		err = os.MkdirAll(s.endpoint(r.Name), 0o700)
	}
	if err != nil {
		return "", s.trouble(err)
	}
	for name, content := range files {
		more, err := write(filepath.Join(s.endpoint(r.Name), name), content, 0o600)
		if err != nil {
			return "", s.trouble(err)
		}
		changed = changed || more
	}
	switch {
	case !there:
		return created, nil
	case changed:
		return updated, nil
	}
	return unchanged, nil
}

// remove takes a context away that is ours. One that is not is fault.Exists, one that is not there fault.NotFound.
func (s store) remove(name string) error {
	there, err := s.own(name)
	if err != nil {
		return err
	}
	if !there {
		return fault.New("dockercontext.remove", fault.NotFound, name, fmt.Sprintf("there is no docker context %q", name)).
			WithHint("`docker context ls` lists them")
	}
	// The mark goes last: what a crash leaves is still ours.
	for _, path := range []string{s.tls(name), s.meta(name)} {
		if err := os.RemoveAll(path); err != nil {
			return s.trouble(err)
		}
	}
	return nil
}

// own reports whether a context is there; one that is not ours is an error.
func (s store) own(name string) (there bool, err error) {
	path := filepath.Join(s.meta(name), "meta.json")
	if _, err := os.Lstat(path); errors.Is(err, os.ErrNotExist) {
		return false, nil
	} else if err != nil {
		return false, s.trouble(err)
	}
	if r, ours := s.read(path); ours && r.Name == name {
		return true, nil
	}
	return true, fault.New("dockercontext", fault.Exists, name, fmt.Sprintf("the docker context %q is not of this state directory's making", name)).
		WithHint("have another name by --prefix, or remove it with `docker context rm " + name + "`")
}

// current is the context that the docker CLI takes where none is named.
func (s store) current() string {
	var config struct{ CurrentContext string }
	if text, err := readSmall(filepath.Join(s.config, "config.json")); err == nil {
		_ = json.Unmarshal(text, &config)
	}
	return config.CurrentContext
}

func (s store) meta(name string) string {
	return filepath.Join(s.config, "contexts", "meta", digest(name))
}
func (s store) tls(name string) string {
	return filepath.Join(s.config, "contexts", "tls", digest(name))
}
func (s store) endpoint(name string) string {
	return filepath.Join(s.tls(name), dockerEndpoint)
}

// trouble is the fault for a directory of the docker CLI's that can't be used.
func (s store) trouble(err error) error {
	path, cause := s.config, err
	var pathErr *os.PathError
	var linkErr *os.LinkError
	switch {
	case errors.As(err, &pathErr):
		path, cause = pathErr.Path, pathErr.Err
	case errors.As(err, &linkErr):
		path, cause = linkErr.New, linkErr.Err
	}
	return fault.New("dockercontext", fault.Precondition, path, "can't use the docker CLI's directory: "+path+": "+cause.Error()).
		WithHint("check its owner and mode, or name another one by DOCKER_CONFIG")
}

func digest(name string) string {
	sum := sha256.Sum256([]byte(name))
	return hex.EncodeToString(sum[:])
}

// write writes a file whole or not at all, and tells whether it had to. A mode that was loosened is not kept.
func write(path string, content []byte, mode os.FileMode) (changed bool, err error) {
	if info, err := os.Lstat(path); err == nil && info.Mode() == mode {
		if present, err := readSmall(path); err == nil && bytes.Equal(present, content) {
			return false, nil
		}
	}
	return true, state.Replace(path, content, mode)
}

// maxFile bounds what is read of others' files.
const maxFile = 1 << 20

var errNoFile = errors.New("no regular file")

// readSmall reads a file of a sane size, and waits for nobody who would write to it.
func readSmall(path string) ([]byte, error) {
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if info, err := file.Stat(); err != nil {
		return nil, err
	} else if !info.Mode().IsRegular() {
		return nil, errNoFile
	}
	return io.ReadAll(io.LimitReader(file, maxFile))
}
