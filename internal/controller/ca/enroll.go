package ca

import (
	"cmp"
	"context"
	"crypto"
	"crypto/hmac"
	"crypto/x509"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"mctl/internal/fault"
	"mctl/internal/pki"
	recordv1 "mctl/proto/mctl/record/v1"
)

// maxWrongTries burns a ticket whose secret is being guessed.
const maxWrongTries = 5

const (
	ticketPrefix   = "ticket/"
	identityPrefix = "identity/"
)

// ControlCA returns the certificates (PEM) of the control authority, all that are to be trusted.
func (c *CA) ControlCA() []byte { return pki.EncodeCertificates(c.control.certificates...) }

// IssueTicket makes a single-use ticket for a subject, and its right to a certificate. It lives as long as is said; zero means
// as long as tickets do. Older tickets of the subject are void.
func (c *CA) IssueTicket(ctx context.Context, subject string, life time.Duration) (pki.Ticket, error) {
	ticket, err := pki.NewTicket(pki.SPKIDigest(c.control.current))
	if err != nil {
		return pki.Ticket{}, err
	}
	_, err = c.issue(ctx, ticket, subject, life)
	return ticket, err
}

// issue stores a ticket and returns its end.
func (c *CA) issue(ctx context.Context, ticket pki.Ticket, subject string, life time.Duration) (time.Time, error) {
	end := c.config.Now().Add(cmp.Or(life, c.config.Lifetimes.Ticket))
	if err := c.sweep(ctx, subject); err != nil {
		return end, err
	}
	if err := c.allow(ctx, subject); err != nil {
		return end, err
	}
	value, err := proto.Marshal(&recordv1.Ticket{Id: ticket.ID, Mac: c.mac(ticket), Subject: subject, ExpireTime: timestamppb.New(end)})
	if err != nil {
		return end, err
	}
	_, err = c.config.Store.Create(ctx, ticketPrefix+ticket.ID, value)
	return end, err
}

func (c *CA) mac(ticket pki.Ticket) []byte {
	return c.config.Sealer.MAC("join ticket", append([]byte(ticket.ID+"."), ticket.Secret...))
}

// sweep removes the tickets of a subject, and all that have expired.
func (c *CA) sweep(ctx context.Context, subject string) error {
	items, _, err := c.config.Store.List(ctx, ticketPrefix)
	if err != nil {
		return err
	}
	for _, item := range items {
		var record recordv1.Ticket
		if err := proto.Unmarshal(item.Value, &record); err != nil {
			return fault.E("ca.sweep", fault.Internal, item.Key, err)
		}
		if record.GetSubject() == subject || c.config.Now().After(record.GetExpireTime().AsTime()) {
			if _, err := c.config.Store.Delete(ctx, item.Key, 0); err != nil && !fault.Is(err, fault.NotFound) {
				return err
			}
		}
	}
	return nil
}

// errTicket is the one answer to every bad ticket, so that it tells a guesser nothing.
func errTicket() error {
	return fault.New("ca.Enroll", fault.Unauthenticated, "", "the join ticket is unknown, used up or expired").
		WithHint("`mctl retry` makes a fresh one for a host, a new invitation one for a user")
}

// Enroll gives the ticket's subject a certificate for the key of the request. The ticket is burned by the write that
// records the key, so the same key may ask again and no other may. fault.Unauthenticated, fault.Invalid.
func (c *CA) Enroll(ctx context.Context, ticketText string, csr []byte) (chain, authorities [][]byte, err error) {
	key, digest, err := requestKey(csr)
	if err != nil {
		return nil, nil, err
	}
	ticket, err := pki.ParseTicket(ticketText)
	if err != nil {
		return nil, nil, errTicket()
	}
	for {
		subject, err := c.burn(ctx, ticket, digest)
		if fault.Is(err, fault.Conflict) {
			continue // somebody else tries the same ticket; see who was first
		}
		if err != nil {
			return nil, nil, err
		}
		if err := c.remember(ctx, subject, digest); err != nil {
			return nil, nil, err
		}
		return c.signControl(subject, key)
	}
}

