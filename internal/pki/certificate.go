package pki

import (
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"strings"
	"time"
)

// Backdate is how far in the past a certificate begins, for hosts whose clocks lag.
const Backdate = time.Hour

// NewAuthority makes a self-signed authority.
func NewAuthority(name string, key crypto.Signer, now time.Time, life time.Duration) (*x509.Certificate, error) {
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: name, Organization: []string{"mctl"}},
		NotBefore:             now.Add(-Backdate),
		NotAfter:              now.Add(life),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
	}
	return sign(template, template, key.Public(), key)
}

// Leaf is what an authority says of a key. All of it is the authority's own choice.
type Leaf struct {
	CommonName string
	URI        *url.URL // our identity, such as MachineURI; nil for none
	SANs       []string // names and addresses
	Usage      []x509.ExtKeyUsage
	NotBefore  time.Time
	NotAfter   time.Time
}

// Sign issues a certificate for public under an authority. It ends with the authority at the latest.
func Sign(leaf Leaf, public crypto.PublicKey, authority *x509.Certificate, key crypto.Signer) (*x509.Certificate, error) {
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: leaf.CommonName, Organization: []string{"mctl"}},
		NotBefore:             leaf.NotBefore,
		NotAfter:              leaf.NotAfter,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           leaf.Usage,
		BasicConstraintsValid: true,
	}
	if template.NotAfter.After(authority.NotAfter) {
		template.NotAfter = authority.NotAfter // so that its holder renews it in time
	}
	if leaf.URI != nil {
		template.URIs = []*url.URL{leaf.URI}
	}
	for _, name := range leaf.SANs {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	return sign(template, authority, public, key)
}

func sign(template, parent *x509.Certificate, public crypto.PublicKey, key crypto.Signer) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, key)
	if err != nil {
		return nil, fmt.Errorf("sign certificate: %w", err)
	}
	return x509.ParseCertificate(der)
}

func newSerial() (*big.Int, error) {
	// RFC 5280, 4.1.2.2: positive and at most 20 octets.
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, fmt.Errorf("make serial number: %w", err)
	}
	return serial.Add(serial, big.NewInt(1)), nil
}

// EncodeCertificates returns certificates as PEM.
func EncodeCertificates(certificates ...*x509.Certificate) []byte {
	var text []byte
	for _, c := range certificates {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	return text
}

// DecodeCertificates reads every CERTIFICATE block of a PEM text. None at all is an error.
func DecodeCertificates(text []byte) ([]*x509.Certificate, error) {
	var certificates []*x509.Certificate
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("read certificate: %w", err)
		}
		certificates = append(certificates, c)
	}
	if len(certificates) == 0 {
		return nil, errors.New("read certificate: no CERTIFICATE block")
	}
	return certificates, nil
}

// ParseChain reads certificates in DER, as they come over the wire. None at all is an error.
func ParseChain(ders [][]byte) ([]*x509.Certificate, error) {
	if len(ders) == 0 {
		return nil, errors.New("no certificate")
	}
	chain := make([]*x509.Certificate, len(ders))
	for i, der := range ders {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("read certificate: %w", err)
		}
		chain[i] = c
	}
	return chain, nil
}

// Pool collects certificates to trust.
func Pool(certificates ...*x509.Certificate) *x509.CertPool {
	pool := x509.NewCertPool()
	for _, c := range certificates {
		pool.AddCert(c)
	}
	return pool
}

// SPKIDigest is the SHA-256 of a certificate's SubjectPublicKeyInfo: what a ticket pins.
func SPKIDigest(c *x509.Certificate) [sha256.Size]byte {
	return sha256.Sum256(c.RawSubjectPublicKeyInfo)
}

// Serial is a certificate's serial number, hexadecimal.
func Serial(c *x509.Certificate) string { return hex.EncodeToString(c.SerialNumber.Bytes()) }

// RenewAt is when a certificate is replaced: at half of its life, give or take a tenth of it. random is in [0, 1).
func RenewAt(notBefore, notAfter time.Time, random float64) time.Time {
	life := notAfter.Sub(notBefore)
	return notBefore.Add(time.Duration(float64(life) * (0.4 + 0.2*random)))
}

// Identities in control certificates are URIs of this scheme, as docs/security.md lists them.
const scheme = "mctl"

// ControllerName is a DNS name in every controller's certificate, for those who check names. It is nowhere in the DNS: the
// controller's address may change.
const ControllerName = "controller.mctl.internal"

// ControllerURI is the identity of every controller's certificate.
func ControllerURI() *url.URL { return &url.URL{Scheme: scheme, Host: "controller"} }

// SubjectURI is the identity of a subject such as "machine:UID" or "user:NAME".
func SubjectURI(subject string) *url.URL {
	kind, name, _ := strings.Cut(subject, ":")
	return &url.URL{Scheme: scheme, Host: kind, Path: "/" + name}
}

// MachineSubject and UserSubject name the holders of control certificates.
func MachineSubject(uid string) string { return "machine:" + uid }

// UserSubject names a user.
func UserSubject(name string) string { return "user:" + name }

// SubjectOf returns the subject that a control certificate names, "controller" for a controller's own, or an error when it
// names none or several.
func SubjectOf(c *x509.Certificate) (string, error) {
	if len(c.URIs) != 1 || c.URIs[0].Scheme != scheme {
		return "", errors.New("certificate names no identity of ours")
	}
	uri := c.URIs[0]
	if uri.Host == "controller" {
		return uri.Host, nil
	}
	name := strings.TrimPrefix(uri.Path, "/")
	if (uri.Host != "machine" && uri.Host != "user") || name == "" {
		return "", fmt.Errorf("certificate names the unknown identity %q", uri)
	}
	return uri.Host + ":" + name, nil
}
