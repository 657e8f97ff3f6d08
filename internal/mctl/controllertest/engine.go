package controllertest

import (
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"mctl/internal/pki"
	controllerv1 "mctl/proto/mctl/controller/v1"
)

// Authority issues certificates for engines and those who use them.
type Authority struct {
	// Life of the certificates for clients.
	Life time.Duration

	key         *ecdsa.PrivateKey
	certificate *x509.Certificate
}

// NewAuthority makes one.
func NewAuthority(t testing.TB) *Authority {
	t.Helper()
	key, err := pki.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := pki.NewAuthority("test", key, time.Now(), 24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return &Authority{Life: time.Hour, key: key, certificate: certificate}
}

// Issue answers a request for a client's certificate, as a controller does.
func (a *Authority) Issue(csr []byte) (*controllerv1.IssueClientCertificateResponse, error) {
	key, err := pki.RequestKey(csr)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	made, err := pki.Sign(pki.Leaf{
		CommonName: "client", Usage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, NotBefore: now.Add(-time.Minute), NotAfter: now.Add(a.Life),
	}, key, a.certificate, a.key)
	if err != nil {
		return nil, err
	}
	return &controllerv1.IssueClientCertificateResponse{
		Certificate: pki.EncodeCertificates(made), Ca: pki.EncodeCertificates(a.certificate), Authority: "default", ExpireTime: timestamppb.New(made.NotAfter),
	}, nil
}

// Engine serves what a Docker engine answers to a ping, to whoever has a certificate of this authority, until the test ends.
// It returns its URL, tcp://127.0.0.1:PORT.
func (a *Authority) Engine(t testing.TB, ping http.HandlerFunc) string {
	t.Helper()
	key, err := pki.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	made, err := pki.Sign(pki.Leaf{
		CommonName: "engine", SANs: []string{"127.0.0.1", "web"}, Usage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		NotBefore: now.Add(-time.Minute), NotAfter: now.Add(time.Hour),
	}, key.Public(), a.certificate, a.key)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(ping)
	server.TLS = &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{made.Raw}, PrivateKey: key}},
		ClientAuth:   tls.RequireAndVerifyClientCert, ClientCAs: pki.Pool(a.certificate), MinVersion: tls.VersionTLS12,
	}
	server.Config.ErrorLog = nil
	server.StartTLS()
	t.Cleanup(server.Close)
	_, port, _ := net.SplitHostPort(server.Listener.Addr().String())
	return "tcp://127.0.0.1:" + port
}
