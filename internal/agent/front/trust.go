package front

import (
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"github.com/hashicorp/go-hclog"

	"mctl/internal/pki"
)

// version tells two states of a file apart; every change comes as a rename, so it has another inode.
type version struct {
	inode        uint64
	mtime, ctime syscall.Timespec
	size         int64
}

func versionOf(path string) (version, error) {
	var s syscall.Stat_t
	if err := syscall.Stat(path, &s); err != nil {
		return version{}, &os.PathError{Op: "stat", Path: path, Err: err}
	}
	return version{inode: s.Ino, mtime: s.Mtim, ctime: s.Ctim, size: s.Size}, nil
}

// trust is what the files in the front's folder say, read again when they change. What it has stays in force while a file
// can't be read, so that a mistake on disk closes no port.
type trust struct {
	dir string
	log hclog.Logger

	mu              sync.Mutex
	server, clients version
	current         *tls.Config
	revokedAt       version
	revoked         map[string]bool
	fresh           []string // revoked since newlyRevoked was asked
}

func newTrust(dir string, log hclog.Logger) *trust { return &trust{dir: dir, log: log} }

// config is the TLS configuration of the listener: each handshake gets the current one.
func (t *trust) config() *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS12,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return t.load() },
	}
}

// load returns the configuration for one handshake: 2 stats when nothing has changed.
func (t *trust) load() (*tls.Config, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	server, errServer := versionOf(filepath.Join(t.dir, serverFile))
	clients, errClients := versionOf(filepath.Join(t.dir, clientsFile))
	if errServer == nil && errClients == nil && t.current != nil && server == t.server && clients == t.clients {
		return t.current, nil
	}
	next, err := t.build()
	if err != nil && t.current == nil {
		return nil, fmt.Errorf("nothing to serve with: %w", err)
	}
	if err != nil {
		t.log.Warn("the certificate on disk can't be used, serving with the former", "error", err)
		return t.current, nil
	}
	t.current, t.server, t.clients = next, server, clients
	return next, nil
}

func (t *trust) build() (*tls.Config, error) {
	material, err := ReadMaterial(t.dir)
	if err != nil {
		return nil, err
	}
	authorities, err := pki.DecodeCertificates(material.ClientCA)
	if err != nil {
		return nil, err
	}
	pair := tls.Certificate{PrivateKey: material.Key, Leaf: material.Leaf}
	for _, c := range material.Chain {
		pair.Certificate = append(pair.Certificate, c.Raw)
	}
	return &tls.Config{
		Certificates: []tls.Certificate{pair},
		// The standard check: a chain to one of these, in its time, meant for clients.
		ClientAuth: tls.RequireAndVerifyClientCert,
		ClientCAs:  pki.Pool(authorities...),
		MinVersion: tls.VersionTLS12, // Docker clients of old speak nothing newer
		CipherSuites: []uint16{
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
			tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
		},
		NextProtos: []string{"http/1.1"}, // as dockerd's own
		// A resumed session would skip the check against the authorities of today.
		SessionTicketsDisabled: true,
		// Small first records help browsers, and cost us.
		DynamicRecordSizingDisabled: true,
		VerifyConnection: func(state tls.ConnectionState) error {
			if t.isRevoked(serialOf(state)) {
				return errors.New("the client's certificate was revoked")
			}
			return nil
		},
	}, nil
}

// isRevoked looks at the file as it is now.
func (t *trust) isRevoked(serial string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.refreshRevoked()
	return t.revoked[serial]
}

// newlyRevoked returns the serial numbers that were revoked since it was asked the last time.
func (t *trust) newlyRevoked() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.refreshRevoked()
	fresh := t.fresh
	t.fresh = nil
	return fresh
}

func (t *trust) refreshRevoked() {
	path := filepath.Join(t.dir, revokedFile)
	at, err := versionOf(path)
	if errors.Is(err, os.ErrNotExist) {
		t.revoked, t.revokedAt = nil, version{}
		return
	}
	if err == nil && at == t.revokedAt {
		return
	}
	content, errRead := read(path)
	if err := errors.Join(err, errRead); err != nil {
		t.log.Warn("the list of revoked certificates can't be read, the former stays", "error", err)
		return
	}
	revoked := map[string]bool{}
	for serial := range strings.FieldsSeq(strings.ToLower(string(content))) {
		revoked[serial] = true
		if !t.revoked[serial] {
			t.fresh = append(t.fresh, serial)
		}
	}
	t.revoked, t.revokedAt = revoked, at
}
