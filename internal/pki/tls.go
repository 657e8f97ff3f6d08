package pki

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"time"
)

// VerifyController checks a controller's chain (leaf first) under the trusted authorities: it must name ControllerURI and
// be meant for servers. Host names play no part, so a controller's address may change.
func VerifyController(chain []*x509.Certificate, trusted *x509.CertPool, now time.Time) error {
	if len(chain) == 0 {
		return errors.New("the controller showed no certificate")
	}
	_, err := chain[0].Verify(x509.VerifyOptions{
		Roots:       trusted,
		CurrentTime: now,
		KeyUsages:   []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	if err != nil {
		return fmt.Errorf("the controller's certificate: %w", err)
	}
	if subject, err := SubjectOf(chain[0]); err != nil || subject != ControllerURI().Host {
		return errors.New("the certificate shown is not a controller's")
	}
	return nil
}

// PinnedAuthority finds, in a chain that a controller showed, the authority whose digest a ticket carries.
func PinnedAuthority(chain []*x509.Certificate, digest [sha256.Size]byte) (*x509.Certificate, error) {
	for _, c := range chain {
		if c.IsCA && SPKIDigest(c) == digest {
			return c, nil
		}
	}
	return nil, errors.New("the controller is not the one that made the join ticket: its authority has another digest")
}

// ClientConfig is TLS 1.3 towards a controller whose authorities are trusted, or, where trusted is nil, pinned by digest.
// own may be nil while there is no certificate yet. now is read at each handshake.
func ClientConfig(trusted *x509.CertPool, digest [sha256.Size]byte, own func() (*tls.Certificate, error), now func() time.Time) *tls.Config {
	config := &tls.Config{
		MinVersion: tls.VersionTLS13,
		NextProtos: []string{"h2"},
		// The standard check wants a host name; VerifyConnection below makes the whole check instead.
		InsecureSkipVerify: true, //nolint:gosec // see the line above
		VerifyConnection: func(state tls.ConnectionState) error {
			roots := trusted
			if roots == nil {
				pinned, err := PinnedAuthority(state.PeerCertificates, digest)
				if err != nil {
					return err
				}
				roots = Pool(pinned)
			}
			return VerifyController(state.PeerCertificates, roots, now())
		},
	}
	if own != nil {
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return own() }
	}
	return config
}
