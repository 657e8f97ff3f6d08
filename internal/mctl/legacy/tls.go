package legacy

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"io/fs"
	"math/big"
	"path/filepath"
	"time"

	"mctl/internal/mctl/credential"
	"mctl/internal/mctl/state"
	"mctl/internal/pki"
)

// content is a file as it was read.
type content struct {
	text []byte
	err  error
}

// read reads a file once: the machines of a store share most of them.
func (r *Reader) read(path string) ([]byte, error) {
	if filepath.Dir(path) != filepath.Join(r.Dir, "certs") {
		return state.ReadBounded(path)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	known, ok := r.files[path]
	if !ok {
		known.text, known.err = state.ReadBounded(path)
		r.files[path] = known
	}
	return known.text, known.err
}

// authority is a CA of the store.
type authority struct {
	certificate *x509.Certificate
	text        []byte // PEM
	name        string // for people
	key         []byte // PEM, PKCS #8; nil where it is lost
	lost        string // why, a sentence
}

// findAuthority finds out under whose certificates the machine goes on.
func (s *subject) findAuthority() {
	const anew = "shells that are open need `mctl env` once more"
	s.Authority = "mctl"
	path := filepath.Join(s.folder, "ca.pem") // which its shells are given
	text, err := s.reader.read(path)
	if errors.Is(err, fs.ErrNotExist) {
		path = s.rebase(s.auth.CaCertPath)
		text, err = s.reader.read(path)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		s.note(anew, "its CA certificate %s is missing", path)
		return
	case err != nil:
		s.note(anew, "its CA certificate %s can't be read: %s", path, cause(err))
		return
	}
	a, err := s.authority(text)
	if err != nil {
		s.note(anew, "its CA certificate %s is none: %s", path, err)
		return
	}
	if a.certificate.NotAfter.Before(s.reader.Now) {
		s.note(anew, "its CA expired on %s, and mctl's own takes its place", a.certificate.NotAfter.UTC().Format(time.DateOnly))
		return
	}
	server := s.pair("server", filepath.Join(s.folder, "server.pem"), s.rebase(s.auth.ServerCertPath), filepath.Join(s.folder, "server-key.pem"), s.rebase(s.auth.ServerKeyPath), a.certificate)
	client := s.pair("client", filepath.Join(s.folder, "cert.pem"), s.rebase(s.auth.ClientCertPath), filepath.Join(s.folder, "key.pem"), s.rebase(s.auth.ClientKeyPath), a.certificate)
	if a.key == nil {
		if server.key == nil {
			s.note(anew, "%s, and there is no certificate of its engine to go on with either, so that mctl's own takes its place", a.lost)
			return
		}
		s.note("`mctl regenerate-certs "+s.Name+"` moves it to mctl's own authority; "+anew+" then",
			"%s, so its engine is served with the certificate that it has, until %s", a.lost, server.leaf.NotAfter.UTC().Format(time.DateOnly))
		s.Request.ServerCertificate, s.Request.ServerKey = server.text, pkcs8(server.key)
		s.Client = credential.Material{CA: a.text, Certificate: client.text, Key: pkcs8(client.key)}
	}
	s.Authority = a.name
	s.Request.AuthorityCertificate, s.Request.AuthorityKey = a.text, a.key
}

// authority reads a CA, once for all its machines.
func (s *subject) authority(text []byte) (authority, error) {
	keyPath := s.rebase(s.auth.CaPrivateKeyPath)
	id := string(text) + "\x00" + keyPath
	s.reader.mu.Lock()
	known, ok := s.reader.keys[id]
	s.reader.mu.Unlock()
	if ok {
		return known, nil
	}
	chain, err := pki.DecodeCertificates(text)
	if err != nil {
		return authority{}, err
	}
	if !chain[0].IsCA {
		return authority{}, errors.New("it can't sign")
	}
	digest := sha256.Sum256(chain[0].Raw)
	a := authority{certificate: chain[0], text: pki.EncodeCertificates(chain[0]), name: "imported-" + hex.EncodeToString(digest[:8])}
	a.key, a.lost = s.authorityKey(keyPath, chain[0])
	s.reader.mu.Lock()
	defer s.reader.mu.Unlock()
	s.reader.keys[id] = a
	return a, nil
}

func (s *subject) authorityKey(path string, certificate *x509.Certificate) (key []byte, lost string) {
	text, err := s.reader.read(path)
	switch {
	case path == "" || errors.Is(err, fs.ErrNotExist):
		return nil, "the key of its CA is missing"
	case err != nil:
		return nil, "the key of its CA can't be read: " + cause(err)
	}
	signer, err := parseKey(text)
	switch {
	case err != nil && bytes.Contains(text, []byte("ENCRYPTED")):
		return nil, "the key of its CA has a passphrase"
	case err != nil:
		return nil, "the key of its CA is none"
	}
	if !pki.Matches(signer, certificate) {
		return nil, "the key of its CA is another one's"
	}
	if key, err = pki.EncodeKey(signer); err != nil {
		return nil, "the key of its CA is of no kind that mctl knows"
	}
	return key, ""
}

// pair is a certificate and its key; the key is nil where they are no use.
type pair struct {
	leaf *x509.Certificate
	text []byte // PEM
	key  []byte // PEM, as it is
}

// pair reads a certificate with its key, from the machine's folder or where config.json says, and holds it against its CA.
func (s *subject) pair(kind, own, named, ownKey, namedKey string, ca *x509.Certificate) pair {
	hint := "mctl issues new ones where it has the key of the CA"
	if kind == "server" && s.Driver == "none" {
		return pair{} // docker-machine makes none for it
	}
	text, err := s.either(own, named)
	if err == nil {
		var chain []*x509.Certificate
		if chain, err = pki.DecodeCertificates(text); err == nil {
			return s.checked(kind, chain, ownKey, namedKey, ca)
		}
		err = errors.New("it is none")
	}
	s.note(hint, "its %s certificate can't be used: %s", kind, cause(err))
	return pair{}
}

// signed reports whether a certificate is from a CA. The client's is the same for most machines of a store, and is looked at once.
func (r *Reader) signed(leaf, ca *x509.Certificate) bool {
	id := string(ca.Raw) + string(leaf.Raw)
	r.mu.Lock()
	known, ok := r.signatures[id]
	r.mu.Unlock()
	if !ok {
		known = leaf.CheckSignatureFrom(ca) == nil
		r.mu.Lock()
		r.signatures[id] = known
		r.mu.Unlock()
	}
	return known
}

func (s *subject) checked(kind string, chain []*x509.Certificate, own, named string, ca *x509.Certificate) pair {
	leaf := chain[0]
	hint := "mctl issues new ones where it has the key of the CA"
	if !s.reader.signed(leaf, ca) {
		s.note(hint, "its %s certificate is not from its CA", kind)
		return pair{}
	}
	if leaf.NotAfter.Before(s.reader.Now) {
		s.note(hint, "its %s certificate expired on %s", kind, leaf.NotAfter.UTC().Format(time.DateOnly))
		return pair{}
	}
	keyText, err := s.either(own, named)
	if err != nil {
		s.note(hint, "the key of its %s certificate can't be read: %s", kind, cause(err))
		return pair{}
	}
	same, err := belongs(keyText, leaf)
	switch {
	case err != nil:
		s.note(hint, "the key of its %s certificate is none", kind)
		return pair{}
	case !same:
		s.note(hint, "the key of its %s certificate is another one's", kind)
		return pair{}
	}
	return pair{leaf: leaf, text: pki.EncodeCertificates(chain...), key: keyText} // the certificates alone: the file may have the key in it
}

// either reads the first of two files that is there.
func (s *subject) either(first, second string) ([]byte, error) {
	text, err := s.reader.read(first)
	if errors.Is(err, fs.ErrNotExist) && second != "" {
		return s.reader.read(second)
	}
	return text, err
}

// pkcs8 is a key that was read before, in the form that the controller and mctl keep; nil for none.
func pkcs8(text []byte) []byte {
	signer, err := parseKey(text)
	if err != nil {
		return nil
	}
	encoded, err := pki.EncodeKey(signer)
	if err != nil {
		return nil
	}
	return encoded
}

// belongs reports whether a key is a certificate's. Of an RSA key it looks at the public half alone.
func belongs(text []byte, leaf *x509.Certificate) (bool, error) {
	if public := publicRSA(text); public != nil {
		return public.Equal(leaf.PublicKey), nil
	}
	signer, err := parseKey(text)
	return err == nil && pki.Matches(signer, leaf), err
}

// publicRSA is the public half of a key as docker-machine writes them all; nil for any other. To check the private half takes a hundred times as
// long, and the controller does.
func publicRSA(text []byte) *rsa.PublicKey {
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "RSA PRIVATE KEY" || len(block.Headers) > 0 {
		return nil
	}
	var key struct { // PKCS #1
		Version    int
		N          *big.Int
		E          int
		D, P, Q    *big.Int
		DP, DQ, QI *big.Int
	}
	if rest, err := asn1.Unmarshal(block.Bytes, &key); err != nil || len(rest) > 0 {
		return nil
	}
	return &rsa.PublicKey{N: key.N, E: key.E}
}

// parseKey reads a private key as any version of docker-machine wrote it.
func parseKey(text []byte) (crypto.Signer, error) {
	for block, rest := pem.Decode(bytes.TrimSpace(text)); block != nil; block, rest = pem.Decode(rest) {
		var key any
		var err error
		switch block.Type {
		case "RSA PRIVATE KEY":
			key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
		case "EC PRIVATE KEY":
			key, err = x509.ParseECPrivateKey(block.Bytes)
		case "PRIVATE KEY":
			key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
		default:
			continue
		}
		if err != nil {
			return nil, err
		}
		if signer, ok := key.(crypto.Signer); ok {
			return signer, nil
		}
	}
	return nil, errors.New("no private key")
}
