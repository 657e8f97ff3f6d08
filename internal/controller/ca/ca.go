// Package ca is the controller's authorities: the control authority, under which agents, users and the controller know
// each other, and the engine authorities, under which docker clients and engines do. Rotating one never cuts another. It
// issues, renews and revokes; every name in a certificate is its own choice.
package ca

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"fmt"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"mctl/internal/controller/store"
	"mctl/internal/fault"
	"mctl/internal/pki"
	recordv1 "mctl/proto/mctl/record/v1"
)

// Names of the authorities that every store has.
const (
	control       = "control"
	DefaultEngine = "default"
)

// Lifetimes of what is issued.
type Lifetimes struct {
	Authority, Controller, Agent, User, EngineServer, EngineClient, Ticket time.Duration
	// Grace is how long after its end an agent's certificate still renews.
	Grace time.Duration
	// Earlier dates all that is issued back, as if it had been issued so long ago; for tests of what happens after a long time.
	// The controller's own certificate is as it would be anyway, since each start makes it.
	Earlier time.Duration
}

// DefaultLifetimes are those of the design: a laptop shut for a month, a host stopped for a year, come back by themselves.
func DefaultLifetimes() Lifetimes {
	const day = 24 * time.Hour
	return Lifetimes{
		Authority: 3650 * day, Controller: 90 * day, Agent: 90 * day, User: 400 * day, EngineServer: 400 * day,
		EngineClient: 400 * day, Ticket: 15 * time.Minute, Grace: 400 * day,
	}
}

// Sealer seals the private keys of authorities, and makes the MACs of tickets.
type Sealer interface {
	Seal(recordKey string, plaintext []byte) ([]byte, error)
	Open(recordKey string, sealed []byte) ([]byte, error)
	MAC(purpose string, data []byte) []byte
}

// Config is what the authorities stand on.
type Config struct {
	Store     store.Store
	Sealer    Sealer
	Now       func() time.Time
	Lifetimes Lifetimes
}

// CA is all authorities of one store. It is safe for use at the same time.
type CA struct {
	config  Config
	control *authority

	mu       sync.Mutex
	engines  map[string]*authority
	served   *tls.Certificate // the controller's own
	servedTo time.Time        // when it is renewed
}

// authority is one authority with its key open.
type authority struct {
	certificates []*x509.Certificate // all to trust, oldest first
	current      *x509.Certificate
	key          crypto.Signer // nil where it is lost
}

// Open reads the authorities, and makes those that every store has.
func Open(ctx context.Context, config Config) (*CA, error) {
	c := &CA{config: config, engines: map[string]*authority{}}
	var err error
	if c.control, err = c.ensure(ctx, control); err != nil {
		return nil, err
	}
	if c.engines[DefaultEngine], err = c.ensure(ctx, DefaultEngine); err != nil {
		return nil, err
	}
	return c, nil
}

// issuing is the time at which certificates are issued.
func (c *CA) issuing() time.Time { return c.config.Now().Add(-c.config.Lifetimes.Earlier) }

func recordKey(name string) string { return "authority/" + name }

// ensure reads an authority, and makes it first where it is not there. Whoever makes it first wins.
func (c *CA) ensure(ctx context.Context, name string) (*authority, error) {
	if found, err := c.read(ctx, name); !fault.Is(err, fault.NotFound) {
		return found, err
	}
	key, err := pki.NewKey()
	if err != nil {
		return nil, err
	}
	certificate, err := pki.NewAuthority("mctl "+name+" authority", key, c.issuing(), c.config.Lifetimes.Authority)
	if err != nil {
		return nil, err
	}
	pem, err := pki.EncodeKey(key)
	if err != nil {
		return nil, err
	}
	sealed, err := c.config.Sealer.Seal(recordKey(name), pem)
	if err != nil {
		return nil, err
	}
	value, err := proto.Marshal(&recordv1.Authority{
		Name: name, Generations: []*recordv1.AuthorityGeneration{{Certificate: certificate.Raw, SealedKey: sealed}},
	})
	if err != nil {
		return nil, err
	}
	if _, err := c.config.Store.Create(ctx, recordKey(name), value); err != nil && !fault.Is(err, fault.Exists) {
		return nil, err
	}
	return c.read(ctx, name)
}

