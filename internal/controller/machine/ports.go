package machine

import (
	"context"

	"mctl/internal/controller/agentlink"
	"mctl/internal/controller/bootstrap"
	"mctl/internal/controller/driver"
	"mctl/internal/controller/event"
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
	// Reboot has an adopted host boot anew. Repeated, it boots once more.
	Reboot(ctx context.Context, target bootstrap.Target, progress driver.Progress) error
	// Remove takes away what we put on an adopted host. A host where nothing is left is success.
	Remove(ctx context.Context, target bootstrap.Target, purgeEngine bool, progress driver.Progress) error
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

// Authorities makes tickets and knows whom engines let in.
type Authorities interface {
	// IssueTicket makes a single-use ticket and the right to enroll for a subject; older tickets of it are void.
	IssueTicket(ctx context.Context, subject string) (pki.Ticket, error)
	// EngineCA returns the certificates (PEM) of an engine authority.
	EngineCA(ctx context.Context, authority string) ([]byte, error)
	// Revoke takes a subject's right away; a subject without any is success.
	Revoke(ctx context.Context, subject string) error
}

// Events takes what happened.
type Events interface {
	Emit(e event.Event)
}
