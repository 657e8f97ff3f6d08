package agent

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"

	"mctl/internal/agent/footprint"
	"mctl/internal/fault"
)

// leaving is on disk from the moment when our part is out of the engine until all is taken away, so that an agent that is
// killed on the way, or a host that is switched off, goes on where it was.
type leaving footprint.Leaving

// readLeaving returns nothing for a host that stays.
func readLeaving(path string) (*leaving, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var l leaving
	if err == nil {
		err = json.Unmarshal(text, &l)
	}
	if err != nil {
		return nil, fault.E("agent.readLeaving", fault.Internal, path, err)
	}
	return &l, nil
}

func (l leaving) write(path string) error {
	text, err := json.Marshal(l)
	if err == nil {
		err = renameio.WriteFile(path, text, 0o600, renameio.WithTempDir(filepath.Dir(path)))
	}
	if err != nil {
		return fault.E("agent.leaving", fault.Precondition, path, err)
	}
	return nil
}

// stay forgets an intent to leave that was taken back.
func stay(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fault.E("agent.stay", fault.Precondition, path, err)
	}
	return nil
}
