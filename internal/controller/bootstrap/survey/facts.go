// Package survey knows the script that tells what a host is, and reads its answer.
package survey

import (
	"crypto/x509"
	_ "embed"
	"encoding/pem"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"mctl/internal/controller/bootstrap/login"
)

// Script is for the host's shell, as root. It changes nothing and prints key=value lines, as Answer takes them.
//
//go:embed probe.sh
var Script string

// Facts is what the script tells of a host. All of it is the host's word: nothing is trusted beyond refusing.
type Facts struct {
	UID         string
	Machine     string   // as uname says
	Arch        string   // as Go says; empty for one that has no agent
	OSIDs       []string // ID, then ID_LIKE
	OSName      string
	Systemd     bool
	CloudInit   bool   // still busy
	StateDir    bool   // /var/lib/mctl is there
	Installed   bool   // and something in it says that an agent was installed
	AgentDigest string // of the installed agent's binary
	AgentUID    string // the machine that it serves
	FrontPorts  []uint16
	Docker      bool
	Swarm       Swarm // that the engine is in
	Listeners   map[uint16]Listener
	FreeKB      uint64 // the least of the file systems that we write to
}

// Swarm is one that an engine is in; the zero value where it is in none, or keeps its data where nobody looks for them.
type Swarm struct {
	ID      string
	Manager bool
}

// Listener is who has a port.
type Listener struct {
	Program string // empty when unknown
	Dockerd bool
}

var (
	listenPort = regexp.MustCompile(`:(\d+) \(Stream\)`)
	ssLine     = regexp.MustCompile(`^LISTEN\s+\S+\s+\S+\s+\S+:(\d+)\s+\S+\s*(?:users:\(\("([^"]*)")?`)
)

// Answer collects what the script says.
type Answer struct{ said map[string][]string }

// Line takes one line; what is none of the script's, such as a shell's greeting, is left out when it is read.
func (a *Answer) Line(line string) {
	if a.said == nil {
		a.said = map[string][]string{}
	}
	if key, value, found := strings.Cut(line, "="); found {
		a.said[key] = append(a.said[key], value)
	}
}

// Begun reports whether the script ran at all.
func (a *Answer) Begun() bool { return len(a.said["probe"]) > 0 }

// Whole reports whether it came to its end.
func (a *Answer) Whole() bool { return len(a.said["end"]) > 0 }

// Facts reads the answer.
func (a *Answer) Facts() Facts {
	said := a.said
	first := func(key string) string {
		if values := said[key]; len(values) > 0 {
			return login.Clean(values[0])
		}
		return ""
	}
	f := Facts{
		UID: first("uid"), Machine: first("arch"), Arch: goArch(first("arch")),
		Systemd: first("systemd") != "", CloudInit: first("cloud_init") != "",
		StateDir: first("state") != "", Installed: first("installed") != "", AgentDigest: first("agent"), AgentUID: first("agent_uid"),
		Docker:    first("docker") != "",
		Swarm:     swarm(strings.Join(said["swarm"], "\n")),
		Listeners: listeners(said["tcp"], said["dockerd_socket"], said["ss"]),
		FreeKB:    freeKB(said["df"]),
	}
	f.OSIDs = strings.Fields(unquote(first("os_ID")) + " " + unquote(first("os_ID_LIKE")))
	if f.OSName = unquote(first("os_PRETTY_NAME")); f.OSName == "" {
		f.OSName = strings.Join(f.OSIDs[:min(1, len(f.OSIDs))], "")
	}
	for _, match := range listenPort.FindAllStringSubmatch(strings.Join(said["front_Listen"], "\n"), -1) {
		if port, err := strconv.ParseUint(match[1], 10, 16); err == nil {
			f.FrontPorts = append(f.FrontPorts, uint16(port))
		}
	}
	return f
}

// swarm reads a node's certificate (PEM), which names its swarm and what it is there.
func swarm(certificate string) Swarm {
	block, _ := pem.Decode([]byte(certificate))
	if block == nil {
		return Swarm{}
	}
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil || len(c.Subject.Organization) != 1 {
		return Swarm{}
	}
	return Swarm{ID: login.Clean(c.Subject.Organization[0]), Manager: slices.Contains(c.Subject.OrganizationalUnit, "swarm-manager")}
}

func goArch(machine string) string {
	switch machine {
	case "x86_64", "amd64":
		return "amd64"
	case "aarch64", "arm64":
		return "arm64"
	}
	return ""
}

func unquote(value string) string { return strings.Trim(value, `"'`) }

// listeners reads /proc/net/tcp and, for the names, ss where there is one.
func listeners(tcp, dockerdSockets, ss []string) map[uint16]Listener {
	byPort, dockerd := map[uint16]Listener{}, map[string]bool{}
	for _, inode := range dockerdSockets {
		dockerd[inode] = true
	}
	for _, line := range tcp {
		fields := strings.Fields(line) // number, local address, remote address, state, … inode
		if len(fields) < 10 || fields[3] != "0A" {
			continue
		}
		_, hex, _ := strings.Cut(fields[1], ":")
		port, err := strconv.ParseUint(hex, 16, 16)
		if err != nil {
			continue
		}
		known := byPort[uint16(port)]
		known.Dockerd = known.Dockerd || dockerd[fields[9]]
		byPort[uint16(port)] = known
	}
	for _, line := range ss {
		match := ssLine.FindStringSubmatch(line)
		if match == nil {
			continue
		}
		if port, err := strconv.ParseUint(match[1], 10, 16); err == nil && match[2] != "" {
			known := byPort[uint16(port)]
			known.Program = login.Clean(match[2])
			known.Dockerd = known.Dockerd || known.Program == "dockerd"
			byPort[uint16(port)] = known
		}
	}
	return byPort
}

// freeKB is the least room that df tells; one that tells nothing is taken to have enough.
func freeKB(lines []string) uint64 {
	least := uint64(math.MaxUint64)
	for _, line := range lines {
		fields := strings.Fields(line) // device, size, used, available, …
		if len(fields) < 6 {
			continue
		}
		if free, err := strconv.ParseUint(fields[3], 10, 64); err == nil {
			least = min(least, free)
		}
	}
	return least
}
