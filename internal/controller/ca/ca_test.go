package ca

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"net"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"

	"mctl/internal/controller/store/bolt"
	"mctl/internal/controller/store/seal"
	"mctl/internal/fault"
	"mctl/internal/pki"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type fixture struct {
	*CA
	t    *testing.T
	now  *time.Time
	open func() *CA
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	store, err := bolt.Open(t.Context(), bolt.Config{Path: filepath.Join(t.TempDir(), "store.db"), Logger: hclog.NewNullLogger()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	sealer, err := seal.Open(filepath.Join(t.TempDir(), "seal.key"), "")
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	f := &fixture{t: t, now: &now}
	f.open = func() *CA {
		c, err := Open(t.Context(), Config{Store: store, Sealer: sealer, Now: func() time.Time { return *f.now }, Lifetimes: DefaultLifetimes()})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	f.CA = f.open()
	return f
}

func newRequest(t *testing.T) (*ecdsa.PrivateKey, []byte) {
	t.Helper()
	key, err := pki.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	csr, err := pki.NewRequest(key)
	if err != nil {
		t.Fatal(err)
	}
	return key, csr
}

func (f *fixture) ticket(subject string) string {
	f.t.Helper()
	ticket, err := f.IssueTicket(f.t.Context(), subject, 0)
	if err != nil {
		f.t.Fatal(err)
	}
	return ticket.Text()
}

// enrolled returns a subject's certificate.
func (f *fixture) enrolled(subject string) (*x509.Certificate, []byte) {
	f.t.Helper()
	_, csr := newRequest(f.t)
	chain, _, err := f.Enroll(f.t.Context(), f.ticket(subject), csr)
	if err != nil {
		f.t.Fatal(err)
	}
	return parse(f.t, chain[0]), csr
}

func parse(t *testing.T, der []byte) *x509.Certificate {
	t.Helper()
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestAuthoritiesSurviveAReopening(t *testing.T) {
	f := newFixture(t)
	leaf, _ := f.enrolled("machine:1")
	again := f.open()
	if subject, _, err := again.VerifyPeer(t.Context(), []*x509.Certificate{leaf}); err != nil || subject != "machine:1" {
		t.Errorf("got %q, %v", subject, err)
	}
	if string(again.control.current.Raw) != string(f.control.current.Raw) {
		t.Error("a second control authority was made")
	}
}

func TestATicketWorksOnceAndAgainForTheSameKey(t *testing.T) {
	f := newFixture(t)
	ticket := f.ticket("machine:1")
	_, csr := newRequest(t)
	for range 2 {
		if _, _, err := f.Enroll(t.Context(), ticket, csr); err != nil {
			t.Fatalf("the same key: %v", err)
		}
	}
	_, other := newRequest(t)
	if _, _, err := f.Enroll(t.Context(), ticket, other); !fault.Is(err, fault.Unauthenticated) {
		t.Errorf("another key: %v", err)
	}
	newer := f.ticket("machine:1")
	if _, _, err := f.Enroll(t.Context(), ticket, csr); !fault.Is(err, fault.Unauthenticated) {
		t.Errorf("a ticket that was replaced: %v", err)
	}
	*f.now = f.now.Add(16 * time.Minute)
	if _, _, err := f.Enroll(t.Context(), newer, csr); !fault.Is(err, fault.Unauthenticated) {
		t.Errorf("an expired ticket: %v", err)
	}
}

func TestAHundredKeysRaceForOneTicket(t *testing.T) {
	f := newFixture(t)
	ticket := f.ticket("machine:1")
	var all sync.WaitGroup
	results := make(chan error, 100)
	for range 100 {
		_, csr := newRequest(t)
		all.Go(func() {
			_, _, err := f.Enroll(t.Context(), ticket, csr)
			results <- err
		})
	}
	all.Wait()
	close(results)
	won := 0
	for err := range results {
		if err == nil {
			won++
		} else if !fault.Is(err, fault.Unauthenticated) {
			t.Error(err)
		}
	}
	if won != 1 {
		t.Errorf("%d of 100 won, want 1", won)
	}
}

func TestFiveWrongSecretsBurnATicket(t *testing.T) {
	f := newFixture(t)
	right := f.ticket("machine:1")
	parts := strings.Split(right, ".")
	parts[3] = strings.Repeat("A", len(parts[3]))
	_, csr := newRequest(t)
	sentences := map[string]bool{}
	for range maxWrongTries {
		_, _, err := f.Enroll(t.Context(), strings.Join(parts, "."), csr)
		if !fault.Is(err, fault.Unauthenticated) {
			t.Fatal(err)
		}
		sentences[err.Error()] = true
	}
	if _, _, err := f.Enroll(t.Context(), right, csr); !fault.Is(err, fault.Unauthenticated) {
		t.Errorf("the right secret after five wrong ones: %v", err)
	}
	_, _, err := f.Enroll(t.Context(), "mj1.x.y.z", csr)
	sentences[err.Error()] = true
	if len(sentences) != 1 {
		t.Errorf("a guesser learns from the answers: %v", sentences)
	}
}

func TestARequestChoosesNothingButItsKey(t *testing.T) {
	f := newFixture(t)
	key, _ := newRequest(t)
	greedy, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject:  pkix.Name{CommonName: "admin", Organization: []string{"system:masters"}},
		DNSNames: []string{"*"}, IPAddresses: []net.IP{net.IPv4(1, 2, 3, 4)}, URIs: []*url.URL{pki.ControllerURI()},
		ExtraExtensions: []pkix.Extension{{Id: []int{2, 5, 29, 19}, Critical: true, Value: []byte{0x30, 3, 1, 1, 0xff}}}, // CA:TRUE
	}, key)
	if err != nil {
		t.Fatal(err)
	}
	chain, _, err := f.Enroll(t.Context(), f.ticket("machine:1"), greedy)
	if err != nil {
		t.Fatal(err)
	}
	leaf := parse(t, chain[0])
	if subject, _ := pki.SubjectOf(leaf); subject != "machine:1" || leaf.IsCA || len(leaf.DNSNames)+len(leaf.IPAddresses) != 0 || leaf.Subject.CommonName != "machine:1" {
		t.Errorf("the certificate says %+v", leaf.Subject)
	}
	served, err := f.SignEngineServer(t.Context(), DefaultEngine, "web", []string{"web", "192.0.2.1"}, greedy)
	if err != nil {
		t.Fatal(err)
	}
	leaf = parse(t, served[0])
	if leaf.VerifyHostname("1.2.3.4") == nil || leaf.VerifyHostname("192.0.2.1") != nil || leaf.IsCA || len(leaf.URIs) != 0 {
		t.Errorf("names %v %v %v", leaf.DNSNames, leaf.IPAddresses, leaf.URIs)
	}
	for name, bad := range map[string][]byte{"empty": nil, "garbage": []byte("x"), "too long": make([]byte, 20_000), "weak curve": weak(t)} {
		if _, _, err := f.Enroll(t.Context(), f.ticket("machine:2"), bad); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func weak(t *testing.T) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		t.Fatal(err)
	}
	return csr
}

func TestOnlyAControlCertificateThatIsNotRevokedIsAPeer(t *testing.T) {
	f := newFixture(t)
	good, _ := f.enrolled("machine:1")
	_, csr := newRequest(t)
	engineServer, err := f.SignEngineServer(t.Context(), DefaultEngine, "web", []string{"web"}, csr)
	if err != nil {
		t.Fatal(err)
	}
	engineClient, _, _, err := f.SignEngineClient(t.Context(), DefaultEngine, "user:local", csr)
	if err != nil {
		t.Fatal(err)
	}
	clientChain, err := pki.DecodeCertificates(engineClient)
	if err != nil {
		t.Fatal(err)
	}
	served, err := f.serve()
	if err != nil {
		t.Fatal(err)
	}
	for name, chain := range map[string][]*x509.Certificate{
		"none":                 nil,
		"an engine's server":   {parse(t, engineServer[0])},
		"a docker client's":    clientChain,
		"the controller's own": {served.Leaf},
		"the authority itself": {f.control.current},
		"another controller's": {func() *x509.Certificate { c, _ := newFixture(t).enrolled("machine:1"); return c }()},
		"signed by itself":     {selfSigned(t)},
	} {
		if subject, _, err := f.VerifyPeer(t.Context(), chain); !fault.Is(err, fault.Denied) {
			t.Errorf("%s: accepted as %q, %v", name, subject, err)
		}
	}
	if _, expired, err := f.VerifyPeer(t.Context(), []*x509.Certificate{good}); err != nil || expired {
		t.Fatalf("a good one: expired %v, %v", expired, err)
	}
	if err := f.Revoke(t.Context(), "machine:1"); err != nil {
		t.Fatal(err)
	}
	if _, _, err := f.VerifyPeer(t.Context(), []*x509.Certificate{good}); !fault.Is(err, fault.Denied) {
		t.Errorf("a revoked one: %v", err)
	}
	if err := f.Revoke(t.Context(), "machine:1"); err != nil {
		t.Errorf("twice: %v", err)
	}
}

func selfSigned(t *testing.T) *x509.Certificate {
	t.Helper()
	key, _ := newRequest(t)
	c, err := pki.NewAuthority("mctl control authority", key, time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestAnExpiredAgentRenewsForItsOwnKeyWithinTheGrace(t *testing.T) {
	f := newFixture(t)
	leaf, csr := f.enrolled("machine:1")
	peer := []*x509.Certificate{leaf}
	*f.now = leaf.NotAfter.Add(300 * 24 * time.Hour)
	if _, expired, err := f.VerifyPeer(t.Context(), peer); err != nil || !expired {
		t.Fatalf("300 days after: expired %v, %v", expired, err)
	}
	_, other := newRequest(t)
	if _, _, err := f.Renew(t.Context(), leaf, other); !fault.Is(err, fault.Denied) {
		t.Errorf("for another key: %v", err)
	}
	chain, _, err := f.Renew(t.Context(), leaf, csr)
	if err != nil {
		t.Fatal(err)
	}
	if renewed := parse(t, chain[0]); !renewed.NotAfter.After(*f.now) {
		t.Errorf("it ends %s", renewed.NotAfter)
	}
	*f.now = leaf.NotAfter.Add(401 * 24 * time.Hour)
	if _, _, err := f.Renew(t.Context(), leaf, csr); !fault.Is(err, fault.Denied) {
		t.Errorf("401 days after: %v", err)
	}
}

func TestTheControllersCertificateIsPinnedByTicketsAndRenewsItself(t *testing.T) {
	f := newFixture(t)
	ticket, err := pki.ParseTicket(f.ticket("machine:1"))
	if err != nil {
		t.Fatal(err)
	}
	shake := func(digest [32]byte) error {
		client, server := net.Pipe()
		defer client.Close()
		defer server.Close()
		done := make(chan struct{})
		go func() {
			defer close(done)
			_ = tls.Server(server, f.ServerTLS()).HandshakeContext(context.Background())
		}()
		err := tls.Client(client, pki.ClientConfig(nil, digest, nil, func() time.Time { return *f.now })).HandshakeContext(t.Context())
		client.Close()
		<-done
		return err
	}
	if err := shake(ticket.Authority); err != nil {
		t.Fatal(err)
	}
	if err := shake([32]byte{1}); err == nil {
		t.Error("a ticket of another controller's was believed")
	}
	first, _ := f.serve()
	*f.now = f.now.Add(60 * 24 * time.Hour)
	if second, _ := f.serve(); second.Leaf.SerialNumber.Cmp(first.Leaf.SerialNumber) == 0 {
		t.Error("after two thirds of its life it is the same")
	}
	if err := shake(ticket.Authority); err != nil {
		t.Errorf("after the renewal: %v", err)
	}
}

func TestLifetimesAreThoseOfTheDesign(t *testing.T) {
	f := newFixture(t)
	const day = 24 * time.Hour
	agent, _ := f.enrolled("machine:1")
	user, _ := f.enrolled("user:alice")
	_, csr := newRequest(t)
	server, err := f.SignEngineServer(t.Context(), DefaultEngine, "web", []string{"web"}, csr)
	if err != nil {
		t.Fatal(err)
	}
	text, _, end, err := f.SignEngineClient(t.Context(), DefaultEngine, "user:local", csr)
	if err != nil {
		t.Fatal(err)
	}
	client, err := pki.DecodeCertificates(text)
	if err != nil || !client[0].NotAfter.Equal(end) {
		t.Fatal(end, err)
	}
	own, err := f.serve()
	if err != nil {
		t.Fatal(err)
	}
	engine, err := f.engine(t.Context(), DefaultEngine)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		certificate *x509.Certificate
		life        time.Duration
	}{
		"control authority": {f.control.current, 3650 * day}, "engine authority": {engine.current, 3650 * day}, "controller": {own.Leaf, 90 * day},
		"agent": {agent, 90 * day}, "user": {user, 400 * day}, "engine": {parse(t, server[0]), 400 * day}, "docker client": {client[0], 400 * day},
	} {
		if from, to := c.certificate.NotBefore, c.certificate.NotAfter; !from.Equal(f.now.Add(-time.Hour)) || !to.Equal(f.now.Add(c.life)) {
			t.Errorf("%s: from %s to %s", name, from, to)
		}
		if key, ok := c.certificate.PublicKey.(*ecdsa.PublicKey); !ok || key.Curve != elliptic.P256() {
			t.Errorf("%s: its key is %T", name, c.certificate.PublicKey)
		}
	}
}

func TestEngineAuthoritiesAreApart(t *testing.T) {
	f := newFixture(t)
	for _, name := range []string{control, "unknown"} {
		if _, err := f.EngineCA(t.Context(), name); !fault.Is(err, fault.NotFound) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAuthoritiesTellTheirEnds(t *testing.T) {
	f := newFixture(t)
	control, engine := f.Ends(DefaultEngine)
	if want := f.control.current.NotAfter; !control.Equal(want) || !engine.Equal(f.engines[DefaultEngine].current.NotAfter) || engine.IsZero() {
		t.Errorf("%s, %s, want %s", control, engine, want)
	}
	if _, engine := f.Ends("nosuch"); !engine.IsZero() {
		t.Errorf("an authority that is none ends on %s", engine)
	}
}
