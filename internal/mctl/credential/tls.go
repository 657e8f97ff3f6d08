package credential

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"os"

	"mctl/internal/mctl/state"
)

// ClientTLS is what the docker CLI shows an engine and asks of it, as a machine's folder has it.
func ClientTLS(folder state.Folder) (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(folder.File(certFile), folder.File(keyFile))
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(folder.File(caFile))
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		return nil, errors.New(caFile + " holds no certificate")
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots, Certificates: []tls.Certificate{pair}}, nil
}
