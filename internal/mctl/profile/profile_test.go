package profile_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	"mctl/internal/fault"
	"mctl/internal/mctl/profile"
	"mctl/internal/mctl/state"
	"mctl/internal/pki"
	agentv1 "mctl/proto/mctl/agent/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// office is a pretended controller's enrollment.
type office struct {
	agentv1.UnimplementedEnrollmentServiceServer
	t         *testing.T
	key       *ecdsa.PrivateKey
	authority *x509.Certificate
	ticket    pki.Ticket

	mu       sync.Mutex
	enrolled int
	renewed  int
	life     time.Duration
	refuse   bool
}

// newOffice serves on a port of this computer until the test ends, and returns where.
func newOffice(t *testing.T) (*office, string) {
	t.Helper()
	o := &office{t: t, life: time.Hour}
	var err error
	if o.key, err = pki.NewKey(); err != nil {
		t.Fatal(err)
	}
	if o.authority, err = pki.NewAuthority("control", o.key, time.Now(), 24*time.Hour); err != nil {
		t.Fatal(err)
	}
	if o.ticket, err = pki.NewTicket(pki.SPKIDigest(o.authority)); err != nil {
		t.Fatal(err)
	}
	own, err := pki.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	certificate := o.sign(own.Public(), pki.ControllerURI(), x509.ExtKeyUsageServerAuth)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(grpc.Creds(credentials.NewTLS(&tls.Config{
		MinVersion: tls.VersionTLS13, ClientAuth: tls.RequestClientCert,
		Certificates: []tls.Certificate{{Certificate: [][]byte{certificate.Raw, o.authority.Raw}, PrivateKey: own}},
	})))
	agentv1.RegisterEnrollmentServiceServer(server, o)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	return o, listener.Addr().String()
}

func (o *office) sign(key any, uri *url.URL, usage x509.ExtKeyUsage) *x509.Certificate {
	now := time.Now()
	made, err := pki.Sign(pki.Leaf{URI: uri, Usage: []x509.ExtKeyUsage{usage}, NotBefore: now.Add(-time.Minute), NotAfter: now.Add(o.life)}, key, o.authority, o.key)
	if err != nil {
		o.t.Error(err)
	}
	return made
}

func (o *office) Enroll(_ context.Context, r *agentv1.EnrollRequest) (*agentv1.EnrollResponse, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if r.GetTicket() != o.ticket.Text() || o.refuse {
		return nil, status.Error(codes.PermissionDenied, "the ticket is used up")
	}
	o.enrolled++
	key, err := pki.RequestKey(r.GetCsr())
	if err != nil {
		return nil, err
	}
	made := o.sign(key, pki.SubjectURI(pki.UserSubject("ann")), x509.ExtKeyUsageClientAuth)
	return &agentv1.EnrollResponse{Certificates: [][]byte{made.Raw}, Authorities: [][]byte{o.authority.Raw}}, nil
}

func (o *office) Renew(_ context.Context, r *agentv1.RenewRequest) (*agentv1.RenewResponse, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.refuse {
		return nil, status.Error(codes.PermissionDenied, "revoked")
	}
	o.renewed++
	key, err := pki.RequestKey(r.GetCsr())
	if err != nil {
		return nil, err
	}
	made := o.sign(key, pki.SubjectURI(pki.UserSubject("ann")), x509.ExtKeyUsageClientAuth)
	return &agentv1.RenewResponse{Certificates: [][]byte{made.Raw}, Authorities: [][]byte{o.authority.Raw}}, nil
}

func newStore(t *testing.T) profile.Store {
	t.Helper()
	return profile.Store{Dir: state.Dir{Root: t.TempDir()}}
}

