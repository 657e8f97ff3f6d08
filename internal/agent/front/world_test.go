package front

import (
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"mctl/internal/pki"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait of a test.
const patience = 10 * time.Second

// authority is a CA of a test.
type authority struct {
	t    testing.TB
	cert *x509.Certificate
	key  crypto.Signer
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	key, err := pki.NewKey()
	must(t, err)
	cert, err := pki.NewAuthority("test", key, time.Now(), time.Hour)
	must(t, err)
	return &authority{t: t, cert: cert, key: key}
}

func (a *authority) pem() []byte { return pki.EncodeCertificates(a.cert) }

// issue signs a new key; change may be nil.
func (a *authority) issue(usage x509.ExtKeyUsage, change func(*pki.Leaf)) tls.Certificate {
	a.t.Helper()
	key, err := pki.NewKey()
	must(a.t, err)
	leaf := pki.Leaf{
		CommonName: "test", SANs: []string{"127.0.0.1"}, Usage: []x509.ExtKeyUsage{usage},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	if change != nil {
		change(&leaf)
	}
	cert, err := pki.Sign(leaf, key.Public(), a.cert, a.key)
	must(a.t, err)
	return tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key, Leaf: cert}
}

func (a *authority) client() tls.Certificate { return a.issue(x509.ExtKeyUsageClientAuth, nil) }

// world is a running front before a fake dockerd.
type world struct {
	t         testing.TB
	dir       string
	socket    string
	address   string
	authority *authority
	server    tls.Certificate
	stop      context.CancelFunc
	ended     chan error // gets what Run returned
}

// newWorld starts a front. serve gets each connection that arrives at the fake dockerd; nil for none listening.
func newWorld(t testing.TB, limits Limits, serve func(*net.UnixConn)) *world {
	t.Helper()
	folder, err := os.MkdirTemp("", "front") // t.TempDir is too long for a socket
	must(t, err)
	w := &world{t: t, dir: filepath.Join(folder, "front"), socket: filepath.Join(folder, "docker.sock"), authority: newAuthority(t), ended: make(chan error, 1)}
	w.rotate()
	if serve != nil {
		engine := w.engine(serve)
		t.Cleanup(engine)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	w.address = listener.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	w.stop = cancel
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.ended <- Run(ctx, Config{Dir: w.dir, Socket: w.socket, Listeners: []net.Listener{listener}, Logger: nullLogger(), Limits: limits})
	}()
	t.Cleanup(func() {
		cancel()
		w.await(done, "the front to drain")
		os.RemoveAll(folder)
	})
	return w
}

// engine listens as dockerd does and returns how to end that.
func (w *world) engine(serve func(*net.UnixConn)) (stop func()) {
	w.t.Helper()
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: w.socket, Net: "unix"})
	must(w.t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := listener.AcceptUnix()
			if err != nil {
				return
			}
			go serve(conn)
		}
	}()
	return func() { listener.Close(); <-done }
}

// rotate gives the front a new certificate of the present authority.
func (w *world) rotate() {
	w.t.Helper()
	w.server = w.authority.issue(x509.ExtKeyUsageServerAuth, nil)
	key, err := pki.EncodeKey(w.server.PrivateKey.(crypto.Signer))
	must(w.t, err)
	must(w.t, WriteMaterial(w.dir, key, pki.EncodeCertificates(w.server.Leaf), w.authority.pem()))
}

func (w *world) clientConfig(certificates ...tls.Certificate) *tls.Config {
	return &tls.Config{RootCAs: pki.Pool(w.authority.cert), Certificates: certificates, ServerName: "127.0.0.1"}
}

// dial connects and proves by a byte both ways, where TLS 1.3 would tell a refusal only later, that the client was let in.
func (w *world) dial(config *tls.Config) (*tls.Conn, error) {
	dialer := tls.Dialer{NetDialer: &net.Dialer{Timeout: patience}, Config: config}
	conn, err := dialer.Dial("tcp", w.address)
	if err != nil {
		return nil, err
	}
	must(w.t, conn.SetDeadline(time.Now().Add(patience)))
	return conn.(*tls.Conn), nil
}

func (w *world) mustDial(config *tls.Config) *tls.Conn {
	w.t.Helper()
	conn, err := w.dial(config)
	must(w.t, err)
	w.t.Cleanup(func() { conn.Close() })
	return conn
}

func (w *world) await(done <-chan struct{}, what string) {
	w.t.Helper()
	select {
	case <-done:
	case <-time.After(patience):
		w.t.Errorf("waited in vain for %s", what)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
