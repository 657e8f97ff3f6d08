package engine

import (
	"encoding/json"
	"fmt"

	"mctl/internal/fault"
	"mctl/internal/host"
)

const (
	stateFolder = "/var/lib/mctl/engine"
	statePath   = stateFolder + "/state.json"
)

// memory is what must outlive a crash.
type memory struct {
	First      bool              `json:"first"`                // no wish has been fulfilled yet
	Source     string            `json:"source"`               // where Docker comes from
	Installing bool              `json:"installing,omitempty"` // an installation began and did not end
	Before     map[string]string `json:"before,omitempty"`     // Docker's packages when it began
	Provision  uint64            `json:"provision"`
	Upgrade    uint64            `json:"upgrade"`
	Facts      host.EngineFacts  `json:"facts"`

	Ours contribution  `json:"ours"`           // what we have put into dockerd's configuration
	Next *contribution `json:"next,omitempty"` // what is being written; holds when the file on disk is it

	Pending act      `json:"pending,omitempty"` // what dockerd must still do with what is written
	Former  *kept    `json:"former,omitempty"`  // the files before, while a change is under way
	Neutral string   `json:"neutral,omitempty"` // digest of daemon.json in between, where keys are taken back
	Flags   []string `json:"flags,omitempty"`   // flags of our drop-in; the running dockerd has them too

	Yielded uint16 `json:"yielded,omitempty"` // the port that dockerd gives up for the front
	Handed  bool   `json:"handed,omitempty"`  // dockerd is docker-machine's again
	Live    bool   `json:"live,omitempty"`    // live-restore is ours, for the time of a restart
	Waiting string `json:"waiting,omitempty"` // the invocation of dockerd that is not restarted until somebody asks for it
}

// contribution is our part of daemon.json.
type contribution struct {
	Original *[]byte        `json:"original"` // the file without our part; nil when there was none
	Keys     map[string]any `json:"keys"`     // what we merged in
	Digest   string         `json:"digest"`   // of the file as we left it; empty when we left none
}

// kept are the files that we write, as they are at one time; nil stands for no file.
type kept struct {
	Document *[]byte `json:"document"`
	DropIn   *[]byte `json:"drop_in"`
	Machine  *[]byte `json:"machine,omitempty"` // docker-machine's drop-in, which is written when a host goes back to it
	Yielded  uint16  `json:"yielded,omitempty"` // the port that dockerd gives up with them
}

// act is what a running dockerd must do to take over a change.
type act string

const (
	nothing act = ""
	reload  act = "reload"
	restart act = "restart"
)

func (e *Engine) load() (*memory, error) {
	m := &memory{First: true}
	content, err := e.tree.Read(statePath)
	if err != nil || content == nil {
		return m, err
	}
	if err := json.Unmarshal(*content, m); err != nil {
		return nil, fault.E("engine.load", fault.Internal, statePath, fmt.Errorf("%s can't be read: %w", statePath, err)).
			WithHint("remove that file on the host; the engine is then taken as one that was there before")
	}
	return m, nil
}

// save writes for root alone: the former daemon.json may hold proxies with passwords.
func (e *Engine) save(m *memory) error {
	content, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	return e.tree.Put(statePath, &content, 0o600)
}
