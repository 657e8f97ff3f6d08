package identity

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"

	"mctl/internal/fault"
	"mctl/internal/pki"
	agentv1 "mctl/proto/mctl/agent/v1"
)

// issuer stands for a controller: it answers calls without a network.
type issuer struct {
	key     crypto.Signer
	root    *x509.Certificate
	subject string // what certificates name
	signFor crypto.PublicKey
	trusted [][]byte
	err     error
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	key, _ := pki.NewKey()
	root, err := pki.NewAuthority("control", key, time.Now(), time.Hour*24*3650)
	if err != nil {
		t.Fatal(err)
	}
	return &issuer{key: key, root: root, subject: "machine:u1", trusted: [][]byte{root.Raw}}
}

func (i *issuer) NewStream(context.Context, *grpc.StreamDesc, string, ...grpc.CallOption) (grpc.ClientStream, error) {
	panic("no streams here")
}

func (i *issuer) Invoke(_ context.Context, _ string, request, reply any, _ ...grpc.CallOption) error {
	if i.err != nil {
		return i.err
	}
	csr := request.(interface{ GetCsr() []byte }).GetCsr()
	public, err := pki.RequestKey(csr)
	if err != nil {
		return err
	}
	if i.signFor != nil {
		public = i.signFor
	}
	leaf, err := pki.Sign(pki.Leaf{
		CommonName: i.subject, URI: pki.SubjectURI(i.subject), Usage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(90 * 24 * time.Hour),
	}, public, i.root, i.key)
	if err != nil {
		return err
	}
	switch r := reply.(type) {
	case *agentv1.EnrollResponse:
		r.Certificates, r.Authorities = [][]byte{leaf.Raw}, i.trusted
	case *agentv1.RenewResponse:
		r.Certificates, r.Authorities = [][]byte{leaf.Raw}, i.trusted
	}
	return nil
}

func open(t *testing.T, dir string) *Holder {
	t.Helper()
	h, err := Open(Config{Dir: dir, Logger: hclog.NewNullLogger(), Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func (i *issuer) ticket(t *testing.T) pki.Ticket {
	t.Helper()
	ticket, err := pki.NewTicket(pki.SPKIDigest(i.root))
	if err != nil {
		t.Fatal(err)
	}
	return ticket
}

func TestAnIdentityOutlivesTheProcessAndItsFilesAreItsOwnersAlone(t *testing.T) {
	dir, i := t.TempDir(), newIssuer(t)
	ticket := i.ticket(t)
	h := open(t, dir)
	if !h.Wants("u1", ticket) {
		t.Error("a bare host does not want a ticket")
	}
	if err := h.Enroll(t.Context(), i, "u1", ticket); err != nil {
		t.Fatal(err)
	}
	again := open(t, dir)
	at, end := again.Renewal()
	if again.Subject() != "machine:u1" || again.Wants("u1", ticket) || !at.Before(end) {
		t.Errorf("read back %q, renewal %s, end %s", again.Subject(), at, end)
	}
	if first, _ := h.Renewal(); !first.Equal(at) {
		t.Error("the moment of renewal moved with the restart")
	}
	if !again.Wants("u2", ticket) || !again.Wants("u1", i.ticket(t)) {
		t.Error("another machine or another ticket is no news")
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 4 {
		t.Fatalf("%v, %v", entries, err)
	}
	for _, e := range entries {
		info, _ := e.Info()
		text, _ := os.ReadFile(filepath.Join(dir, e.Name()))
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %s", e.Name(), info.Mode())
		}
		if bytes.Contains(text, []byte(strings.Split(ticket.Text(), ".")[3])) {
			t.Errorf("%s holds the ticket's secret", e.Name())
		}
	}
}

func TestAnAnswerThatDoesNotFitIsRefusedAndChangesNothing(t *testing.T) {
	other, _ := pki.NewKey()
	for name, spoil := range map[string]func(i *issuer){
		"another machine":    func(i *issuer) { i.subject = "machine:u2" },
		"a user":             func(i *issuer) { i.subject = "user:eve" },
		"another key":        func(i *issuer) { i.signFor = other.Public() },
		"another authority":  func(i *issuer) { i.trusted = [][]byte{newIssuer(t).root.Raw} },
		"no authority":       func(i *issuer) { i.trusted = nil },
		"nothing but errors": func(i *issuer) { i.err = fault.New("t", fault.Unavailable, "", "down") },
	} {
		t.Run(name, func(t *testing.T) {
			i := newIssuer(t)
			h := open(t, t.TempDir())
			ticket := i.ticket(t)
			spoil(i)
			if err := h.Enroll(t.Context(), i, "u1", ticket); err == nil {
				t.Error("taken")
			}
			if h.Subject() != "" || !h.Wants("u1", ticket) {
				t.Error("it left something behind")
			}
		})
	}
}

func TestTheTicketsAuthorityMustBeAmongThoseToTrust(t *testing.T) {
	i, stranger := newIssuer(t), newIssuer(t)
	h := open(t, t.TempDir())
	if err := h.Enroll(t.Context(), i, "u1", stranger.ticket(t)); !fault.Is(err, fault.Denied) {
		t.Errorf("got %v", err)
	}
}

func TestRenewingKeepsTheKeyAndTakesNewAuthorities(t *testing.T) {
	dir, i := t.TempDir(), newIssuer(t)
	h := open(t, dir)
	if err := h.Enroll(t.Context(), i, "u1", i.ticket(t)); err != nil {
		t.Fatal(err)
	}
	before, _ := os.ReadFile(filepath.Join(dir, keyFile))
	next := newIssuer(t)
	i.trusted = append(i.trusted, next.root.Raw)
	if err := h.Renew(t.Context(), i); err != nil {
		t.Fatal(err)
	}
	after, _ := os.ReadFile(filepath.Join(dir, keyFile))
	if !bytes.Equal(before, after) {
		t.Error("the key changed")
	}
	text, _ := os.ReadFile(filepath.Join(dir, authoritiesFile))
	if trusted, err := pki.DecodeCertificates(text); err != nil || len(trusted) != 2 {
		t.Errorf("%d authorities, %v", len(trusted), err)
	}
	i.subject = "machine:u2"
	if err := h.Renew(t.Context(), i); !fault.Is(err, fault.Denied) {
		t.Errorf("renewed to another machine: %v", err)
	}
}

func TestDamagedFilesWaitForATicketInsteadOfStoppingTheAgent(t *testing.T) {
	for _, file := range []string{keyFile, certificateFile, authoritiesFile} {
		t.Run(file, func(t *testing.T) {
			dir, i := t.TempDir(), newIssuer(t)
			if err := open(t, dir).Enroll(t.Context(), i, "u1", i.ticket(t)); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, file), []byte("damaged"), 0o600); err != nil {
				t.Fatal(err)
			}
			h := open(t, dir)
			if _, enrolled := h.TLS(); enrolled {
				t.Error("half an identity is shown")
			}
			if err := h.Enroll(t.Context(), i, "u1", i.ticket(t)); err != nil || h.Subject() != "machine:u1" {
				t.Errorf("a new ticket does not heal it: %v", err)
			}
		})
	}
}
