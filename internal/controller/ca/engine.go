package ca

import (
	"context"
	"crypto/x509"
	"fmt"
	"time"

	"mctl/internal/fault"
	"mctl/internal/pki"
)

// EngineCA returns the certificates (PEM) of an engine authority, all that are to be trusted. fault.NotFound.
func (c *CA) EngineCA(ctx context.Context, name string) ([]byte, error) {
	a, err := c.engine(ctx, name)
	if err != nil {
		return nil, err
	}
	return pki.EncodeCertificates(a.certificates...), nil
}

// Ends returns when the control authority and an engine authority end; zero for one that nothing was asked of yet.
func (c *CA) Ends(authority string) (controlEnd, engineEnd time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if a, ok := c.engines[authority]; ok {
		engineEnd = a.current.NotAfter
	}
	return c.control.current.NotAfter, engineEnd
}

// SignEngineServer issues the certificate of an engine (DER, leaf first) for the key of the request and the names given.
// fault.Invalid for a bad request, fault.NotFound for an unknown authority.
func (c *CA) SignEngineServer(ctx context.Context, name, commonName string, sans []string, csr []byte) ([][]byte, error) {
	leaf, a, err := c.signEngine(ctx, name, csr, pki.Leaf{
		CommonName: commonName, SANs: sans, Usage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, c.config.Lifetimes.EngineServer)
	if err != nil {
		return nil, err
	}
	return a.chain(leaf), nil
}

// handOverLife is how long the certificate of an engine lasts that is left to docker-machine, which renews none: as long as its own.
const handOverLife = 1080 * 24 * time.Hour

// SignEngineHandOver is SignEngineServer for an engine that is left to docker-machine, and returns PEM.
func (c *CA) SignEngineHandOver(ctx context.Context, name, commonName string, sans []string, csr []byte) ([]byte, error) {
	leaf, _, err := c.signEngine(ctx, name, csr, pki.Leaf{
		CommonName: commonName, SANs: sans, Usage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, handOverLife)
	if err != nil {
		return nil, err
	}
	return pki.EncodeCertificates(leaf), nil
}

// SignEngineClient issues a docker client's certificate for the key of the request. It returns PEM, with the authorities
// that the engine's certificate may come from, and the certificate's end. Faults as SignEngineServer.
func (c *CA) SignEngineClient(ctx context.Context, name, subject string, csr []byte) (certificate, authorities []byte, end time.Time, err error) {
	leaf, a, err := c.signEngine(ctx, name, csr, pki.Leaf{
		CommonName: subject, Usage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, c.config.Lifetimes.EngineClient)
	if err != nil {
		return nil, nil, time.Time{}, err
	}
	return pki.EncodeCertificates(leaf), pki.EncodeCertificates(a.certificates...), leaf.NotAfter, nil
}

func (c *CA) signEngine(ctx context.Context, name string, csr []byte, leaf pki.Leaf, life time.Duration) (*x509.Certificate, *authority, error) {
	key, _, err := requestKey(csr)
	if err != nil {
		return nil, nil, err
	}
	a, err := c.engine(ctx, name)
	if err != nil {
		return nil, nil, err
	}
	if a.key == nil {
		return nil, nil, fault.E("ca.signEngine", fault.Precondition, name, fmt.Errorf("the key of the authority %s is lost, so that it signs nothing", name)).
			WithHint("`mctl regenerate-certs` moves a machine to an authority of mctl's own").WithReason(fault.ReasonNoKey)
	}
	now := c.issuing()
	leaf.NotBefore, leaf.NotAfter = now.Add(-pki.Backdate), now.Add(life)
	certificate, err := pki.Sign(leaf, key, a.current, a.key)
	if err != nil {
		return nil, nil, fault.E("ca.signEngine", fault.Internal, leaf.CommonName, err)
	}
	return certificate, a, nil
}
