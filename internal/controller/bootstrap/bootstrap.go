// Package bootstrap makes first contact with a bare host over SSH and leaves an agent there with a join ticket. No value
// that a user can choose is ever put into a shell string: scripts are fixed texts, values go over standard input to the agent.
package bootstrap

import (
	"time"

	"mctl/internal/controller/driver"
)

// Target is a host to log in to.
type Target struct {
	Machine  string // name, for messages and to find the ssh-agent that was lent for it
	SSH      driver.SSH
	Key      []byte   // private key, PEM or OpenSSH; nil to use the caller's ssh-agent
	HostKeys []string // pinned at first contact (authorized_keys format); empty to trust and pin what is shown
	// Wait is how long the host may take until sshd answers; zero for one try.
	Wait time.Duration
	// Adopted hosts were there before: nothing of theirs may be changed or stopped.
	Adopted bool
	// Authorize are authorized_keys lines that the user shall let in from now on; empty where the host's maker saw to it.
	Authorize []string
	// EnginePort must be free on the host, or ours.
	EnginePort uint16
	// MachineUID is whose agent may be there when the host is checked or given back; empty for nobody's when it is
	// checked, anybody's when it is given back.
	MachineUID string
	// OwnEngine says that Docker need not come from packages that the agent knows: any distribution will do.
	OwnEngine bool
	// Swarm is the one that the host shall be a member of: one whose engine is in another is refused. Nil to let that be.
	Swarm *Swarm
}

// Swarm is one that a host shall be a member of.
type Swarm struct {
	ID   string // empty for one that is not made yet
	Make bool   // the host makes it, or has made it
}

// Payload is what the agent is given.
type Payload struct {
	MachineUID string
	Ticket     string // a secret
	// Endpoints are host:port where the agent finds the controller; empty for the controller's own end of the SSH
	// connection with ControlPort.
	Endpoints   []string
	ControlPort uint16
	// Unreached hosts are told no endpoint: we come to them over SSH.
	Unreached bool
	// Probe has the host try whether it reaches us; Result.Reached says so.
	Probe bool
	// Hostname is set on hosts that are not adopted; empty leaves it.
	Hostname string
}

// Result is what first contact found out.
type Result struct {
	HostKeys  []string // pinned, authorized_keys format
	Endpoints []string // what the agent was told
	OS        string   // PRETTY_NAME of os-release
	Arch      string   // as Go names it
	Reached   bool     // the host reaches us at one of the endpoints; asked by Payload.Probe
}
