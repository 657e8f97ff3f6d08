package ca

import (
	"bytes"
	"crypto/x509"
	"testing"
	"time"

	"mctl/internal/fault"
	"mctl/internal/pki"
)

// foreign is an authority that was made elsewhere, PEM.
func foreign(t *testing.T, now time.Time, life time.Duration) (certificate, key []byte) {
	t.Helper()
	signer, err := pki.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	made, err := pki.NewAuthority("elsewhere", signer, now, life)
	if err != nil {
		t.Fatal(err)
	}
	if key, err = pki.EncodeKey(signer); err != nil {
		t.Fatal(err)
	}
	return pki.EncodeCertificates(made), key
}

func TestAnAuthorityThatIsBroughtAlongIssuesUnderOneNameForAll(t *testing.T) {
	f := newFixture(t)
	certificate, key := foreign(t, *f.now, 90*24*time.Hour)
	first, err := f.ImportEngine(t.Context(), certificate, key)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []*CA{f.CA, f.open()} { // also after a new start, and where the key does not come along once more
		again, err := c.ImportEngine(t.Context(), certificate, nil)
		if err != nil || again != first {
			t.Errorf("%s, %v, want %s", again, err, first)
		}
		_, csr := newRequest(t)
		client, authorities, end, err := c.SignEngineClient(t.Context(), first, "user:local", csr)
		if err != nil || !bytes.Equal(authorities, certificate) {
			t.Fatalf("%v", err)
		}
		chain, err := pki.DecodeCertificates(client)
		ca, caErr := pki.DecodeCertificates(certificate)
		if err != nil || caErr != nil || chain[0].CheckSignatureFrom(ca[0]) != nil || end.After(ca[0].NotAfter) {
			t.Errorf("the certificate is not the authority's, or outlives it: %v %v %v", err, caErr, end)
		}
		if text, err := c.EngineKey(t.Context(), first); err != nil || !bytes.Equal(text, key) {
			t.Errorf("its key: %v", err)
		}
		if issues, err := c.Issues(t.Context(), first, 30*24*time.Hour); err != nil || !issues {
			t.Errorf("60 days before its end: %v, %v", issues, err)
		}
		if issues, _ := c.Issues(t.Context(), first, 91*24*time.Hour); issues {
			t.Error("it is said to issue beyond its end")
		}
	}
}

func TestAnAuthorityWithoutItsKeySignsNothingUntilSomebodyBringsIt(t *testing.T) {
	f := newFixture(t)
	certificate, key := foreign(t, *f.now, time.Hour)
	name, err := f.ImportEngine(t.Context(), certificate, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, csr := newRequest(t)
	_, err = f.SignEngineServer(t.Context(), name, "web", nil, csr)
	if !fault.Is(err, fault.Precondition) || fault.ReasonOf(err) != fault.ReasonNoKey || fault.HintOf(err) == "" {
		t.Errorf("%v", err)
	}
	if text, err := f.EngineCA(t.Context(), name); err != nil || !bytes.Equal(text, certificate) {
		t.Errorf("its certificate: %v", err)
	}
	if issues, err := f.Issues(t.Context(), name, 0); err != nil || issues {
		t.Errorf("it is said to issue: %v", err)
	}
	if err := f.CheckEngine(certificate, key); err != nil {
		t.Errorf("its key, asked beforehand: %v", err)
	}
	if issues, err := f.Issues(t.Context(), name, 0); err != nil || issues {
		t.Errorf("to ask was to bring it: %v", err)
	}
	if again, err := f.ImportEngine(t.Context(), certificate, key); err != nil || again != name {
		t.Fatal(again, err)
	}
	if _, err := f.SignEngineServer(t.Context(), name, "web", nil, csr); err != nil {
		t.Errorf("with its key: %v", err)
	}
}

func TestWhatIsNoAuthorityIsNotTakenUp(t *testing.T) {
	f := newFixture(t)
	certificate, _ := foreign(t, *f.now, time.Hour)
	_, other := foreign(t, *f.now, time.Hour)
	_, csr := newRequest(t)
	chain, err := f.SignEngineServer(t.Context(), DefaultEngine, "web", nil, csr)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string][2][]byte{
		"nothing": {nil, nil}, "garbage": {[]byte("x"), nil}, "a leaf": {pki.EncodeCertificates(parse(t, chain[0])), nil},
		"another's key": {certificate, other}, "no key": {certificate, []byte("x")},
	} {
		if _, err := f.ImportEngine(t.Context(), c[0], c[1]); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
		if err := f.CheckEngine(c[0], c[1]); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s, asked beforehand: %v", name, err)
		}
	}
}

func TestAnEngineThatIsLeftToDockerMachineIsServedForAsLongAsItsOwn(t *testing.T) {
	f := newFixture(t)
	_, csr := newRequest(t)
	text, err := f.SignEngineHandOver(t.Context(), DefaultEngine, "web", []string{"web", "192.0.2.1"}, csr)
	if err != nil {
		t.Fatal(err)
	}
	chain, err := pki.DecodeCertificates(text)
	if err != nil || len(chain) != 1 {
		t.Fatalf("%d certificates, %v", len(chain), err)
	}
	if life := chain[0].NotAfter.Sub(*f.now); life != 1080*24*time.Hour || chain[0].VerifyHostname("192.0.2.1") != nil || chain[0].ExtKeyUsage[0] != x509.ExtKeyUsageServerAuth {
		t.Errorf("it lasts %s, for %v", life, chain[0].IPAddresses)
	}
}
