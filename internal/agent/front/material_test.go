package front

import (
	"crypto"
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/hashicorp/go-hclog"

	"mctl/internal/fault"
	"mctl/internal/pki"
)

func nullLogger() hclog.Logger { return hclog.NewNullLogger() }

func TestMaterialComesBackAsItWasWritten(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "front")
	if _, err := ReadMaterial(dir); !fault.Is(err, fault.NotFound) {
		t.Errorf("an empty folder gives %v", err)
	}
	ca := newAuthority(t)
	pair := ca.issue(x509.ExtKeyUsageServerAuth, nil)
	key, err := pki.EncodeKey(pair.PrivateKey.(crypto.Signer))
	must(t, err)
	must(t, WriteMaterial(dir, key, slices.Concat(pki.EncodeCertificates(pair.Leaf), ca.pem()), ca.pem()))
	m, err := ReadMaterial(dir)
	must(t, err)
	if !m.Leaf.Equal(pair.Leaf) || len(m.Chain) != 2 || string(m.ClientCA) != string(ca.pem()) || m.Key == nil {
		t.Errorf("got %+v", m)
	}
	if info, err := os.Stat(filepath.Join(dir, serverFile)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key's file: %v, %v", info.Mode(), err)
	}
	before, err := versionOf(filepath.Join(dir, serverFile))
	must(t, err)
	must(t, WriteMaterial(dir, key, slices.Concat(pki.EncodeCertificates(pair.Leaf), ca.pem()), ca.pem()))
	if after, err := versionOf(filepath.Join(dir, serverFile)); err != nil || after != before {
		t.Error("the same again is written again")
	}
}

func TestWhatCannotBeServedIsNotWritten(t *testing.T) {
	ca := newAuthority(t)
	pair, other := ca.issue(x509.ExtKeyUsageServerAuth, nil), ca.issue(x509.ExtKeyUsageServerAuth, nil)
	key, err := pki.EncodeKey(pair.PrivateKey.(crypto.Signer))
	must(t, err)
	leaf := pki.EncodeCertificates(pair.Leaf)
	for name, c := range map[string][3][]byte{
		"key of another":   {key, pki.EncodeCertificates(other.Leaf), ca.pem()},
		"no key":           {nil, leaf, ca.pem()},
		"no certificate":   {key, nil, ca.pem()},
		"no authority":     {key, leaf, nil},
		"rubbish for a CA": {key, leaf, []byte("rubbish")},
	} {
		dir := filepath.Join(t.TempDir(), "front")
		if err := WriteMaterial(dir, c[0], c[1], c[2]); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: something was written", name)
		}
	}
}

// recorded notes what it was told, and whether each file was there then.
type recorded struct{ told []string }

func (r *recorded) File(path string) error    { return r.note("before", path) }
func (r *recorded) Written(path string) error { return r.note("after", path) }
func (r *recorded) note(when, path string) error {
	_, err := os.Stat(path)
	there := map[bool]string{true: " there", false: " absent"}[err == nil]
	if _, err := os.Stat(filepath.Dir(path)); err != nil {
		there += " with its folder"
	}
	r.told = append(r.told, when+" "+filepath.Base(path)+there)
	return nil
}

func TestExportTellsTheFootprintBeforeAndAfter(t *testing.T) {
	dir, target := filepath.Join(t.TempDir(), "front"), filepath.Join(t.TempDir(), "docker")
	ca := newAuthority(t)
	pair := ca.issue(x509.ExtKeyUsageServerAuth, nil)
	key, err := pki.EncodeKey(pair.PrivateKey.(crypto.Signer))
	must(t, err)
	must(t, WriteMaterial(dir, key, pki.EncodeCertificates(pair.Leaf), ca.pem()))
	journal := &recorded{}
	must(t, Export(dir, target, journal))
	want := []string{
		"before ca.pem absent with its folder", "after ca.pem there", "before server-key.pem absent", "after server-key.pem there",
		"before server.pem absent", "after server.pem there",
	}
	if !slices.Equal(journal.told, want) {
		t.Errorf("told %q", journal.told)
	}
	for file, mode := range map[string]os.FileMode{"ca.pem": 0o644, "server.pem": 0o644, "server-key.pem": 0o600} {
		if info, err := os.Stat(filepath.Join(target, file)); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v", file, info, err)
		}
	}
	must(t, Export(dir, target, journal))
	if len(journal.told) != len(want) {
		t.Error("the same again is written again")
	}
}
