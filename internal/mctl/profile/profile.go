// Package profile notes which controllers there are besides the caller's own, and which one is meant.
package profile

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"mctl/internal/fault"
	"mctl/internal/mctl/state"
)

// Local is the name of the caller's own controller, which is always there.
const Local = "local"

const currentFile = "current"

// Profile is one controller far away. Key and certificates are files beside it.
type Profile struct {
	Name     string `json:"name"`
	Endpoint string `json:"endpoint"` // host:port
}

var namePattern = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9._-]{0,62}$`)

// Store is the folder of profiles.
type Store struct{ Dir state.Dir }

// Check refuses a name that can't be a profile's.
func (s Store) Check(name string) error {
	switch {
	case !namePattern.MatchString(name):
		return fault.New("profile.Check", fault.Invalid, name, fmt.Sprintf("%q can't name a context", name)).
			WithHint("use letters, digits, dots and dashes").WithReason(fault.ReasonUsage)
	case name == Local, name == "default", name == currentFile:
		return fault.New("profile.Check", fault.Invalid, name, fmt.Sprintf("the name %q is taken", name)).
			WithHint("take another one; it stands for the controller that is started for you").WithReason(fault.ReasonUsage)
	}
	return nil
}

func (s Store) path(name string) string { return filepath.Join(s.Dir.Contexts(), name+".json") }

// Files is where a profile's key, certificates and machines' files are.
func (s Store) Files(name string) string { return filepath.Join(s.Dir.Contexts(), name) }

func (Store) unknown(name string) error {
	return fault.New("profile", fault.NotFound, name, fmt.Sprintf("there is no context %q", name)).WithHint("`mctl context ls` shows them")
}

// Get returns a profile; fault.NotFound for a name that is none's.
func (s Store) Get(name string) (Profile, error) {
	text, err := os.ReadFile(s.path(name))
	if errors.Is(err, os.ErrNotExist) || !namePattern.MatchString(name) {
		return Profile{}, s.unknown(name)
	}
	if err != nil {
		return Profile{}, state.Trouble(s.path(name), err)
	}
	var p Profile
	if err := json.Unmarshal(text, &p); err != nil || p.Endpoint == "" {
		return Profile{}, fault.New("profile.Get", fault.Precondition, name, fmt.Sprintf("the file of context %q can't be read", name)).
			WithHint("remove it with `mctl context rm " + name + "` and make it anew")
	}
	p.Name = name
	return p, nil
}

// List returns all profiles by name.
func (s Store) List() ([]Profile, error) {
	entries, err := os.ReadDir(s.Dir.Contexts())
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, state.Trouble(s.Dir.Contexts(), err)
	}
	var profiles []Profile
	for _, entry := range entries {
		name, ok := strings.CutSuffix(entry.Name(), ".json")
		if !ok {
			continue
		}
		p, err := s.Get(name)
		if err != nil {
			return nil, err
		}
		profiles = append(profiles, p)
	}
	slices.SortFunc(profiles, func(a, b Profile) int { return strings.Compare(a.Name, b.Name) })
	return profiles, nil
}

// Save writes a profile.
func (s Store) Save(p Profile) error {
	text, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(s.Dir.Contexts(), 0o700); err != nil {
		return state.Trouble(s.Dir.Contexts(), err)
	}
	return state.WriteFile(s.path(p.Name), append(text, '\n'), 0o600)
}

// Remove forgets a profile with everything that belongs to it. The current one gives way to the local controller.
func (s Store) Remove(name string) error {
	if _, err := os.Lstat(s.path(name)); errors.Is(err, os.ErrNotExist) || !namePattern.MatchString(name) {
		return s.unknown(name)
	}
	if s.Current() == name {
		if err := s.Use(Local); err != nil {
			return err
		}
	}
	return errors.Join(os.RemoveAll(s.Files(name)), os.Remove(s.path(name)))
}

// Current is the profile that Use chose, or Local.
func (s Store) Current() string {
	text, err := os.ReadFile(filepath.Join(s.Dir.Contexts(), currentFile))
	if name := strings.TrimSpace(string(text)); err == nil && name != "" {
		return name
	}
	return Local
}

// Use chooses the profile that is meant when none is named.
func (s Store) Use(name string) error {
	if name == Local {
		err := os.Remove(filepath.Join(s.Dir.Contexts(), currentFile))
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		return err
	}
	if _, err := s.Get(name); err != nil {
		return err
	}
	return state.WriteFile(filepath.Join(s.Dir.Contexts(), currentFile), []byte(name+"\n"), 0o600)
}
