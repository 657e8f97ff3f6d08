// Package credential keeps what the caller shows to engines and hosts: the docker CLI's key and certificates, and SSH keys.
// Private keys are made here and never travel.
package credential

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"time"

	"mctl/internal/fault"
	"mctl/internal/mctl/state"
	"mctl/internal/pki"
	controllerv1 "mctl/proto/mctl/controller/v1"
)

// Files of the docker CLI, in the folder of an authority and in each machine's.
const (
	caFile   = "ca.pem"
	certFile = "cert.pem"
	keyFile  = "key.pem"
)

// Material is a client's key and certificates, PEM; the key is PKCS #8.
type Material struct{ CA, Certificate, Key []byte }

// Bring keeps credentials of an authority that were issued elsewhere, unless there are others already.
func (d Docker) Bring(authority string, m Material) error {
	source := filepath.Join(d.Dir.Certs(), authority)
	if d.valid(source) {
		return nil
	}
	if err := os.MkdirAll(source, 0o700); err != nil {
		return state.Trouble(source, err)
	}
	return errors.Join(
		state.WriteFile(filepath.Join(source, keyFile), m.Key, 0o600),
		state.WriteFile(filepath.Join(source, caFile), m.CA, 0o644),
		state.WriteFile(filepath.Join(source, certFile), m.Certificate, 0o644),
	)
}

// Signer signs requests, as controllerv1.AccessServiceClient does.
type Signer func(ctx context.Context, machine string, csr []byte) (*controllerv1.IssueClientCertificateResponse, error)

// Docker keeps the docker CLI's credentials.
type Docker struct {
	Dir  state.Dir
	Sign Signer
	Now  func() time.Time
}

// Ensure sees to it that the machine's folder has what DOCKER_CERT_PATH shall point at: certificates of the machine's
// authority, less than half of their life old. It claims the folder where it is missing. Nothing is asked of anybody when
// all is well. force gets a new certificate in any case.
func (d Docker) Ensure(ctx context.Context, m *controllerv1.Machine, force bool) (state.Folder, error) {
	folder, err := d.Dir.Claim(m)
	if err != nil {
		return folder, err
	}
	authority := m.GetStatus().GetAuthority()
	if authority == "" || authority != filepath.Base(authority) || strings.HasPrefix(authority, ".") {
		return folder, fault.New("credential.Ensure", fault.Unavailable, m.GetName(), "the machine has no certificate authority yet").
			WithHint("`mctl wait " + m.GetName() + "` waits until it is made")
	}
	source := filepath.Join(d.Dir.Certs(), authority)
	if force || !d.fresh(source) {
		err := d.issue(ctx, m.GetName(), source)
		if err != nil && (fault.ReasonOf(err) != fault.ReasonNoKey || !d.valid(source)) {
			return folder, err
		}
	}
	for name, mode := range map[string]os.FileMode{caFile: 0o644, certFile: 0o644, keyFile: 0o600} {
		text, err := os.ReadFile(filepath.Join(source, name))
		if err != nil {
			return folder, state.Trouble(source, err)
		}
		if err := folder.Write(name, text, mode); err != nil {
			return folder, err
		}
	}
	return folder, nil
}

// fresh reports whether the credentials in a folder belong together and have more than half of their life before them.
func (d Docker) fresh(source string) bool {
	return d.good(source, func(c *x509.Certificate) time.Time { return pki.RenewAt(c.NotBefore, c.NotAfter, 0.5) })
}

// valid reports whether they belong together and have not ended: nobody issues others where an authority's key is lost.
func (d Docker) valid(source string) bool {
	return d.good(source, func(c *x509.Certificate) time.Time { return c.NotAfter })
}

// good reports whether the credentials in a folder belong together, and it is before the time that until says.
func (d Docker) good(source string, until func(*x509.Certificate) time.Time) bool {
	text, err := os.ReadFile(filepath.Join(source, certFile))
	if err != nil {
		return false
	}
	chain, err := pki.DecodeCertificates(text)
	if err != nil || !d.Now().Before(until(chain[0])) {
		return false
	}
	key, err := readKey(filepath.Join(source, keyFile))
	return err == nil && pki.Matches(key, chain[0])
}

// issue has the authority of a machine sign our key.
func (d Docker) issue(ctx context.Context, machine, source string) error {
	key, err := ensureKey(filepath.Join(source, keyFile))
	if err != nil {
		return err
	}
	csr, err := pki.NewRequest(key)
	if err != nil {
		return fault.E("credential.issue", fault.Internal, machine, err)
	}
	issued, err := d.Sign(ctx, machine, csr)
	if err != nil {
		return err
	}
	// The certificate last: it is what fresh looks at.
	return errors.Join(
		state.WriteFile(filepath.Join(source, caFile), issued.GetCa(), 0o644),
		state.WriteFile(filepath.Join(source, certFile), issued.GetCertificate(), 0o644),
	)
}

// ensureKey reads the key, or makes it; of many that make it at once one wins, and all return that one.
func ensureKey(path string) (crypto.Signer, error) {
	key, err := readKey(path)
	if !errors.Is(err, os.ErrNotExist) {
		return key, err
	}
	made, err := pki.NewKey()
	if err != nil {
		return nil, fault.E("credential.ensureKey", fault.Internal, path, err)
	}
	text, err := pki.EncodeKey(made)
	if err != nil {
		return nil, fault.E("credential.ensureKey", fault.Internal, path, err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, state.Trouble(path, err)
	}
	staged := path + "." + RandomID()
	if err := state.WriteFile(staged, text, 0o600); err != nil {
		return nil, err
	}
	defer os.Remove(staged)
	// A link, unlike a rename, does not replace what another process has put there meanwhile.
	if err := os.Link(staged, path); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, state.Trouble(path, err)
	}
	return readKey(path)
}

func readKey(path string) (crypto.Signer, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	if err != nil {
		return nil, state.Trouble(path, err)
	}
	key, err := pki.DecodeKey(text)
	if err != nil {
		return nil, fault.E("credential.readKey", fault.Precondition, path, errors.New("the key "+path+" can't be read")).
			WithHint("remove it, a new one is made")
	}
	return key, nil
}

// RandomID returns a name that nobody else has.
func RandomID() string {
	random := make([]byte, 16)
	// It is documented never to fail.
	_, _ = rand.Read(random)
	return hex.EncodeToString(random)
}
