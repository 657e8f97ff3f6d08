package legacy

import (
	"bytes"
	"encoding/json"

	"mctl/internal/mctl/state"
)

// Exported is config.json with a driver's object that mctl does not look into.
type Exported struct {
	ConfigVersion int
	Driver        json.RawMessage
	DriverName    string
	HostOptions   state.HostOptions
	Name          string
}

// JSON returns it as docker-machine writes it.
func (e Exported) JSON() ([]byte, error) {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "    ")
	if err := encoder.Encode(e); err != nil {
		return nil, err
	}
	return bytes.TrimRight(text.Bytes(), "\n"), nil
}

// Move is a driver's object whose paths lead into the store at to and no more into that at from, and whose key is at keyPath; all the
// rest stays byte for byte. Without keyPath the key's path stays, too.
func Move(config []byte, from, to, keyPath string) []byte {
	if from != "" {
		config = bytes.ReplaceAll(config, quoted(from), quoted(to))
		config = bytes.ReplaceAll(config, inside(from), inside(to))
	}
	var l login
	if keyPath == "" || json.Unmarshal(config, &l) != nil || l.SSHKeyPath == "" {
		return config
	}
	return bytes.ReplaceAll(config, quoted(l.SSHKeyPath), quoted(keyPath))
}

// quoted is a text as JSON has it, and inside the beginning of a path below it.
func quoted(text string) []byte {
	quoted, _ := json.Marshal(text) // a text
	return quoted
}

func inside(dir string) []byte { return append(bytes.TrimSuffix(quoted(dir), []byte(`"`)), '/') }
