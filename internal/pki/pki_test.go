package pki

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestKeysAndCertificatesComeBackFromPEM(t *testing.T) {
	key, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	text, err := EncodeKey(key)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	ca, err := NewAuthority("test", key, now, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	both := append(EncodeCertificates(ca, ca), text...) // as front/server.pem has them
	again, err := DecodeKey(both)
	if err != nil || !key.PublicKey.Equal(again.Public()) {
		t.Errorf("key: %v", err)
	}
	if chain, err := DecodeCertificates(both); err != nil || len(chain) != 2 || !chain[0].Equal(ca) {
		t.Errorf("certificates: %v", err)
	}
	for _, bad := range []string{"", "garbage", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"} {
		if _, err := DecodeKey([]byte(bad)); err == nil {
			t.Errorf("a key was read from %q", bad)
		}
		if _, err := DecodeCertificates([]byte(bad)); err == nil {
			t.Errorf("a certificate was read from %q", bad)
		}
	}
}

func TestWhichKeysARequestMayBring(t *testing.T) {
	p224, _ := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	p384, _ := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	_, ed, _ := ed25519.GenerateKey(rand.Reader)
	rsa2048, _ := rsa.GenerateKey(rand.Reader, 2048)
	request := func(key any) []byte {
		der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	for name, c := range map[string]struct {
		der  []byte
		good bool
	}{
		"P-384": {request(p384), true}, "Ed25519": {request(ed), true}, "RSA 2048": {request(rsa2048), true},
		"P-224": {request(p224), false}, "nothing": {nil, false}, "too long": {make([]byte, maxRequest+1), false},
	} {
		if _, err := RequestKey(c.der); (err == nil) != c.good {
			t.Errorf("%s: %v", name, err)
		}
	}
	forged := request(p384)
	forged[len(forged)-1] ^= 1
	if _, err := RequestKey(forged); err == nil {
		t.Error("a request that its key did not sign was taken")
	}
}

func TestRenewalIsAtHalfLifeGiveOrTakeATenth(t *testing.T) {
	from := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	to := from.Add(100 * time.Hour)
	for random, want := range map[float64]time.Duration{0: 40 * time.Hour, 0.5: 50 * time.Hour, 0.999999: 60 * time.Hour} {
		if got := RenewAt(from, to, random).Sub(from); (got - want).Abs() > time.Minute {
			t.Errorf("random %v: after %s, want %s", random, got, want)
		}
	}
}

func TestNoCertificateOutlivesItsAuthority(t *testing.T) {
	key, _ := NewKey()
	now := time.Now()
	ca, err := NewAuthority("test", key, now, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	for life, want := range map[time.Duration]time.Time{time.Minute: now.Add(time.Minute), 2 * time.Hour: ca.NotAfter} {
		c, err := Sign(Leaf{CommonName: "x", NotBefore: now, NotAfter: now.Add(life)}, key.Public(), ca, key)
		if err != nil || c.NotAfter.Sub(want).Abs() > time.Second {
			t.Errorf("for %s: it ends %s, %v; want %s", life, c.NotAfter, err, want)
		}
	}
}

func TestSubjectsComeBackFromURIs(t *testing.T) {
	key, _ := NewKey()
	now := time.Now()
	ca, err := NewAuthority("test", key, now, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	for _, subject := range []string{"machine:0123abcd", "user:alice", "user:a@b.example", "controller"} {
		leaf := Leaf{CommonName: subject, URI: SubjectURI(subject), NotBefore: now, NotAfter: now.Add(time.Hour)}
		if subject == "controller" {
			leaf.URI = ControllerURI()
		}
		c, err := Sign(leaf, key.Public(), ca, key)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := SubjectOf(c); err != nil || got != subject {
			t.Errorf("%s comes back as %q, %v", subject, got, err)
		}
	}
	if got, err := SubjectOf(ca); err == nil {
		t.Errorf("an authority is taken for %q", got)
	}
}

func TestATicketComesBackFromItsTextAndHidesItsSecret(t *testing.T) {
	ticket, err := NewTicket([32]byte{1, 2, 3})
	if err != nil {
		t.Fatal(err)
	}
	again, err := ParseTicket(ticket.Text())
	if err != nil || again.ID != ticket.ID || again.Authority != ticket.Authority || string(again.Secret) != string(ticket.Secret) {
		t.Errorf("%v, %v", again, err)
	}
	secret := ticket.Text()[strings.LastIndex(ticket.Text(), ".")+1:]
	if printed := fmt.Sprintf("%v %+v %#v %s", ticket, ticket, ticket, ticket); strings.Contains(printed, secret) {
		t.Error("it prints its secret")
	}
	if _, err := ParseTicket(ticket.Text() + "x"); err == nil || strings.Contains(err.Error(), secret) {
		t.Errorf("a longer one: %v", err)
	}
}

func FuzzParseTicket(f *testing.F) {
	ticket, _ := NewTicket([32]byte{})
	f.Add(ticket.Text())
	f.Add("mj1...")
	f.Fuzz(func(t *testing.T, text string) {
		if ticket, err := ParseTicket(text); err == nil && ticket.Text() != text {
			t.Errorf("%q comes back as %q", text, ticket.Text())
		}
	})
}

func FuzzRequestKey(f *testing.F) {
	key, _ := NewKey()
	der, _ := NewRequest(key)
	f.Add(der)
	f.Fuzz(func(_ *testing.T, der []byte) {
		_, _ = RequestKey(der) // must not panic
	})
}
