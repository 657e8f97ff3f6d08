// Package pki is the mathematics of our certificates: keys, requests, templates, names, times. It keeps nothing, reads no
// clock and talks to nobody; the authority is controller/ca, the holders are agent/identity and the client.
package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
)

// NewKey makes an ECDSA P-256 key.
func NewKey() (*ecdsa.PrivateKey, error) {
	return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
}

// EncodeKey returns key as PEM, PKCS #8.
func EncodeKey(key crypto.Signer) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode private key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// Matches reports whether a private key is that of a certificate.
func Matches(key crypto.Signer, certificate *x509.Certificate) bool {
	public, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool })
	return ok && public.Equal(certificate.PublicKey)
}

// DecodeKey reads what EncodeKey wrote. Text before and after the first PRIVATE KEY block is passed over.
func DecodeKey(text []byte) (crypto.Signer, error) {
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "PRIVATE KEY" {
			continue
		}
		key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("decode private key: %w", err)
		}
		if signer, ok := key.(crypto.Signer); ok {
			return signer, nil
		}
		return nil, errors.New("decode private key: it can't sign")
	}
	return nil, errors.New("decode private key: no PRIVATE KEY block")
}

// NewRequest returns a PKCS #10 request (DER) for key. It names nothing, since authorities take nothing from it but the key.
func NewRequest(key crypto.Signer) ([]byte, error) {
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		return nil, fmt.Errorf("make certificate request: %w", err)
	}
	return der, nil
}

// maxRequest bounds a request: the largest we make ourselves has about 250 bytes, one for RSA 4096 about 1,500.
const maxRequest = 8 << 10

// RequestKey checks that der is a request signed with the key it is for, and returns that public key: ECDSA P-256, P-384
// or P-521, Ed25519, or RSA of 2048 to 8192 bits. Names, extensions and attributes in the request are ignored.
func RequestKey(der []byte) (crypto.PublicKey, error) {
	if len(der) > maxRequest {
		return nil, errors.New("certificate request is too long")
	}
	request, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return nil, fmt.Errorf("read certificate request: %w", err)
	}
	switch key := request.PublicKey.(type) {
	case *ecdsa.PublicKey:
		if key.Curve == elliptic.P224() {
			return nil, errors.New("certificate request: curve P-224 is too weak")
		}
	case ed25519.PublicKey:
	case *rsa.PublicKey:
		if bits := key.N.BitLen(); bits < 2048 || bits > 8192 {
			return nil, fmt.Errorf("certificate request: RSA with %d bits is refused", bits)
		}
	default:
		return nil, errors.New("certificate request: unknown kind of key")
	}
	if err := request.CheckSignature(); err != nil {
		return nil, fmt.Errorf("certificate request: %w", err)
	}
	return request.PublicKey, nil
}

// KeyDigest is the SHA-256 of a public key's SubjectPublicKeyInfo.
func KeyDigest(key crypto.PublicKey) ([sha256.Size]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return [sha256.Size]byte{}, fmt.Errorf("encode public key: %w", err)
	}
	return sha256.Sum256(der), nil
}