func TestInvitationBecomesAProfileWithAKeyOfItsOwn(t *testing.T) {
	o, endpoint := newOffice(t)
	s := newStore(t)
	p := profile.Profile{Name: "team", Endpoint: endpoint}
	if err := s.Enroll(t.Context(), p, o.ticket.Text(), time.Now); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Get("team"); err != nil || got != p {
		t.Errorf("%+v, %v", got, err)
	}
	for name, mode := range map[string]os.FileMode{"client-key.pem": 0o600, "client.pem": 0o644, "authorities.pem": 0o644} {
		if info, err := os.Stat(filepath.Join(s.Files("team"), name)); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	if config, err := s.ClientConfig(p, time.Now); err != nil || config.MinVersion != tls.VersionTLS13 {
		t.Errorf("%v", err)
	}
	if err := s.Renew(t.Context(), p, time.Now); err != nil || o.renewed > 0 {
		t.Errorf("a fresh certificate was renewed: %d, %v", o.renewed, err)
	}
}

func TestOnlyTheControllerOfTheTicketIsBelieved(t *testing.T) {
	o, _ := newOffice(t)
	_, elsewhere := newOffice(t)
	s := newStore(t)
	if err := s.Enroll(t.Context(), profile.Profile{Name: "team", Endpoint: elsewhere}, o.ticket.Text(), time.Now); err == nil {
		t.Error("another controller was believed")
	}
	if _, err := s.Get("team"); !fault.Is(err, fault.NotFound) {
		t.Errorf("it is noted all the same: %v", err)
	}
}

func TestWhatIsNoInvitationIsRefused(t *testing.T) {
	o, endpoint := newOffice(t)
	s := newStore(t)
	for name, c := range map[string]struct {
		p      profile.Profile
		ticket string
		reason string
	}{
		"no ticket":   {profile.Profile{Name: "team", Endpoint: endpoint}, "x", fault.ReasonUsage},
		"no endpoint": {profile.Profile{Name: "team", Endpoint: "x"}, o.ticket.Text(), fault.ReasonUsage},
		"a bad name":  {profile.Profile{Name: "../team", Endpoint: endpoint}, o.ticket.Text(), fault.ReasonUsage},
		"a taken one": {profile.Profile{Name: "current", Endpoint: endpoint}, o.ticket.Text(), fault.ReasonUsage},
	} {
		if err := s.Enroll(t.Context(), c.p, c.ticket, time.Now); fault.ReasonOf(err) != c.reason || fault.HintOf(err) == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
	o.refuse = true
	err := s.Enroll(t.Context(), profile.Profile{Name: "team", Endpoint: endpoint}, o.ticket.Text(), time.Now)
	if err == nil || fault.HintOf(err) == "" {
		t.Errorf("used up: %v", err)
	}
	if all, err := s.List(); err != nil || len(all) > 0 {
		t.Errorf("%v, %v", all, err)
	}
}

func TestCertificateIsRenewedAtHalfItsLife(t *testing.T) {
	o, endpoint := newOffice(t)
	s := newStore(t)
	p := profile.Profile{Name: "team", Endpoint: endpoint}
	if err := s.Enroll(t.Context(), p, o.ticket.Text(), time.Now); err != nil {
		t.Fatal(err)
	}
	later := func() time.Time { return time.Now().Add(40 * time.Minute) }
	before, _ := os.ReadFile(filepath.Join(s.Files("team"), "client.pem"))
	if err := s.Renew(t.Context(), p, later); err != nil || o.renewed != 1 {
		t.Fatalf("%d, %v", o.renewed, err)
	}
	if after, _ := os.ReadFile(filepath.Join(s.Files("team"), "client.pem")); slices.Equal(before, after) {
		t.Error("the certificate is the same")
	}
	o.refuse = true
	if err := s.Renew(t.Context(), p, later); err != nil {
		t.Errorf("it is valid still, so the next command may try: %v", err)
	}
	if err := s.Renew(t.Context(), p, func() time.Time { return time.Now().Add(2 * time.Hour) }); err == nil {
		t.Error("it has run out, and that is not told")
	}
	if err := os.Remove(filepath.Join(s.Files("team"), "client.pem")); err != nil {
		t.Fatal(err)
	}
	if err := s.Renew(t.Context(), p, time.Now); !fault.Is(err, fault.Precondition) || fault.HintOf(err) == "" {
		t.Errorf("%v", err)
	}
}

func TestProfilesAreNotedChosenAndForgotten(t *testing.T) {
	s := newStore(t)
	if s.Current() != profile.Local {
		t.Errorf("current %q", s.Current())
	}
	if err := s.Use(profile.Local); err != nil {
		t.Error(err)
	}
	for _, name := range []string{"b", "a.b-c_1"} {
		if err := s.Save(profile.Profile{Name: name, Endpoint: "x:1"}); err != nil {
			t.Fatal(err)
		}
	}
	all, err := s.List()
	if err != nil || len(all) != 2 || all[0].Name != "a.b-c_1" {
		t.Errorf("%v, %v", all, err)
	}
	if err := s.Use("b"); err != nil || s.Current() != "b" {
		t.Errorf("%q, %v", s.Current(), err)
	}
	if err := s.Use("nosuch"); !fault.Is(err, fault.NotFound) {
		t.Errorf("%v", err)
	}
	if err := s.Remove("b"); err != nil || s.Current() != profile.Local {
		t.Errorf("%q, %v", s.Current(), err)
	}
	victim := filepath.Join(s.Dir.Root, "machines")
	if err := os.MkdirAll(victim, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(victim+".json", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"nosuch", "../../machines"} {
		if err := s.Remove(name); !fault.Is(err, fault.NotFound) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := os.Stat(victim); err != nil {
		t.Errorf("a directory elsewhere was removed: %v", err)
	}
	if err := os.WriteFile(filepath.Join(s.Dir.Contexts(), "broken.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := s.List(); !fault.Is(err, fault.Precondition) || fault.HintOf(err) == "" {
		t.Errorf("%v", err)
	}
}
