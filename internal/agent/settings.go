package agent

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"mctl/internal/agent/link"
	"mctl/internal/fault"
	"mctl/internal/host"
)

// readSettings reads what first contact left. Its errors do not repeat the text, which holds the ticket.
func readSettings(path string) (link.Settings, error) {
	const op = "agent.readSettings"
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return link.Settings{}, fault.New(op, fault.Precondition, path, "this host was never set up: "+path+" is missing").
			WithHint("the controller writes it; `mctl retry` on the machine")
	}
	if err != nil {
		return link.Settings{}, fault.E(op, fault.Internal, path, err)
	}
	var document struct {
		MachineUID string   `json:"machine_uid"`
		Ticket     string   `json:"ticket"`
		Endpoints  []string `json:"endpoints"`
		LinkUID    int      `json:"link_uid"`
	}
	if json.Unmarshal(text, &document) != nil || document.MachineUID == "" {
		return link.Settings{}, fault.New(op, fault.Precondition, path, path+" is damaged").
			WithHint("the controller writes it anew; `mctl retry` on the machine")
	}
	return link.Settings{MachineUID: document.MachineUID, Ticket: document.Ticket, Endpoints: document.Endpoints, SocketOwner: document.LinkUID}, nil
}

// hostFacts looks at what hardly changes. What can't be read stays empty.
func hostFacts(root string) host.Facts {
	hostname, _ := os.Hostname()
	read := func(path string) string {
		text, err := os.ReadFile(filepath.Join(root, path))
		if err != nil {
			return ""
		}
		return strings.TrimSpace(string(text))
	}
	facts := host.Facts{
		Hostname: hostname, Arch: runtime.GOARCH, CPUs: uint32(runtime.NumCPU()),
		OS:     field(read("etc/os-release"), "PRETTY_NAME="),
		Kernel: read("proc/sys/kernel/osrelease"), BootID: read("proc/sys/kernel/random/boot_id"),
	}
	kilobytes, _, _ := strings.Cut(strings.TrimSpace(field(read("proc/meminfo"), "MemTotal:")), " ")
	if n, err := strconv.ParseUint(kilobytes, 10, 64); err == nil {
		facts.MemoryBytes = n << 10
	}
	return facts
}

// field returns the rest of the line that begins with a name, without quotes.
func field(text, name string) string {
	for scanner := bufio.NewScanner(bytes.NewReader([]byte(text))); scanner.Scan(); {
		if value, ok := strings.CutPrefix(scanner.Text(), name); ok {
			return strings.Trim(value, `"'`)
		}
	}
	return ""
}
