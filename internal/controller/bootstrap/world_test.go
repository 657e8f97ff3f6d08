package bootstrap

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"
	"golang.org/x/crypto/ssh"

	"mctl/internal/controller/bootstrap/sshtest"
	"mctl/internal/controller/bootstrap/survey"
	"mctl/internal/controller/driver"
	"mctl/internal/host"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const agentBytes = "the agent for amd64, as it was built"

// pretended is what a pretended host is and what became of it.
type pretended struct {
	mu        sync.Mutex
	facts     map[string]string // what the probe says, one key once
	more      []string          // what it says besides
	noRoot    string            // sudo's complaint; empty when there is root
	uploaded  []byte
	upload    func(stdin io.Reader, stdout, stderr io.Writer) int // instead of a good disk
	answers   []string                                            // of the agent
	status    int                                                 // of the agent
	given     []orders
	unknown   []string // commands that nobody should send
	stubborn  bool     // uninstall leaves things behind
	installed int
	offers    string          // the agent's answer to an offer
	handOvers []host.HandOver // what the agent was asked for
}

// world is a host, somebody who wants it, and what was logged and told.
type world struct {
	t         *testing.T
	host      *pretended
	server    *sshtest.Host
	installer *Installer
	target    Target
	payload   Payload
	log       *bytes.Buffer
	told      []string
	agentDir  string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	signer, key := sshtest.NewKey(t)
	shown, _ := sshtest.NewKey(t)
	host := &pretended{
		facts: map[string]string{
			"probe": "1", "uid": "0", "arch": "x86_64", "os_ID": "debian", "os_PRETTY_NAME": `"Debian GNU/Linux 12 (bookworm)"`,
			"systemd": "1", "df": "/dev/vda 100 50 5000000 50% /", "end": "1",
		},
		answers: []string{"Welcome to this host!", `{"progress":"installing the agent"}`, `{"done":true}`},
	}
	w := &world{t: t, host: host, log: &bytes.Buffer{}, agentDir: t.TempDir()}
	w.server = &sshtest.Host{User: "admin", Keys: []ssh.Signer{shown}, Allowed: signer.PublicKey(), Shell: host.run}
	w.server.Start(t)
	w.build("amd64", agentBytes)
	w.build("arm64", "the agent for arm64")
	w.installer = New(Config{
		Logger:   hclog.New(&hclog.LoggerOptions{Output: w.log, Level: hclog.Trace, Mutex: &sync.Mutex{}}),
		AgentDir: w.agentDir,
		Signers: func(machine string) []ssh.Signer {
			if machine == "lent" {
				return []ssh.Signer{signer}
			}
			return nil
		},
	})
	w.target = Target{
		Machine: "web", SSH: driver.SSH{Address: "127.0.0.1", Port: w.server.Port(), User: "admin"}, Key: key,
		Adopted: true, EnginePort: 2376, MachineUID: "uid-1",
	}
	w.payload = Payload{MachineUID: "uid-1", Ticket: "tickle-me-not", ControlPort: 7443}
	return w
}

func (w *world) build(arch, content string) {
	w.t.Helper()
	if err := os.WriteFile(filepath.Join(w.agentDir, "agent-linux-"+arch), []byte(content), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) progress(line string) { w.told = append(w.told, line) }

func (w *world) install() (Result, error) {
	return w.installer.Install(w.t.Context(), w.target, w.payload, w.progress)
}

// run is the pretended host's shell: a table of what may be asked.
func (h *pretended) run(command string, stdin io.Reader, stdout, stderr io.Writer) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.noRoot != "" {
		_, _ = io.WriteString(stderr, h.noRoot)
		return 1
	}
	switch command {
	case scriptCommand:
		return h.script(stdin, stdout)
	case uploadCommand:
		if h.upload != nil {
			return h.upload(stdin, stdout, stderr)
		}
		return h.receive(stdin, stdout)
	case installNewCommand, installPresentCommand:
		var o orders
		if err := json.NewDecoder(stdin).Decode(&o); err != nil {
			_, _ = io.WriteString(stderr, err.Error())
			return 1
		}
		h.given = append(h.given, o)
		h.say(stdout)
		if h.status == 0 {
			h.installed++
			h.facts["agent"], h.facts["agent_uid"], h.facts["installed"], h.facts["state"] = digest(agentBytes), o.MachineUID, "1", "1"
		}
		return h.status
	case rebootCommand:
		return h.status
	case offerNewCommand, offerPresentCommand, handOverNewCommand, handOverPresentCommand:
		var asked host.HandOver
		if err := json.NewDecoder(stdin).Decode(&asked); err != nil {
			_, _ = io.WriteString(stderr, err.Error())
			return 1
		}
		h.handOvers = append(h.handOvers, asked)
		if command == offerNewCommand || command == offerPresentCommand {
			_, _ = io.WriteString(stdout, h.offers+"\n")
			return h.status
		}
		h.say(stdout)
		if h.status == 0 {
			h.clear()
		}
		return h.status
	case uninstallNewCommand, uninstallPresentCommand, purgeNewCommand, purgePresentCommand:
		h.say(stdout)
		if h.status == 0 && !h.stubborn {
			h.clear()
		}
		return h.status
	}
	h.unknown = append(h.unknown, command)
	return 127
}

func (h *pretended) say(stdout io.Writer) {
	for _, line := range h.answers {
		_, _ = io.WriteString(stdout, line+"\n")
	}
}

func (h *pretended) clear() {
	for _, key := range []string{"agent", "agent_uid", "installed", "state"} {
		delete(h.facts, key)
	}
}

func (h *pretended) script(stdin io.Reader, stdout io.Writer) int {
	text, _ := io.ReadAll(stdin)
	switch string(text) {
	case survey.Script:
		_, _ = io.WriteString(stdout, "Last login: never=ever\n")
		for _, key := range slices.Sorted(maps.Keys(h.facts)) {
			_, _ = fmt.Fprintf(stdout, "%s=%s\n", key, h.facts[key])
		}
		for _, line := range h.more {
			_, _ = io.WriteString(stdout, line+"\n")
		}
	case cloudWaitScript:
		if h.facts["cloud_init"] == "1" {
			delete(h.facts, "cloud_init")
		}
	case tidyScript:
		delete(h.facts, "state")
	default:
		h.unknown = append(h.unknown, string(text))
		return 127
	}
	return 0
}

func (h *pretended) receive(stdin io.Reader, stdout io.Writer) int {
	reader, err := gzip.NewReader(stdin)
	if err != nil {
		return 1
	}
	if h.uploaded, err = io.ReadAll(reader); err != nil {
		return 1
	}
	h.facts["state"] = "1"
	_, _ = fmt.Fprintf(stdout, "%s  %s\n", digest(string(h.uploaded)), newAgent)
	return 0
}

func digest(content string) string {
	sum := sha256.Sum256([]byte(content))
	return hex.EncodeToString(sum[:])
}

// asked is each command that the host was sent, scripts by their first line.
func (w *world) asked() []string {
	var texts []string
	for _, c := range w.server.Commands() {
		text := c.Text
		if text == scriptCommand {
			text, _, _ = strings.Cut(string(c.Stdin), "\n")
		}
		texts = append(texts, text)
	}
	return texts
}
