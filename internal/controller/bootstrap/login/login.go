// Package login makes one SSH connection to a host and runs commands over it, each bounded in time and output. It pins host
// keys at first contact and checks them ever after.
package login

import (
	"cmp"
	"time"

	"golang.org/x/crypto/ssh"
)

// Host is whom to log in to.
type Host struct {
	Machine string // for messages
	Address string // IP address or DNS name
	Port    uint16 // zero for 22
	User    string
	Signers []ssh.Signer
	// HostKeys are those that are known, in authorized_keys format; empty to accept what is shown.
	HostKeys []string
	// Wait is how long the host may take until sshd answers; zero for one attempt.
	Wait time.Duration
	// Learning hosts are just being made and may not know our key yet: a refused login is tried again too.
	Learning bool
}

// Limits bound what each connection waits for.
type Limits struct {
	Dial      time.Duration // of one TCP connection, 5 s
	Handshake time.Duration // until logged in, 20 s: some servers look names up first
	KeepAlive time.Duration // between two questions whether the host is still there, 5 s
	Silence   time.Duration // without an answer to one, after which the host is given up, 10 s
}

// WithDefaults fills in what is zero.
func (l Limits) WithDefaults() Limits {
	l.Dial = cmp.Or(l.Dial, 5*time.Second)
	l.Handshake = cmp.Or(l.Handshake, 20*time.Second)
	l.KeepAlive = cmp.Or(l.KeepAlive, 5*time.Second)
	l.Silence = cmp.Or(l.Silence, 10*time.Second)
	return l
}
