// Package agentlink keeps the live sessions of agents by machine: it pushes what a host shall be and takes what it is. It
// is a mailbox of wishes and facts, not a remote procedure call.
package agentlink

import "mctl/internal/host"

// Wish is what is left for a host, with what is needed to answer its certificate requests.
type Wish struct {
	Desired   host.Desired
	Name      string   // the machine's, for the common name of its certificate
	Authority string   // the engine authority that signs
	Endpoints []string // host:port of the controller, told in Welcome; empty to leave as it is
}
