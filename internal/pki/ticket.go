package pki

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
)

// ticketPrefix is the format's version.
const ticketPrefix = "mj1"

// Ticket lets one host or user enroll once. It is written mj1.<id>.<CA SPKI SHA-256>.<secret>, each part base64url, so
// that its holder can tell the right controller before it shows the secret.
type Ticket struct {
	ID        string            // 16 random bytes, base64url; names the record
	Authority [sha256.Size]byte // SPKIDigest of the control authority
	Secret    []byte            // 32 random bytes
}

// NewTicket makes a ticket for an authority.
func NewTicket(authority [sha256.Size]byte) (Ticket, error) {
	random := make([]byte, 48)
	if _, err := rand.Read(random); err != nil {
		return Ticket{}, fmt.Errorf("make ticket: %w", err)
	}
	return TicketOf(authority, [16]byte(random), [32]byte(random[16:])), nil
}

// TicketOf is the ticket with an id and a secret that nobody can guess.
func TicketOf(authority [sha256.Size]byte, id [16]byte, secret [32]byte) Ticket {
	return Ticket{ID: encode(id[:]), Authority: authority, Secret: secret[:]}
}

// Text returns the ticket as it is handed over. It is a secret.
func (t Ticket) Text() string {
	return strings.Join([]string{ticketPrefix, t.ID, encode(t.Authority[:]), encode(t.Secret)}, ".")
}

// String keeps the secret out of logs.
func (t Ticket) String() string { return ticketPrefix + "." + t.ID + ".redacted" }

// GoString keeps the secret out of logs.
func (t Ticket) GoString() string { return t.String() }

// ParseTicket reads what Text wrote. Its errors do not repeat the text.
func ParseTicket(text string) (Ticket, error) {
	parts := strings.Split(text, ".")
	if len(parts) != 4 || parts[0] != ticketPrefix {
		return Ticket{}, errors.New("not a join ticket: it should be " + ticketPrefix + ".<id>.<digest>.<secret>")
	}
	id, errID := decode(parts[1], 16)
	digest, errDigest := decode(parts[2], sha256.Size)
	secret, errSecret := decode(parts[3], 32)
	if err := errors.Join(errID, errDigest, errSecret); err != nil {
		return Ticket{}, errors.New("not a join ticket: a part has the wrong length or a character that is not base64url")
	}
	return Ticket{ID: encode(id), Authority: [sha256.Size]byte(digest), Secret: secret}, nil
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func decode(text string, length int) ([]byte, error) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(b) != length {
		return nil, errors.New("bad part")
	}
	return b, nil
}
