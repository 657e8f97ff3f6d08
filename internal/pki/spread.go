package pki

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
)

// Spread returns a number in [0, 1) that is fixed for a certificate and random among them.
func Spread(c *x509.Certificate) float64 {
	sum := sha256.Sum256(c.SerialNumber.Bytes())
	return float64(binary.BigEndian.Uint64(sum[:8])>>11) / (1 << 53)
}
