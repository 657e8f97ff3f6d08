package agent

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/google/renameio/v2"

	"mctl/internal/agent/front"
	"mctl/internal/agent/link"
	"mctl/internal/fault"
	"mctl/internal/host"
	"mctl/internal/pki"
)

// record is what was applied last, so that an agent that starts anew does nothing twice: above all, it does not start an
// engine that somebody stopped.
type record struct {
	Applied  host.Applied
	Engine   string // digest of the engine's part
	SANs     []string
	Rotation uint64
	Given    bool // the certificate came with its key, so that there is no other
}

// readRecord returns nothing for a file that is missing or damaged: then all is done once more, which is safe.
func readRecord(path string) record {
	var r record
	text, err := os.ReadFile(path)
	if err != nil || json.Unmarshal(text, &r) != nil {
		return record{}
	}
	return r
}

func (r record) write(path string) error {
	text, err := json.Marshal(r)
	if err == nil {
		err = renameio.WriteFile(path, text, 0o600, renameio.WithTempDir(filepath.Dir(path)))
	}
	if err != nil {
		return fault.E("agent.record", fault.Precondition, path, fmt.Errorf("can't write %s: %w", path, err))
	}
	return nil
}

// serve sees to it that the front has a certificate for the names that are wished, young enough, and lets the right
// clients in. The key is made here and goes nowhere else.
func (c *converger) serve(ctx context.Context, wish *link.Wish) error {
	present, err := front.ReadMaterial(c.config.FrontDir)
	if err == nil && !c.stale(present, wish) {
		c.record.Applied.Front.Port = wish.Front.Port
		return nil
	}
	if len(wish.Front.Certificate) > 0 {
		return c.serveGiven(wish)
	}
	key, err := pki.NewKey()
	if err != nil {
		return fault.E("agent.serve", fault.Internal, "", err)
	}
	keyText, err := pki.EncodeKey(key)
	if err != nil {
		return fault.E("agent.serve", fault.Internal, "", err)
	}
	request, err := pki.NewRequest(key)
	if err != nil {
		return fault.E("agent.serve", fault.Internal, "", err)
	}
	ders, err := c.config.Controller.IssueEngineCertificate(ctx, request, wish.Digest)
	if err != nil {
		return err
	}
	chain, err := pki.ParseChain(ders)
	if err != nil {
		return fault.E("agent.serve", fault.Internal, "", err)
	}
	return c.serveWith(wish, keyText, chain)
}

// serveGiven serves with the certificate that is wished, which comes with its key: nobody can issue another that clients trust.
func (c *converger) serveGiven(wish *link.Wish) error {
	chain, err := pki.DecodeCertificates(wish.Front.Certificate)
	if err != nil {
		return fault.E("agent.serveGiven", fault.Invalid, "", err)
	}
	return c.serveWith(wish, wish.Front.Key, chain)
}

// serveWith hands the front its certificate (leaf first) and key (PEM), and keeps note of them.
func (c *converger) serveWith(wish *link.Wish, key []byte, chain []*x509.Certificate) error {
	if err := front.WriteMaterial(c.config.FrontDir, key, pki.EncodeCertificates(chain...), wish.Front.ClientCA); err != nil {
		return err
	}
	c.record.SANs, c.record.Rotation, c.record.Given = slices.Clone(wish.Front.SANs), wish.Front.Rotation, len(wish.Front.Certificate) > 0
	c.record.Applied.Front = host.FrontFacts{
		Port: wish.Front.Port, CertificateExpiry: chain[0].NotAfter.UTC(), CertificateSerial: pki.Serial(chain[0]),
	}
	c.config.Logger.Info("the engine has a new certificate", "until", chain[0].NotAfter)
	return c.record.write(c.config.RecordFile)
}

// stale reports whether what the front serves with is not what is wished, or past half of its life.
func (c *converger) stale(m front.Material, wish *link.Wish) bool {
	if given := wish.Front.Certificate; len(given) > 0 {
		chain, err := pki.DecodeCertificates(given)
		return err != nil || !chain[0].Equal(m.Leaf) || !bytes.Equal(m.ClientCA, wish.Front.ClientCA) ||
			pki.Serial(m.Leaf) != c.record.Applied.Front.CertificateSerial
	}
	return pki.Serial(m.Leaf) != c.record.Applied.Front.CertificateSerial || !bytes.Equal(m.ClientCA, wish.Front.ClientCA) ||
		c.record.Rotation != wish.Front.Rotation || !slices.Equal(c.record.SANs, wish.Front.SANs) ||
		!c.config.Now().Before(renewAt(m))
}

// endsWithAuthority reports whether another certificate would end no later.
func endsWithAuthority(m front.Material) bool {
	return len(m.Chain) > 1 && !m.Leaf.NotAfter.Before(m.Chain[1].NotAfter)
}

// renewAt is when a certificate is replaced: at its end where a new one would end no later.
func renewAt(m front.Material) time.Time {
	if endsWithAuthority(m) {
		return m.Leaf.NotAfter
	}
	return pki.RenewAt(m.Leaf.NotBefore, m.Leaf.NotAfter, pki.Spread(m.Leaf))
}

// untilRenewal is how long the front's certificate may stay.
func (c *converger) untilRenewal() time.Duration {
	m, err := front.ReadMaterial(c.config.FrontDir)
	if err != nil {
		return lookAgain
	}
	left := renewAt(m).Sub(c.config.Now())
	if c.record.Given || left <= 0 && endsWithAuthority(m) {
		return lookAgain
	}
	return left
}
