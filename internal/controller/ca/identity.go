package ca

import (
	"context"
	"crypto/hmac"
	"crypto/x509"
	"errors"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"mctl/internal/controller/store"
	"mctl/internal/fault"
	"mctl/internal/pki"
	recordv1 "mctl/proto/mctl/record/v1"
)

// allow makes sure that a subject has an identity that is not revoked. A key that enrolled before stays known until
// another one enrolls.
func (c *CA) allow(ctx context.Context, subject string) error {
	value, err := proto.Marshal(&recordv1.Identity{Subject: subject})
	if err != nil {
		return err
	}
	_, err = c.config.Store.Create(ctx, identityPrefix+subject, value)
	if fault.Is(err, fault.Exists) {
		return nil
	}
	return err
}

// update changes an identity, as often as others come between; fault.NotFound when there is none.
func (c *CA) update(ctx context.Context, subject string, change func(*recordv1.Identity)) error {
	for {
		identity, at, err := c.identity(ctx, subject)
		if err != nil {
			return err
		}
		change(identity)
		value, err := proto.Marshal(identity)
		if err != nil {
			return err
		}
		if _, err = c.config.Store.Update(ctx, identityPrefix+subject, value, at); !fault.Is(err, fault.Conflict) {
			return err
		}
	}
}

func (c *CA) identity(ctx context.Context, subject string) (*recordv1.Identity, store.Revision, error) {
	item, err := c.config.Store.Get(ctx, identityPrefix+subject)
	if err != nil {
		return nil, 0, err
	}
	identity := new(recordv1.Identity)
	if err := proto.Unmarshal(item.Value, identity); err != nil {
		return nil, 0, fault.E("ca.identity", fault.Internal, subject, err)
	}
	return identity, item.Revision, nil
}

// VerifyPeer tells whose certificate a peer showed (leaf first): one of the control authority's, meant for clients, of a
// subject that is not revoked and still has that key. expired says that all is right but its end is past, within the
// grace that machines have: good for Renew alone. Anything else is fault.Denied.
func (c *CA) VerifyPeer(ctx context.Context, chain []*x509.Certificate) (subject string, expired bool, err error) {
	denied := func(why string) (string, bool, error) {
		return "", false, fault.New("ca.VerifyPeer", fault.Denied, "", why)
	}
	if len(chain) == 0 {
		return denied("this needs a client certificate")
	}
	leaf, now := chain[0], c.config.Now()
	at := now
	if expired = now.After(leaf.NotAfter); expired {
		if now.After(leaf.NotAfter.Add(c.config.Lifetimes.Grace)) {
			return denied("the client certificate expired too long ago")
		}
		at = leaf.NotAfter.Add(-time.Second)
	}
	if _, err := leaf.Verify(x509.VerifyOptions{
		Roots: pki.Pool(c.control.certificates...), CurrentTime: at, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}); err != nil {
		return denied("the client certificate is not one of this controller's")
	}
	subject, err = pki.SubjectOf(leaf)
	switch {
	case err != nil || subject == pki.ControllerURI().Host:
		return denied("the client certificate names no client")
	case expired && !strings.HasPrefix(subject, "machine:"): // a user can ask for an invitation, a host nobody
		return denied("the client certificate has expired, and a user needs a new invitation")
	}
	identity, _, err := c.identity(ctx, subject)
	if fault.Is(err, fault.NotFound) {
		return denied("the right of " + subject + " was taken away")
	}
	if err != nil {
		return "", false, err
	}
	digest := pki.SPKIDigest(leaf)
	if identity.GetRevoked() || !hmac.Equal(identity.GetKeyDigest(), digest[:]) {
		return denied("the right of " + subject + " was taken away, or it enrolled anew")
	}
	return subject, expired, nil
}

// Revoke takes a subject's right and tickets away, at once. A subject without any is success.
func (c *CA) Revoke(ctx context.Context, subject string) error {
	err := c.sweep(ctx, subject)
	_, deleted := c.config.Store.Delete(ctx, identityPrefix+subject, 0)
	if fault.Is(deleted, fault.NotFound) {
		deleted = nil
	}
	return errors.Join(err, deleted)
}
