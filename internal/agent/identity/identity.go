// Package identity holds what this host is to the controller: its key, made here and never shown, its certificate, and the
// authorities that it trusts.
package identity

import (
	"crypto"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/google/renameio/v2"
	"github.com/hashicorp/go-hclog"

	"mctl/internal/fault"
	"mctl/internal/pki"
)

// Config is what a Holder needs.
type Config struct {
	Dir    string // made with mode 0700 when it is not there
	Logger hclog.Logger
	Now    func() time.Time
}

// Holder is the identity on disk. It is safe for use at the same time.
type Holder struct {
	config Config

	mu          sync.Mutex
	key         crypto.Signer       // nil before the first enrollment began
	chain       []*x509.Certificate // leaf first; nil while there is none
	authorities []*x509.Certificate
	ticket      string // id of the last one that was used up
}

// The files, each written whole or not at all. The certificate goes last: with it, an enrollment counts.
const (
	keyFile         = "key.pem"
	certificateFile = "certificate.pem"
	authoritiesFile = "authorities.pem"
	ticketFile      = "ticket" // id of the last ticket, no secret
	maxFile         = 256 << 10
)

// Open reads what is there. A file that can't be understood counts as absent, so that a ticket can heal it; one that can't
// be read is fault.Internal.
func Open(config Config) (*Holder, error) {
	if err := os.MkdirAll(config.Dir, 0o700); err != nil {
		return nil, fault.E("identity.Open", fault.Internal, config.Dir, err)
	}
	h := &Holder{config: config}
	texts := map[string][]byte{}
	for _, name := range []string{keyFile, certificateFile, authoritiesFile, ticketFile} {
		text, err := h.read(name)
		if err != nil {
			return nil, fault.E("identity.Open", fault.Internal, name, err)
		}
		texts[name] = text
	}
	h.ticket = string(texts[ticketFile])
	if err := h.load(texts); err != nil {
		config.Logger.Warn("the identity on disk is damaged, waiting for a join ticket", "error", err)
	}
	return h, nil
}

// load takes over what the files say, as far as it fits together.
func (h *Holder) load(texts map[string][]byte) error {
	if texts[keyFile] == nil {
		return nil
	}
	key, err := pki.DecodeKey(texts[keyFile])
	if err != nil {
		return err
	}
	h.key = key
	if texts[certificateFile] == nil || texts[authoritiesFile] == nil {
		return nil
	}
	chain, err := pki.DecodeCertificates(texts[certificateFile])
	if err != nil {
		return err
	}
	authorities, err := pki.DecodeCertificates(texts[authoritiesFile])
	if err != nil {
		return err
	}
	if err := check(key, chain, authorities); err != nil {
		return err
	}
	h.chain, h.authorities = chain, authorities
	return nil
}

// check makes sure that a certificate is for a key and that one of the authorities signed it.
func check(key crypto.Signer, chain, authorities []*x509.Certificate) error {
	own, err := pki.KeyDigest(key.Public())
	if err != nil {
		return err
	}
	if pki.SPKIDigest(chain[0]) != own {
		return errors.New("the certificate is for another key")
	}
	if _, err := pki.SubjectOf(chain[0]); err != nil {
		return err
	}
	_, err = chain[0].Verify(x509.VerifyOptions{
		Roots: pki.Pool(authorities...), CurrentTime: chain[0].NotBefore.Add(time.Second),
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	return err
}

// Subject returns whom the certificate names, such as "machine:UID"; nothing while there is none.
func (h *Holder) Subject() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.chain == nil {
		return ""
	}
	subject, _ := pki.SubjectOf(h.chain[0]) // it was checked when it came
	return subject
}

// TLS returns the configuration to dial the controller with; false while there is no certificate. A certificate that has
// expired is shown all the same, since it can still be renewed.
func (h *Holder) TLS() (*tls.Config, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.chain == nil {
		return nil, false
	}
	certificate := &tls.Certificate{PrivateKey: h.key, Leaf: h.chain[0]}
	for _, c := range h.chain {
		certificate.Certificate = append(certificate.Certificate, c.Raw)
	}
	own := func() (*tls.Certificate, error) { return certificate, nil }
	return pki.ClientConfig(pki.Pool(h.authorities...), [sha256.Size]byte{}, own, h.config.Now), true
}

// Renewal returns when the certificate is to be replaced and when it ends; zero times while there is none. The moment is
// spread by the certificate's serial number, so that it stays the same over restarts and differs among hosts.
func (h *Holder) Renewal() (at, end time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.chain == nil {
		return time.Time{}, time.Time{}
	}
	leaf := h.chain[0]
	return pki.RenewAt(leaf.NotBefore, leaf.NotAfter, pki.Spread(leaf)), leaf.NotAfter
}

func (h *Holder) read(name string) ([]byte, error) {
	path := filepath.Join(h.config.Dir, name)
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if info.Size() > maxFile {
		return nil, fmt.Errorf("%s has %d bytes, which is no file of ours", path, info.Size())
	}
	return os.ReadFile(path)
}

// write puts a file in its place whole, and its name on the disk.
func (h *Holder) write(name string, text []byte) error {
	path := filepath.Join(h.config.Dir, name)
	if err := renameio.WriteFile(path, text, 0o600, renameio.WithTempDir(h.config.Dir)); err != nil {
		return fault.E("identity.write", fault.Internal, name, err)
	}
	return syncDir(h.config.Dir)
}

func (h *Holder) remove(name string) error {
	if err := os.Remove(filepath.Join(h.config.Dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fault.E("identity.remove", fault.Internal, name, err)
	}
	return syncDir(h.config.Dir)
}

func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return fault.E("identity.syncDir", fault.Internal, path, err)
	}
	defer dir.Close()
	if err := dir.Sync(); err != nil {
		return fault.E("identity.syncDir", fault.Internal, path, err)
	}
	return nil
}