func (c *CA) read(ctx context.Context, name string) (*authority, error) {
	item, err := c.config.Store.Get(ctx, recordKey(name))
	if err != nil {
		return nil, err
	}
	var record recordv1.Authority
	if err := proto.Unmarshal(item.Value, &record); err != nil {
		return nil, fault.E("ca.read", fault.Internal, name, err)
	}
	a := &authority{}
	for i, generation := range record.GetGenerations() {
		certificate, err := x509.ParseCertificate(generation.GetCertificate())
		if err != nil {
			return nil, fault.E("ca.read", fault.Internal, name, err)
		}
		a.certificates = append(a.certificates, certificate)
		if uint32(i) != record.GetCurrent() {
			continue
		}
		a.current = certificate
		if len(generation.GetSealedKey()) == 0 {
			continue // an import brought the certificate alone
		}
		pem, err := c.config.Sealer.Open(recordKey(name), generation.GetSealedKey())
		if err != nil {
			return nil, err
		}
		if a.key, err = pki.DecodeKey(pem); err != nil {
			return nil, fault.E("ca.read", fault.Internal, name, err)
		}
	}
	if a.current == nil {
		return nil, fault.E("ca.read", fault.Internal, name, fmt.Errorf("authority %s has no current key", name))
	}
	return a, nil
}

// engine returns an engine authority, or fault.NotFound.
func (c *CA) engine(ctx context.Context, name string) (*authority, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if found, ok := c.engines[name]; ok && name != control {
		return found, nil
	}
	if name == control {
		return nil, fault.New("ca.engine", fault.NotFound, name, "the control authority is no engine's")
	}
	found, err := c.read(ctx, name)
	if err != nil {
		return nil, err
	}
	c.engines[name] = found
	return found, nil
}

// chain is a leaf with the authority that signed it, DER each.
func (a *authority) chain(leaf *x509.Certificate) [][]byte { return [][]byte{leaf.Raw, a.current.Raw} }

func (a *authority) ders() [][]byte {
	ders := make([][]byte, len(a.certificates))
	for i, certificate := range a.certificates {
		ders[i] = certificate.Raw
	}
	return ders
}

// ServerTLS is the controller's side of every TCP connection: TLS 1.3, a certificate that renews itself and brings its
// authority along (tickets pin that), and a request for the caller's certificate, which VerifyPeer judges for each call.
func (c *CA) ServerTLS() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		NextProtos: []string{"h2"},
		ClientAuth: tls.RequestClientCert,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return c.serve()
		},
	}
}

func (c *CA) serve() (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.config.Now()
	if c.served != nil && now.Before(c.servedTo) {
		return c.served, nil
	}
	key, err := pki.NewKey()
	if err != nil {
		return nil, err
	}
	leaf, err := pki.Sign(pki.Leaf{
		CommonName: "mctl controller", URI: pki.ControllerURI(), SANs: []string{pki.ControllerName}, Usage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		NotBefore: now.Add(-pki.Backdate), NotAfter: now.Add(c.config.Lifetimes.Controller),
	}, key.Public(), c.control.current, c.control.key)
	if err != nil {
		return nil, err
	}
	c.served = &tls.Certificate{Certificate: c.control.chain(leaf), PrivateKey: key, Leaf: leaf}
	c.servedTo = pki.RenewAt(leaf.NotBefore, leaf.NotAfter, random())
	return c.served, nil
}

// random is in [0, 1).
func random() float64 {
	var raw [8]byte
	_, _ = rand.Read(raw[:]) // documented never to fail
	return float64(binary.BigEndian.Uint64(raw[:])>>11) / (1 << 53)
}
