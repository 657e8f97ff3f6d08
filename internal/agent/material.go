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
	if err := front.WriteMaterial(c.config.FrontDir, keyText, pki.EncodeCertificates(chain...), wish.Front.ClientCA); err != nil {
		return err
	}
	c.record.SANs, c.record.Rotation = slices.Clone(wish.Front.SANs), wish.Front.Rotation
	c.record.Applied.Front = host.FrontFacts{
		Port: wish.Front.Port, CertificateExpiry: chain[0].NotAfter.UTC(), CertificateSerial: pki.Serial(chain[0]),
	}
	c.config.Logger.Info("the engine has a new certificate", "until", chain[0].NotAfter)
	return c.record.write(c.config.RecordFile)
}

// stale reports whether what the front serves with is not what is wished, or past half of its life.
func (c *converger) stale(m front.Material, wish *link.Wish) bool {
	return pki.Serial(m.Leaf) != c.record.Applied.Front.CertificateSerial || !bytes.Equal(m.ClientCA, wish.Front.ClientCA) ||
		c.record.Rotation != wish.Front.Rotation || !slices.Equal(c.record.SANs, wish.Front.SANs) ||
		!c.config.Now().Before(renewAt(m.Leaf))
}

func renewAt(leaf *x509.Certificate) time.Time {
	return pki.RenewAt(leaf.NotBefore, leaf.NotAfter, pki.Spread(leaf))
}

// untilRenewal is how long the front's certificate may stay.
func (c *converger) untilRenewal() time.Duration {
	m, err := front.ReadMaterial(c.config.FrontDir)
	if err != nil {
		return lookAgain
	}
	return renewAt(m.Leaf).Sub(c.config.Now())
}