func (c *CA) burn(ctx context.Context, ticket pki.Ticket, digest []byte) (subject string, err error) {
	item, err := c.config.Store.Get(ctx, ticketPrefix+ticket.ID)
	if fault.Is(err, fault.NotFound) {
		return "", errTicket()
	}
	if err != nil {
		return "", err
	}
	var record recordv1.Ticket
	if err := proto.Unmarshal(item.Value, &record); err != nil {
		return "", fault.E("ca.burn", fault.Internal, item.Key, err)
	}
	right := hmac.Equal(record.GetMac(), c.mac(ticket))
	switch {
	case c.config.Now().After(record.GetExpireTime().AsTime()) || record.GetWrongTries() >= maxWrongTries:
		return "", errTicket()
	case !right:
		record.WrongTries++
	case len(record.GetUsedBy()) == 0:
		record.UsedBy = digest
	case !hmac.Equal(record.GetUsedBy(), digest):
		return "", errTicket()
	default:
		return record.GetSubject(), nil
	}
	value, err := proto.Marshal(&record)
	if err != nil {
		return "", err
	}
	if _, err := c.config.Store.Update(ctx, item.Key, value, item.Revision); err != nil {
		if fault.Is(err, fault.NotFound) {
			return "", errTicket()
		}
		return "", err
	}
	if !right {
		return "", errTicket()
	}
	return record.GetSubject(), nil
}

// remember records which key a subject enrolled with.
func (c *CA) remember(ctx context.Context, subject string, digest []byte) error {
	err := c.update(ctx, subject, func(identity *recordv1.Identity) { identity.KeyDigest = digest })
	if fault.Is(err, fault.NotFound) {
		return errTicket() // revoked meanwhile
	}
	return err
}

// Renew replaces a certificate whose holder has proven possession of its key in the handshake. It may have expired within
// the grace. fault.Denied when it is not ours, its subject is revoked, or the key is another one.
func (c *CA) Renew(ctx context.Context, presented *x509.Certificate, csr []byte) (chain, authorities [][]byte, err error) {
	key, digest, err := requestKey(csr)
	if err != nil {
		return nil, nil, err
	}
	subject, _, err := c.VerifyPeer(ctx, []*x509.Certificate{presented})
	if err != nil {
		return nil, nil, err
	}
	own := pki.SPKIDigest(presented)
	if !hmac.Equal(own[:], digest) {
		return nil, nil, fault.New("ca.Renew", fault.Denied, subject, "a certificate is renewed for the key it has, and for no other")
	}
	return c.signControl(subject, key)
}

// RenewAfter is when the holder of an agent's certificate shall renew it, from now on: at its half life, and at once where one
// that is issued now would end earlier or come from a newer key, since somebody wants the old ones gone.
func (c *CA) RenewAfter(held *x509.Certificate) time.Duration {
	now := c.config.Now()
	shortened := held.NotAfter.After(c.issuing().Add(c.config.Lifetimes.Agent))
	if shortened || held.CheckSignatureFrom(c.control.current) != nil {
		return 0
	}
	return max(pki.RenewAt(held.NotBefore, held.NotAfter, pki.Spread(held)).Sub(now), 0)
}

func (c *CA) signControl(subject string, key crypto.PublicKey) (chain, authorities [][]byte, err error) {
	now, life := c.issuing(), c.config.Lifetimes.Agent
	if strings.HasPrefix(subject, "user:") {
		life = c.config.Lifetimes.User
	}
	leaf, err := pki.Sign(pki.Leaf{
		CommonName: subject, URI: pki.SubjectURI(subject), Usage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		NotBefore: now.Add(-pki.Backdate), NotAfter: now.Add(life),
	}, key, c.control.current, c.control.key)
	if err != nil {
		return nil, nil, fault.E("ca.signControl", fault.Internal, subject, err)
	}
	return c.control.chain(leaf), c.control.ders(), nil
}

func requestKey(csr []byte) (crypto.PublicKey, []byte, error) {
	key, err := pki.RequestKey(csr)
	if err != nil {
		return nil, nil, fault.E("ca.requestKey", fault.Invalid, "", err)
	}
	digest, err := pki.KeyDigest(key)
	if err != nil {
		return nil, nil, fault.E("ca.requestKey", fault.Invalid, "", err)
	}
	return key, digest[:], nil
}
