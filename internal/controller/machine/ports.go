package machine

import (
	"context"
	"time"

	"mctl/internal/controller/agentlink"
	"mctl/internal/controller/bootstrap"
	"mctl/internal/controller/driver"
	"mctl/internal/controller/event"
	"mctl/internal/controller/sshlink"
	"mctl/internal/controller/swarm"
	"mctl/internal/host"
	"mctl/internal/pki"
)

// Drivers finds drivers by name.
type Drivers interface {
	// Driver returns fault.NotFound for a name that is in no table.
	Driver(name string) (driver.Driver, error)
}

// Credentials knows stored credentials.
type Credentials interface {
	// Content returns one; fault.Precondition when there is none of that name for the driver.
	Content(ctx context.Context, name, driver string) ([]byte, error)
}

// Bootstrapper makes first contact with a host.
type Bootstrapper interface {
	// Check looks whether a host can be taken over, and changes nothing. fault.Precondition says why not.
	Check(ctx context.Context, target bootstrap.Target) error
	// Install leaves a running agent with a ticket. It may be repeated; the newest ticket wins.
	Install(ctx context.Context, target bootstrap.Target, payload bootstrap.Payload, progress driver.Progress) (bootstrap.Result, error)
	// UserData is what a host is handed that joins by itself as it boots; authority is the control authority's (PEM).
	UserData(payload bootstrap.Payload, enginePort uint16, authority []byte) (driver.UserData, error)
	// Reboot has an adopted host boot anew. Repeated, it boots once more.
	Reboot(ctx context.Context, target bootstrap.Target, progress driver.Progress) error
	// Remove takes away what we put on an adopted host. A host where nothing is left is success.
	Remove(ctx context.Context, target bootstrap.Target, purgeEngine bool, progress driver.Progress) error
	// Greet logs in to a host and does nothing.
	Greet(ctx context.Context, target bootstrap.Target) error
	// Offer asks a host whether its dockerd can be left to docker-machine. fault.Precondition says why not.
	Offer(ctx context.Context, target bootstrap.Target, h host.HandOver) (host.Offer, error)
	// HandOver is Remove, and leaves the host's dockerd to docker-machine. A host where that is done is success.
	HandOver(ctx context.Context, target bootstrap.Target, h host.HandOver, sign func(request []byte) ([]byte, error), progress driver.Progress) error
}

// Hosts is the mailbox to the agents.
type Hosts interface {
	// SetDesired leaves a wish; it is pushed now or when the host connects. It may be repeated.
	SetDesired(uid string, wish agentlink.Wish)
	// Observed returns what is known of a host; false when it never connected to this process.
	Observed(uid string) (host.Observed, bool)
	// Forget ends the session of a machine that is gone.
	Forget(uid string)
}

// Tunnels keeps SSH connections over which agents come that can't dial us.
type Tunnels interface {
	// Keep sees to it that there is one to a machine's host. It may be repeated.
	Keep(uid, name string)
	// Drop ends it, if there is one.
	Drop(uid string)
	// State returns how it is; the zero value where none is kept.
	State(uid string) sshlink.State
}

// Swarms is swarm mode by the engines' own API; machines go by their names. Unavailable where an engine can't be asked.
type Swarms interface {
	// State tells how a machine's engine stands to swarms.
	State(ctx context.Context, machine string) (swarm.State, error)
	// Start makes a swarm; a manager has done so. Precondition for a worker of some swarm.
	Start(ctx context.Context, machine, advertise string) (swarm.State, error)
	// Join has a machine join the swarm of another. A member of it is let be; Precondition for one of another swarm. With an error the
	// state tells the swarm if a join began.
	Join(ctx context.Context, machine string, how swarm.Joining) (swarm.State, error)
	// Leave has a machine leave the swarm in which it is a node, by force if it is a manager. One that is in none, or in another, is
	// success.
	Leave(ctx context.Context, machine, node string, force bool) error
	SwarmNodes
}

// SwarmNodes is what a manager of a swarm can tell and do about its members.
type SwarmNodes interface {
	// Nodes lists the members.
	Nodes(ctx context.Context, via string) ([]swarm.Node, error)
	// Update changes one; one that is so already is let be. NotFound where there is none.
	Update(ctx context.Context, via, node string, change swarm.Change) error
	// Tasks counts those of a member that have not ended.
	Tasks(ctx context.Context, via, node string) (int, error)
	// Remove has the swarm forget one; none is success.
	Remove(ctx context.Context, via, node string) error
}

// Authorities makes tickets and knows whom engines let in.
type Authorities interface {
	// IssueTicket makes a single-use ticket and the right to enroll for a subject; older tickets of it are void. Zero means that
	// it lives as long as tickets do.
	IssueTicket(ctx context.Context, subject string, life time.Duration) (pki.Ticket, error)
	// ControlCA returns the certificates (PEM) of the control authority.
	ControlCA() []byte
	// EngineCA returns the certificates (PEM) of an engine authority.
	EngineCA(ctx context.Context, authority string) ([]byte, error)
	// ImportEngine takes up an engine authority (PEM) and returns its name; key is nil where it is lost. It may be repeated.
	ImportEngine(ctx context.Context, certificate, key []byte) (name string, err error)
	// CheckEngine finds out what ImportEngine would refuse.
	CheckEngine(certificate, key []byte) error
	// EngineKey returns the private key (PEM) of an engine authority; nil where it is lost.
	EngineKey(ctx context.Context, authority string) ([]byte, error)
	// SignEngineHandOver issues the certificate (PEM) of an engine that is left to docker-machine.
	SignEngineHandOver(ctx context.Context, authority, commonName string, sans []string, csr []byte) ([]byte, error)
	// Issues reports whether an engine authority can sign, and will not end within a time.
	Issues(ctx context.Context, authority string, within time.Duration) (bool, error)
	// Ends returns when the control authority and an engine authority end, each zero where that is not known. It asks nobody.
	Ends(authority string) (control, engine time.Time)
	// Revoke takes a subject's right away; a subject without any is success.
	Revoke(ctx context.Context, subject string) error
}

// Events takes what happened.
type Events interface {
	Emit(e event.Event)
}
