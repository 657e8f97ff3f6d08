// Package memory is what is remembered of a plugin's host between two calls.
package memory

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"regexp"

	"mctl/internal/fault"
)

// Memory travels as driver.Instance.State. It holds secrets.
type Memory struct {
	// Config is the plugin's own JSON, byte for byte.
	Config []byte `json:"config"`
	// Key is the private key that the plugin made for the host.
	Key []byte `json:"key,omitempty"`
	// ID is the provider's name for the host, once the plugin's JSON has one.
	ID string `json:"id,omitempty"`
	// Begun says that the plugin was told to create, Made that it said it had.
	Begun bool `json:"begun,omitempty"`
	Made  bool `json:"made,omitempty"`
	// Fragile plugins broke when they were asked for their JSON during a Create.
	Fragile bool `json:"fragile,omitempty"`
}

// Imported is what docker-machine remembered, with the paths in its JSON moved to another store; all the rest stays byte for byte. A key
// path outside of the store becomes keyPath, where there is a key.
func Imported(config []byte, from, to string, key []byte, keyPath string) Memory {
	m := Memory{Config: config, Key: key, Begun: true, Made: true}
	if from != "" {
		m.Config = bytes.ReplaceAll(m.Config, quoted(from, `"`), quoted(to, `"`))
		m.Config = bytes.ReplaceAll(m.Config, quoted(from, "/"), quoted(to, "/"))
	}
	var login struct{ SSHKeyPath string }
	if err := json.Unmarshal(m.Config, &login); err == nil && login.SSHKeyPath != "" && key != nil &&
		!bytes.HasPrefix(quoted(login.SSHKeyPath, `"`), quoted(to, "/")) {
		m.Config = bytes.ReplaceAll(m.Config, quoted(login.SSHKeyPath, `"`), quoted(keyPath, `"`))
	}
	m.LearnID(nil)
	return m
}

// Encode is the stored form.
func (m Memory) Encode() []byte {
	text, _ := json.Marshal(m) // texts and bytes alone
	return text
}

// Recall reads what was remembered. Nothing is a memory, too.
func Recall(state []byte) (Memory, error) {
	var m Memory
	if len(state) == 0 {
		return m, nil
	}
	if err := json.Unmarshal(state, &m); err != nil {
		return m, fault.E("memory.Recall", fault.Internal, "", err)
	}
	return m, nil
}

// ConfigAt is the plugin's JSON for a store at a path: byte for byte, but for paths in the store that it was told of before, which
// has moved with the controller's files since.
func (m Memory) ConfigAt(store string) []byte {
	fields, _ := parse(m.Config)
	before := unquoted(fields["StorePath"])
	if before == "" || before == store || !filepath.IsAbs(before) {
		return m.Config
	}
	config := m.Config
	for _, end := range []string{`"`, "/"} {
		config = bytes.ReplaceAll(config, quoted(before, end), quoted(store, end))
	}
	return config
}

// quoted is how a text begins with a path, up to the path's end.
func quoted(path, end string) []byte {
	text, _ := json.Marshal(path)
	return append(text[:len(text)-1], end...)
}

// Learn takes over what the plugin told while it worked, unless it is broken or lacks a field: one that is asked meanwhile may answer
// with anything. It reports whether the JSON tells something new.
func (m *Memory) Learn(config []byte) bool {
	return m.learn(config, func(string, json.RawMessage) bool { return true })
}

// Take takes over what the plugin told after its work, unless it is broken or names the host no more. Other fields may be gone: a
// newer version of the plugin has other ones. It reports whether the JSON tells something new.
func (m *Memory) Take(config []byte) bool {
	return m.learn(config, func(key string, value json.RawMessage) bool {
		return key == "MachineName" || idKey.MatchString(key) && !empty(value)
	})
}

// learn takes a JSON over that has all the fields that matter.
func (m *Memory) learn(config []byte, matters func(key string, value json.RawMessage) bool) bool {
	fields, ok := parse(config)
	if !ok || string(config) == string(m.Config) {
		return false
	}
	before, _ := parse(m.Config)
	for key, value := range before {
		if _, there := fields[key]; !there && matters(key, value) {
			return false
		}
	}
	m.Config = config
	return true
}

// LearnID looks for the host's id among what Create added to the plugin's JSON.
func (m *Memory) LearnID(baseline []byte) {
	before, _ := parse(baseline)
	after, _ := parse(m.Config)
	for key, value := range after {
		if idKey.MatchString(key) && !empty(value) && string(before[key]) != string(value) {
			m.ID = unquoted(value)
			return
		}
	}
}

// Located reports whether Create has added an address to the plugin's JSON, so that there is a host for certain.
func (m *Memory) Located(baseline []byte) bool {
	before, _ := parse(baseline)
	after, _ := parse(m.Config)
	const key = "IPAddress"
	return !empty(after[key]) && string(before[key]) != string(after[key])
}

// idKey is how drivers call the id of what they made: InstanceId, DropletID, ServerID, MachineId, LinodeID. Ids of keys,
// groups, networks and disks say nothing of a host.
var idKey = regexp.MustCompile(`(?i)^(instance|machine|server|droplet|device|vm|virtual_?machine|node|host|linode|container|domain)?_?(id|uuid)$`)

func parse(config []byte) (map[string]json.RawMessage, bool) {
	var fields map[string]json.RawMessage
	err := json.Unmarshal(config, &fields)
	return fields, err == nil && fields != nil
}

func empty(value json.RawMessage) bool {
	switch string(value) {
	case "", "null", `""`, "0", "[]", "{}":
		return true
	}
	return false
}

func unquoted(value json.RawMessage) string {
	var text string
	if json.Unmarshal(value, &text) == nil {
		return text
	}
	return string(value)
}
