package swarm

import (
	"context"
	"crypto/tls"
	"net"
	"sync"
	"time"

	"mctl/internal/fault"
	"mctl/internal/pki"
)

// Signer issues certificates of engines' clients.
type Signer interface {
	// SignEngineClient returns a certificate and the authorities (PEM), and the certificate's end.
	SignEngineClient(ctx context.Context, authority, subject string, csr []byte) (certificate, authorities []byte, end time.Time, err error)
}

// subject is whom engines see.
const subject = "mctl-controller"

// keyring has a client's certificate for each engine authority, made when it is first needed, in memory alone.
type keyring struct {
	signer Signer
	now    func() time.Time

	mu   sync.Mutex
	held map[string]held
}

type held struct {
	config *tls.Config
	renew  time.Time
}

// config is what to talk TLS with to engines under an authority.
func (k *keyring) config(ctx context.Context, authority string) (*tls.Config, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if h, ok := k.held[authority]; ok && k.now().Before(h.renew) {
		return h.config, nil
	}
	const op = "swarm.keyring"
	key, err := pki.NewKey()
	if err != nil {
		return nil, fault.E(op, fault.Internal, authority, err)
	}
	request, err := pki.NewRequest(key)
	if err != nil {
		return nil, fault.E(op, fault.Internal, authority, err)
	}
	text, authorities, end, err := k.signer.SignEngineClient(ctx, authority, subject, request)
	if err != nil {
		return nil, err
	}
	chain, err := pki.DecodeCertificates(text)
	if err != nil {
		return nil, fault.E(op, fault.Internal, authority, err)
	}
	trusted, err := pki.DecodeCertificates(authorities)
	if err != nil {
		return nil, fault.E(op, fault.Internal, authority, err)
	}
	own := tls.Certificate{PrivateKey: key, Leaf: chain[0]}
	for _, c := range chain {
		own.Certificate = append(own.Certificate, c.Raw)
	}
	// Every engine's certificate covers localhost, which is where its host finds it.
	config := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{own}, RootCAs: pki.Pool(trusted...), ServerName: "localhost"}
	now := k.now()
	// An authority may get another generation; a certificate of half an hour ago is good under the one before.
	k.held[authority] = held{config, now.Add(min(end.Sub(now)/2, 30*time.Minute))}
	return config, nil
}

// dialer connects to a machine's engine, by TLS through the agent.
func (c *Client) dialer(machine string) func(ctx context.Context, _, _ string) (net.Conn, error) {
	return func(ctx context.Context, _, _ string) (net.Conn, error) {
		authority, err := c.config.Authority(ctx, machine)
		if err != nil {
			return nil, err
		}
		config, err := c.keys.config(ctx, authority)
		if err != nil {
			return nil, err
		}
		raw := c.config.Dial(context.WithoutCancel(ctx), machine) // it ends when it is closed
		conn := tls.Client(raw, config)
		if err := conn.HandshakeContext(ctx); err != nil {
			raw.Close()
			return nil, err
		}
		return conn, nil
	}
}
