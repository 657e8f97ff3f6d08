package legacy

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"google.golang.org/protobuf/proto"

	"mctl/internal/mctl/state"
	controllerv1 "mctl/proto/mctl/controller/v1"
)

const configFile = "config.json"

// Bounds of what a store says of a machine.
const (
	maxName    = 63  // a host's
	maxAddress = 300 // of a host or an engine; a DNS name has 253 bytes at most
)

// driverPattern is what can name a driver: no path, and no mark of a plugin's file, or a store would choose the program that is run.
var driverPattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

var namePattern = regexp.MustCompile(`^[a-zA-Z0-9]([a-zA-Z0-9-]*[a-zA-Z0-9])?(\.[a-zA-Z0-9]([a-zA-Z0-9-]*[a-zA-Z0-9])?)*$`)

// Source is what identifies the machine that a config.json was of when it was imported.
func Source(config []byte) string {
	digest := sha256.Sum256(config)
	return "sha256:" + hex.EncodeToString(digest[:])
}

// subject is one machine while it is read.
type subject struct {
	*Machine
	place
	reader *Reader
	folder string
	config config
	login  login
	auth   authOptions
}

// machine reads one folder.
func (r *Reader) machine(name string) *Machine {
	s := &subject{Machine: &Machine{Name: name}, reader: r, folder: filepath.Join(r.Dir, "machines", name)}
	if info, err := os.Lstat(s.folder); err == nil && info.Mode()&fs.ModeSymlink != 0 {
		return s.refuse("import the store that it leads to, or put the folder itself there", "its folder is a link")
	}
	text, problem := s.readConfig()
	if problem != nil {
		s.Problem = problem
		return s.Machine
	}
	s.Driver, s.calls = s.config.DriverName, s.config.Name
	if len(name) > maxName || !namePattern.MatchString(name) {
		return s.refuse("rename its folder", "%q can't name a host", name)
	}
	s.auth = s.config.auth()
	s.place = newPlace(r.Dir, s.auth, s.login)
	s.Address = s.login.IPAddress
	s.Request = &controllerv1.ImportMachineRequest{Name: name, Source: Source(text), Spec: s.spec()}
	if !s.chooseDriver() {
		return s.Machine
	}
	if len(s.Address) > maxAddress || strings.ContainsFunc(s.Address, func(r rune) bool { return unicode.IsControl(r) || unicode.IsSpace(r) }) {
		s.refuse(restore, "its config.json has an address that is none: %.40q", s.Address)
		s.Address = ""
		return s.Machine
	}
	s.findLogin()
	s.findAuthority()
	if s.config.HostOptions.SwarmOptions.IsSwarm || s.config.HostOptions.SwarmOptions.Discovery != "" {
		s.note("make a swarm of swarm mode, see `mctl create --help`", "it belongs to a standalone Swarm, whose containers go on but which mctl knows nothing of")
	}
	return s.Machine
}

// restore is what there is to do about a config.json that is no use.
const restore = "restore it, or remove the folder"

// readConfig reads config.json, or says in a sentence why that can't be.
func (s *subject) readConfig() ([]byte, *Note) {
	text, err := state.ReadBounded(filepath.Join(s.folder, configFile))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if entries, err := os.ReadDir(s.folder); err == nil && len(entries) == 0 {
			return nil, &Note{"its folder is empty", "remove it"}
		}
		return nil, &Note{"its folder has no config.json", restore}
	case errors.Is(err, fs.ErrPermission):
		return nil, &Note{"its config.json can't be read: " + cause(err), "check its owner and mode"}
	case err != nil:
		return nil, &Note{"its config.json can't be read: " + cause(err), restore}
	case len(text) == 0:
		return nil, &Note{"its config.json is empty", restore}
	}
	var version struct{ ConfigVersion int }
	var unfit *json.UnmarshalTypeError
	if err := json.Unmarshal(text, &version); err != nil && !errors.As(err, &unfit) {
		return nil, &Note{"its config.json is no JSON, or cut off: " + err.Error(), restore}
	}
	if unfit != nil || version.ConfigVersion < 0 {
		return nil, &Note{"its config.json has a version that is none", restore}
	}
	if version.ConfigVersion > newest {
		return nil, &Note{fmt.Sprintf("its config.json has version %d, and %d is the newest that mctl knows", version.ConfigVersion, newest), "use a newer mctl"}
	}
	if err := json.Unmarshal(text, &s.config); err != nil {
		return nil, &Note{"its config.json is not docker-machine's" + field(err), restore}
	}
	switch name := s.config.DriverName; {
	case name == "":
		return nil, &Note{"its config.json names no driver", restore}
	case !driverPattern.MatchString(name):
		return nil, &Note{fmt.Sprintf("its config.json names a driver that can be none: %.40q", name), restore}
	}
	if !bytes.HasPrefix(s.config.Driver, []byte("{")) {
		return nil, &Note{"its config.json has no driver's object", restore}
	}
	if err := json.Unmarshal(s.config.Driver, &s.login); err != nil {
		return nil, &Note{"its config.json has a driver's object that can't be read" + field(err), restore}
	}
	return text, nil
}

// field says which value of a JSON document has the wrong type, without the value.
func field(err error) string {
	var unfit *json.UnmarshalTypeError
	if errors.As(err, &unfit) && unfit.Field != "" {
		return ": " + unfit.Field + " is of the wrong kind"
	}
	return ""
}

// cause is an error without the path that it is about.
func cause(err error) string {
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) {
		return pathErr.Err.Error()
	}
	return err.Error()
}

// spec is what the engine has been asked for. What dockerd has as flags stays there.
func (s *subject) spec() *controllerv1.MachineSpec {
	e := s.config.HostOptions.EngineOptions
	spec := &controllerv1.MachineSpec{
		Engine: &controllerv1.EngineSpec{
			StorageDriver: e.StorageDriver, Labels: e.Labels, Env: slices.DeleteFunc(e.Env, func(v string) bool { return v == "" }),
			InsecureRegistries: e.InsecureRegistry, RegistryMirrors: e.RegistryMirror, Options: e.ArbitraryFlags,
		},
		TlsSans: s.config.auth().ServerCertSANs,
	}
	return proto.CloneOf(spec)
}
