// Package host is the vocabulary that controller and agent share: what a host shall be and what it is. It knows neither
// of them, nor the wire.
package host

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"time"
)

// Desired is the whole wish for one host. Two wishes with the same digest ask for the same.
type Desired struct {
	Generation uint64 // of the machine's spec; not part of the digest
	Engine     Engine
	Front      Front
	Release    *Release // set when the host shall be given back
}

// Engine is how Docker shall be installed and configured.
type Engine struct {
	Install             Install
	InstallURL          string
	StorageDriver       string
	Labels              []string // key=value
	Env                 []string // NAME=value
	InsecureRegistries  []string
	RegistryMirrors     []string
	Options             []string // dockerd flags without dashes, flag or flag=value
	Upgrade             uint64   // raised to ask for the newest package
	Provision           uint64   // raised to converge once more
	AdoptRestart        AdoptRestart
	Port                uint16 `json:"-"` // where the front serves, as Front has it
	RepositoryReachable bool   // whether Docker's own repository answered the controller; not part of the digest
	SwarmMember         bool   `json:",omitempty"` // or on its way to be one, which can't have live-restore
}

// Install is where Docker comes from.
type Install string

// The sources, as --engine-install takes them.
const (
	InstallAuto   Install = "auto"
	InstallDocker Install = "docker"
	InstallDistro Install = "distro"
	InstallScript Install = "script"
	InstallNone   Install = "none"
)

// AdoptRestart is when a dockerd that has the front's port itself is restarted, so that the front can have it.
type AdoptRestart string

// The choices, as --adopt-restart takes them.
const (
	AdoptNever AdoptRestart = "never" // when somebody asks for a restart
	AdoptLive  AdoptRestart = "live"  // at once, where its containers go on meanwhile
	AdoptNow   AdoptRestart = "now"   // at once, whatever happens to its containers
)

// Front is how the engine shall be served.
type Front struct {
	Port     uint16
	SANs     []string // names and addresses of the server certificate, sorted
	ClientCA []byte   // PEM, the authorities whose clients are let in
	Rotation uint64   // raised to ask for a new certificate
	// Certificate (PEM, leaf first) and its Key are served as they are; empty for a certificate that the host asks for.
	Certificate []byte `json:",omitempty"`
	Key         Secret `json:",omitempty"`
	// SwarmPort is another port to serve at, for the swarm; zero for none.
	SwarmPort uint16 `json:",omitempty"`
}

// Secret is a text that prints as "redacted".
type Secret []byte

// String keeps the secret out of logs.
func (Secret) String() string { return "redacted" }

// GoString keeps the secret out of logs.
func (Secret) GoString() string { return "redacted" }

// Release asks for everything that we put on the host to be taken away.
type Release struct {
	PurgeEngine bool
}

// Digest identifies the wish, without its generation: hexadecimal SHA-256 over its JSON form, whose field order is fixed.
func (d Desired) Digest() string {
	d.Generation = 0
	d.Engine.RepositoryReachable = false // an observation, no wish
	// Marshal can't fail: there are only strings, numbers, booleans and bytes in it.
	text, _ := json.Marshal(d)
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// Applied is how far a host came with a wish.
type Applied struct {
	Generation uint64
	Digest     string
	Failure    *Failure // nil when the wish is fulfilled
	Engine     EngineFacts
	Front      FrontFacts
	Released   bool // given back; the agent's last word
}

// Failure is an error as data; Kind is one of fault's.
type Failure struct {
	Kind    string
	Message string
	Hint    string
}

// EngineFacts is what is known of Docker.
type EngineFacts struct {
	Version       string
	Source        string // existing, docker, distro, script
	StorageDriver string
	AwaitsRestart string // why dockerd still has the front's port itself, a sentence; empty when it has not
}

// FrontFacts is what is served.
type FrontFacts struct {
	Port              uint16
	CertificateExpiry time.Time
	CertificateSerial string // hexadecimal
}

// Facts is what hardly changes about a host.
type Facts struct {
	Hostname    string
	OS          string // PRETTY_NAME of os-release
	Arch        string // as Go names it
	Kernel      string
	CPUs        uint32
	MemoryBytes uint64
	BootID      string
}

// Health is how a host is at one moment.
type Health struct {
	Time                time.Time // when the controller received it
	CPUPercent          float64
	Load1               float64
	MemoryTotal         uint64 // bytes
	MemoryAvailable     uint64 // bytes
	Disks               []Disk
	BootTime            time.Time
	EngineUp            bool
	EnginePing          time.Duration
	ContainersRunning   uint32
	ContainersStopped   uint32
	ContainersUnhealthy uint32
	ContainersRestart   uint32
}

// Disk is one file system, in bytes.
type Disk struct {
	Path      string
	Total     uint64
	Available uint64
}

// Event is something that happened on a host.
type Event struct {
	Type       string // one of the Event constants
	Time       time.Time
	Message    string // one line for people
	Attributes map[string]string
}

// Types of event that a host reports.
const (
	EventProgress           = "PROGRESS"
	EventEngineUp           = "ENGINE_UP"
	EventEngineDown         = "ENGINE_DOWN"
	EventContainerDied      = "CONTAINER_DIED"
	EventContainerOOM       = "CONTAINER_OOM"
	EventContainerUnhealthy = "CONTAINER_UNHEALTHY"
)

// Observed is all that a controller knows of a host from its sessions.
type Observed struct {
	Connected    bool
	Since        time.Time // of the last change of Connected
	Way          Way       // of the present or the last session
	AgentVersion string
	Facts        Facts
	Applied      Applied
	Health       *Health // nil until the first report
}
