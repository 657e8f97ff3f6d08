package front

import (
	"bytes"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/renameio/v2"

	"mctl/internal/fault"
	"mctl/internal/pki"
)

// The files in a front's folder.
const (
	serverFile  = "server.pem"  // key and chain in one file, so that a pair is never torn
	clientsFile = "clients.pem" // authorities whose clients are let in
	revokedFile = "revoked"     // serial numbers, hexadecimal, one a line
)

// maxFile bounds what is read: a chain has a few kB, a hundred thousand revoked certificates 3 MB.
const maxFile = 4 << 20

// Material is what a front serves with.
type Material struct {
	Leaf     *x509.Certificate
	Chain    []*x509.Certificate // leaf first
	Key      crypto.Signer
	ClientCA []byte // PEM
}

// WriteMaterial puts key, chain (leaf first) and client authorities, all PEM, where the front finds them at its next
// handshake. Files that hold the same already stay. Invalid, with nothing written, when key and leaf are no pair or there
// is no authority. It may be repeated.
func WriteMaterial(dir string, keyPEM, chainPEM, clientCA []byte) error {
	server := slices.Concat(keyPEM, chainPEM)
	if _, err := tls.X509KeyPair(chainPEM, keyPEM); err != nil {
		return fault.E("front.WriteMaterial", fault.Invalid, serverFile, fmt.Errorf("the engine's certificate can't be served: %w", err))
	}
	if _, err := pki.DecodeCertificates(clientCA); err != nil {
		return fault.E("front.WriteMaterial", fault.Invalid, clientsFile, fmt.Errorf("the authorities of docker clients: %w", err))
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fault.E("front.WriteMaterial", fault.Precondition, dir, err)
	}
	if err := replace(filepath.Join(dir, clientsFile), clientCA); err != nil {
		return err
	}
	return replace(filepath.Join(dir, serverFile), server)
}

// ReadMaterial returns what WriteMaterial wrote. NotFound when there is none yet.
func ReadMaterial(dir string) (Material, error) {
	server, err := read(filepath.Join(dir, serverFile))
	if err != nil {
		return Material{}, err
	}
	clients, err := read(filepath.Join(dir, clientsFile))
	if err != nil {
		return Material{}, err
	}
	m := Material{ClientCA: clients}
	if m.Key, err = pki.DecodeKey(server); err == nil {
		m.Chain, err = pki.DecodeCertificates(server)
	}
	if err != nil {
		return Material{}, fault.E("front.ReadMaterial", fault.Internal, serverFile, err)
	}
	m.Leaf = m.Chain[0]
	return m, nil
}

// Revoke replaces the list of certificates, by hexadecimal serial number, that are let in no more. The front acts on it at
// the next handshake or SIGHUP, whichever comes first, and then cuts their open connections. It may be repeated.
func Revoke(dir string, serials ...string) error {
	sorted := slices.Clone(serials)
	slices.Sort(sorted)
	text := strings.Join(slices.Compact(sorted), "\n") + "\n"
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fault.E("front.Revoke", fault.Precondition, dir, err)
	}
	return replace(filepath.Join(dir, revokedFile), []byte(text))
}

func replace(path string, content []byte) error {
	if present, err := os.ReadFile(path); err == nil && bytes.Equal(present, content) {
		return nil
	}
	// Written, synchronized, renamed.
	if err := renameio.WriteFile(path, content, 0o600, renameio.WithTempDir(filepath.Dir(path)), renameio.WithStaticPermissions(0o600)); err != nil {
		return fault.E("front.replace", fault.Precondition, path, fmt.Errorf("can't write %s: %w", path, err))
	}
	return nil
}

func read(path string) ([]byte, error) {
	info, err := os.Stat(path)
	switch {
	case os.IsNotExist(err):
		return nil, fault.E("front.read", fault.NotFound, path, err)
	case err != nil:
		return nil, fault.E("front.read", fault.Precondition, path, err)
	case info.Size() > maxFile:
		return nil, fault.New("front.read", fault.Precondition, path, path+" is too large")
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, fault.E("front.read", fault.Precondition, path, err)
	}
	return content, nil
}
