// Package event keeps the newest things that happened to machines, in memory, and streams them to watchers.
package event

import "time"

// Event is one thing that happened.
type Event struct {
	Sequence   uint64 // set by the journal
	Time       time.Time
	Machine    string // name
	UID        string
	Type       string // one of the constants here or in package host
	Message    string // one line for people
	Attributes map[string]string
}

// Types of event that the controller makes; hosts report those in package host.
const (
	PhaseChanged      = "PHASE_CHANGED"
	Failed            = "FAILED"
	Deleted           = "DELETED"
	AgentConnected    = "AGENT_CONNECTED"
	AgentLost         = "AGENT_LOST"
	DuplicateIdentity = "DUPLICATE_IDENTITY"
	TunnelOpened      = "TUNNEL_OPENED"
)
