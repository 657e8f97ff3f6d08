// Package driver is the contract between the life of a machine and whatever makes hosts. A driver is stateless: it gets
// what it needs with each call, finds by label before it makes, and returns what it wants to know next time. Every method
// may be called again after a crash at any point; "already done" is success.
package driver

import (
	"context"
)

// Driver makes hosts of one kind. Errors are faults: Quota and Unavailable are tried again, the rest parks the machine.
type Driver interface {
	// Info describes the driver. It is constant but for Unusable.
	Info() Info
	// Flags is the schema of the driver's create flags, named as docker-machine named them.
	Flags() []Flag
	// Validate checks options without any call to a provider. fault.Invalid names the flag.
	Validate(opts Options) error
	// Preflight asks the provider whether Create could work: credentials, names, room. Nothing is made.
	// fault.Precondition or fault.Denied say what is missing.
	Preflight(ctx context.Context, m Machine) error
	// Create makes the host, powered on, or finds the one that an earlier call made. It may return an Instance together
	// with an error: what is known so far is stored either way.
	Create(ctx context.Context, m Machine) (Instance, error)
	// Inspect asks how the host is. fault.NotFound when the provider says that it is gone.
	Inspect(ctx context.Context, m Machine) (Instance, error)
	// Delete removes the host and everything that Create made besides it. A host that is gone is success.
	Delete(ctx context.Context, m Machine) error
	// Start powers the host on. A running host is success.
	Start(ctx context.Context, m Machine) (Instance, error)
	// Stop shuts the host down, or cuts its power with force. A stopped host is success. It returns when it is off.
	Stop(ctx context.Context, m Machine, force bool) (Instance, error)
}

// Restarter is a driver that can reboot a host in one act. Others are stopped and started.
type Restarter interface {
	Restart(ctx context.Context, m Machine) (Instance, error)
}

// Adopter is a driver whose hosts were there before: nothing is made, the host is checked over SSH before it is taken, and
// removing the machine gives it back.
type Adopter interface {
	// Target says where the host is, without any call. Key is nil when the caller's ssh-agent shall be used.
	Target(m Machine) (Target, error)
}

// Keyholder is a driver whose hosts let in a key of their maker's, and none of those that they were made for: first contact
// logs in with that one, and lets the others in.
type Keyholder interface {
	// Key returns the private key to log in with, OpenSSH or PEM. fault.Precondition when there is none.
	Key(m Machine) ([]byte, error)
}

// Target is how to log in to a host that is adopted.
type Target struct {
	SSH SSH
	Key []byte // private key, OpenSSH or PEM; nil for the caller's ssh-agent
	// EnginePort is where the engine shall be served; zero for 2376.
	EnginePort uint16
}

// Info describes a driver.
type Info struct {
	Name     string
	Summary  string // one line
	Unusable string // why it can't be used where the controller runs; empty when it can
	Rank     int    // order among the drivers tried when none is named; zero is never tried
}

// Machine is what a driver is told with each call.
type Machine struct {
	ControllerID string    // labels what is made: mctl-controller
	UID          string    // labels what is made: mctl-machine
	Name         string    // valid as a host name
	Options      Options   // flags as the caller resolved them, with defaults filled in
	PublicKeys   []string  // authorized_keys lines that shall be able to log in
	State        []byte    // what the driver returned last as Instance.State; nil at first
	Imported     *Imported // what docker-machine knew of the host; nil for one that was made here
	UserData     *UserData // for a UserDataBooter: what the host shall run as it boots; nil for a host that is logged in to
	Swarm        Swarm     // the swarm that it is a member of; the zero value for none
	Progress     Progress  // tells people what is going on; never nil
	// Keep stores a state while a Create is still under way, as Instance.State is stored at its end: before it returns, what was made
	// can be found again. It is called by the goroutine that runs Create; nil where nobody stores.
	Keep func(state []byte) error
}

// Swarm is what a driver that opens firewalls is told of a machine's swarm. Members reach each other at 2377/tcp, 7946/tcp and udp,
// 4789/udp.
type Swarm struct {
	Member  bool
	Manager uint16 // TCP port at which clients reach a manager; zero for none
	// As docker-machine's drivers know them.
	Host, Discovery string
}

// Progress takes one line for people, such as "building the base image".
type Progress func(line string)

// Power is the power of a host.
type Power string

// The powers a host can have.
const (
	Running  Power = "running"
	Starting Power = "starting"
	Stopping Power = "stopping"
	Stopped  Power = "stopped"
	Paused   Power = "paused"
	Saved    Power = "saved"
	Unknown  Power = "unknown"
)

// Instance is a host as its driver sees it.
type Instance struct {
	ID        string // the provider's name for it
	Power     Power
	Addresses []string // the one for clients first
	SSH       SSH
	Port      uint16 // where the engine shall be served; zero for 2376
	State     []byte // stored as it is, returned with the next call; sealed
}

// SSH is how to log in.
type SSH struct {
	Address string
	Port    uint16
	User    string // root, or a user that may sudo without a password
	// HostKeys are the host's public keys where the provider tells them (authorized_keys format); empty to trust the first.
	HostKeys []string
}
