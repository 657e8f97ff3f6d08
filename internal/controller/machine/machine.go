// Package machine is the life of a machine: what somebody asked for (Spec), what is (Status), and the steps that bring the
// second to the first. It is the only writer of both: the API edits Spec through Service, the reconciler writes Status
// through Step.
package machine

import (
	"time"

	"mctl/internal/controller/driver"
	"mctl/internal/controller/request"
	"mctl/internal/controller/store"
	"mctl/internal/host"
)

// Machine is one record.
type Machine struct {
	UID        string
	Name       string
	Generation uint64 // raised by each edit of Spec
	Created    time.Time
	Spec       Spec
	Status     Status
	SSHKey     Secret            // PEM, PKCS #8: the controller's own key to hosts that it makes
	BootTicket Secret            // in the user data of a host that has not joined yet
	Import     *Import           // what it brought along from docker-machine; nil for one that was made here
	Labels     map[string]string // notes of the callers, which nothing here reads
	Revision   store.Revision
	Size       int // of the record, in bytes
	requests   request.Memory
}

// Spec is what somebody asked for.
type Spec struct {
	Driver         string
	Options        driver.Options // resolved, defaults filled in
	Engine         host.Engine    // RepositoryReachable, Upgrade and Provision are set when a wish is made of it
	Port           uint16         // of the engine; zero for the driver's
	Power          Power
	Force          bool // with power Stopped: cut it
	Restart        uint64
	Provision      uint64
	Upgrade        uint64
	Regenerate     uint64
	Retry          uint64 // raised to unpark; nothing else reads it
	TLSSANs        []string
	AuthorizedKeys []string
	Waits          Waits
	Deleted        bool
	DeleteForce    bool // forget the record in any case
	DeleteAbandon  bool // leave provider and host as they are
	DeleteRelease  bool // give the host back to docker-machine
	DeletePersist  bool // never park, go on
	PurgeEngine    bool
	Rollback       bool
	Credential     string        // name of a stored one, in place of the driver's credential flag
	Swarm          *Swarm        // nil for none
	Drain          time.Duration // how long a swarm's member that goes may take to hand over its tasks; zero for 60 s, below for no time
	Link           host.Link     // which ways the agent's session may come; empty for auto
}

// Power is the power that a machine shall have.
type Power string

// The powers that can be asked for.
const (
	PowerOn  Power = "running"
	PowerOff Power = "stopped"
)

// Waits bound what a creation waits for; zero means the default.
type Waits struct {
	SSH     time.Duration // until sshd answers, 5 min
	Install time.Duration // until Docker is served, 10 min
	Agent   time.Duration // until the agent joins, 2 min
	Boot    time.Duration // until a host joins by its user data, 30 min
}

// Status is what is.
type Status struct {
	Phase              Phase
	PhaseTime          time.Time
	ObservedGeneration uint64
	Failure            *Failure // parked while it is set
	ProviderState      []byte   // the driver's own, opaque
	ProviderID         string
	Power              driver.Power // as the driver saw it last
	Addresses          []string     // the one for clients first
	Port               uint16       // where the engine is served
	SSH                driver.SSH
	Host               host.Facts
	Engine             host.EngineFacts
	Front              host.FrontFacts
	Authority          string // engine authority
	AgentVersion       string
	Endpoints          []string // where the host was told to find the controller
	DoneRestart        uint64
	DoneProvision      uint64
	AppliedDigest      string
	HostGone           bool     // removed, or given back
	Link               host.Way // that the agent's last session came, or is expected to come
	Agentless          string   // why the host has no agent and gets none, a sentence
	BootWritten        bool     // the provider was handed the boot ticket
	Swarm              SwarmStatus
}

// Failure is why a machine is parked. A later edit of the spec unparks it.
type Failure struct {
	Kind       string
	Message    string
	Hint       string
	Time       time.Time
	Generation uint64
}

// Secret is a text that prints as "redacted".
type Secret []byte

// String keeps the secret out of logs.
func (Secret) String() string { return "redacted" }

// GoString keeps the secret out of logs.
func (Secret) GoString() string { return "redacted" }

// Address returns the address that clients shall use, or nothing.
func (m *Machine) Address() string {
	if len(m.Status.Addresses) == 0 {
		return ""
	}
	return m.Status.Addresses[0]
}

// DefaultEnginePort is where docker-machine's users expect the engine.
const DefaultEnginePort = 2376

// EnginePort returns the port of the engine.
func (m *Machine) EnginePort() uint16 {
	switch {
	case m.Spec.Port != 0:
		return m.Spec.Port
	case m.Status.Port != 0:
		return m.Status.Port
	default:
		return DefaultEnginePort
	}
}
