package legacy

import (
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

	"google.golang.org/protobuf/proto"

	"mctl/internal/mctl/state"
	controllerv1 "mctl/proto/mctl/controller/v1"
)

const configFile = "config.json"

// maxName is how long a host's name may be.
const maxName = 63

var namePattern = regexp.MustCompile(`^[a-zA-Z0-9]([a-zA-Z0-9-]*[a-zA-Z0-9])?(\.[a-zA-Z0-9]([a-zA-Z0-9-]*[a-zA-Z0-9])?)*$`)

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
	digest := sha256.Sum256(text)
	s.Request = &controllerv1.ImportMachineRequest{
		Name: name, Source: "sha256:" + hex.EncodeToString(digest[:]), Spec: s.spec(),
	}
	if !s.chooseDriver() {
		return s.Machine
	}
	s.findLogin()
	s.findAuthority()
	if s.config.HostOptions.SwarmOptions.IsSwarm || s.config.HostOptions.SwarmOptions.Discovery != "" {
		s.note("make a swarm of swarm mode, see `mctl create --help`", "it belongs to a standalone Swarm, whose containers go on but which mctl knows nothing of")
	}
	return s.Machine
}

// readConfig reads config.json, or says in a sentence why that can't be.
func (s *subject) readConfig() ([]byte, *Note) {
	const restore = "restore it, or remove the folder"
	text, err := state.ReadBounded(filepath.Join(s.folder, configFile))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if entries, err := os.ReadDir(s.folder); err == nil && len(entries) == 0 {
			return nil, &Note{"its folder is empty", "remove it"}
		}
		return nil, &Note{"its folder has no config.json", restore}
	case err != nil:
		return nil, &Note{"its config.json can't be read: " + cause(err), "check its owner and mode"}
	case len(text) == 0:
		return nil, &Note{"its config.json is empty", restore}
	}
	var version struct{ ConfigVersion int }
	if err := json.Unmarshal(text, &version); err != nil {
		return nil, &Note{"its config.json is no JSON, or cut off: " + err.Error(), restore}
	}
	if version.ConfigVersion > newest {
		return nil, &Note{fmt.Sprintf("its config.json has version %d, and %d is the newest that mctl knows", version.ConfigVersion, newest), "use a newer mctl"}
	}
	if err := json.Unmarshal(text, &s.config); err != nil {
		return nil, &Note{"its config.json is not docker-machine's: " + err.Error(), restore}
	}
	if s.config.DriverName == "" {
		return nil, &Note{"its config.json names no driver", restore}
	}
	if err := json.Unmarshal(s.config.Driver, &s.login); err != nil {
		return nil, &Note{"its config.json has no driver's object", restore}
	}
	return text, nil
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
