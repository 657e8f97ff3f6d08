package ca

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"time"

	"google.golang.org/protobuf/proto"

	"mctl/internal/controller/store"
	"mctl/internal/fault"
	"mctl/internal/pki"
	recordv1 "mctl/proto/mctl/record/v1"
)

// importedPrefix begins the name of an authority that an import brought along; the digest of its certificate follows.
const importedPrefix = "imported-"

// ImportEngine takes up an engine authority that was made elsewhere and returns its name, which is the same for everybody who brings
// it along. key (PEM, PKCS #8) is nil where it is lost; it may be brought later. fault.Invalid for what is no authority, and for a key that is
// another's. It may be repeated.
func (c *CA) ImportEngine(ctx context.Context, certificatePEM, key []byte) (name string, err error) {
	certificate, err := foreignAuthority(certificatePEM)
	if err != nil {
		return "", err
	}
	digest := sha256.Sum256(certificate.Raw)
	name = importedPrefix + hex.EncodeToString(digest[:8])
	known, err := c.engine(ctx, name)
	switch {
	case fault.Is(err, fault.NotFound):
	case err != nil:
		return "", err
	case known.key != nil || key == nil:
		return name, nil // as for all but the first of a store's machines
	}
	var at store.Revision
	if known != nil {
		item, err := c.config.Store.Get(ctx, recordKey(name))
		if err != nil {
			return "", err
		}
		at = item.Revision
	}
	if key != nil {
		if err := checkKey(key, certificate); err != nil {
			return "", err
		}
	}
	return name, c.putImported(ctx, name, certificate, key, at)
}

// putImported stores the authority; at is the revision of a record without a key, zero for none. Whoever was quicker wins.
func (c *CA) putImported(ctx context.Context, name string, certificate *x509.Certificate, key []byte, at store.Revision) error {
	generation := &recordv1.AuthorityGeneration{Certificate: certificate.Raw}
	if key != nil {
		sealed, err := c.config.Sealer.Seal(recordKey(name), key)
		if err != nil {
			return err
		}
		generation.SealedKey = sealed
	}
	value, err := proto.Marshal(&recordv1.Authority{Name: name, Generations: []*recordv1.AuthorityGeneration{generation}})
	if err != nil {
		return err
	}
	if at == 0 {
		_, err = c.config.Store.Create(ctx, recordKey(name), value)
	} else {
		_, err = c.config.Store.Update(ctx, recordKey(name), value, at)
	}
	if err != nil && !fault.Is(err, fault.Exists) && !fault.Is(err, fault.Conflict) {
		return err
	}
	c.mu.Lock()
	delete(c.engines, name) // read anew when it is needed next
	c.mu.Unlock()
	return nil
}

// CheckEngine finds out what ImportEngine would refuse, and stores nothing.
func (c *CA) CheckEngine(certificatePEM, key []byte) error {
	certificate, err := foreignAuthority(certificatePEM)
	if err != nil || key == nil {
		return err
	}
	return checkKey(key, certificate)
}

func foreignAuthority(text []byte) (*x509.Certificate, error) {
	const op = "ca.foreignAuthority"
	chain, err := pki.DecodeCertificates(text)
	if err != nil {
		return nil, fault.E(op, fault.Invalid, "", err)
	}
	if !chain[0].IsCA {
		return nil, fault.New(op, fault.Invalid, chain[0].Subject.String(), "that certificate is no authority's")
	}
	return chain[0], nil
}

func checkKey(text []byte, certificate *x509.Certificate) error {
	key, err := pki.DecodeKey(text)
	if err != nil || !pki.Matches(key, certificate) {
		return fault.New("ca.checkKey", fault.Invalid, certificate.Subject.String(), "the authority's key is not that of its certificate")
	}
	return nil
}

// EngineKey returns the private key (PEM) of an engine authority; nil where it is lost. fault.NotFound.
func (c *CA) EngineKey(ctx context.Context, name string) ([]byte, error) {
	a, err := c.engine(ctx, name)
	if err != nil || a.key == nil {
		return nil, err
	}
	return pki.EncodeKey(a.key)
}

// Issues reports whether an engine authority can sign, and will not end within a time. fault.NotFound.
func (c *CA) Issues(ctx context.Context, name string, within time.Duration) (bool, error) {
	a, err := c.engine(ctx, name)
	if err != nil {
		return false, err
	}
	return a.key != nil && c.config.Now().Add(within).Before(a.current.NotAfter), nil
}
