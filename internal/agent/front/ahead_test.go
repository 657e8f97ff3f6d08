package front

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"testing"
	"time"
)

// gathered holds a TLS client's bytes back until they are sent together.
type gathered struct {
	net.Conn
	gather bool
	held   bytes.Buffer
}

func (g *gathered) Write(p []byte) (int, error) {
	if g.gather {
		return g.held.Write(p)
	}
	return g.Conn.Write(p)
}

// SetWriteDeadline does nothing: TLS sets one behind its last words, which are not sent then.
func (g *gathered) SetWriteDeadline(time.Time) error { return nil }

func (g *gathered) send(t *testing.T, n int) {
	t.Helper()
	_, err := g.Conn.Write(g.held.Next(n))
	must(t, err)
}

// callerAndClient is both ends of a connection after the handshake.
func callerAndClient(t *testing.T) (*caller, *tls.Conn, *gathered) {
	t.Helper()
	authority := newAuthority(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer listener.Close()
	dialed, err := net.Dial("tcp", listener.Addr().String())
	must(t, err)
	accepted, err := listener.Accept()
	must(t, err)
	t.Cleanup(func() { dialed.Close(); accepted.Close() })
	must(t, accepted.SetDeadline(time.Now().Add(patience)))

	below, err := newAhead(accepted, &pool{})
	must(t, err)
	server := &caller{tls.Server(below, &tls.Config{Certificates: []tls.Certificate{authority.issue(x509.ExtKeyUsageServerAuth, nil)}}), below}
	roots := x509.NewCertPool()
	roots.AddCert(authority.cert)
	hold := &gathered{Conn: dialed}
	client := tls.Client(hold, &tls.Config{RootCAs: roots, ServerName: "127.0.0.1"})
	shaken := make(chan error, 1)
	go func() { shaken <- server.Handshake() }()
	must(t, client.Handshake())
	must(t, <-shaken)
	hold.gather = true // from here on records are sent when the test says so
	return server, client, hold
}

func TestRecordsThatHaveArrivedAreReadTogether(t *testing.T) {
	server, client, hold := callerAndClient(t)
	var want []byte
	for i := range 50 {
		record := bytes.Repeat([]byte{byte(i)}, 1+i*7)
		_, err := client.Write(record)
		must(t, err)
		want = append(want, record...)
	}
	whole := hold.held.Len()
	_, err := client.Write([]byte("and one that comes in two parts"))
	must(t, err)
	hold.send(t, whole+3)

	got := make([]byte, 64<<10)
	n, err := server.Read(got)
	if err != nil || !bytes.Equal(got[:n], want) {
		t.Fatalf("read %d bytes and %v, want the %d of all whole records", n, err, len(want))
	}
	if server.below.buffer != nil {
		t.Error("a buffer is held while nothing is there")
	}
	hold.send(t, hold.held.Len())
	if n, err = server.Read(got); err != nil || string(got[:n]) != "and one that comes in two parts" {
		t.Errorf("then %q, %v", got[:n], err)
	}
	must(t, client.CloseWrite())
	hold.send(t, hold.held.Len())
	if n, err = server.Read(got); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("at the end %d bytes and %v", n, err)
	}
}

func TestAnEndBehindTheLastBytesIsNotLost(t *testing.T) {
	server, client, hold := callerAndClient(t)
	_, err := client.Write([]byte("last words"))
	must(t, err)
	must(t, client.CloseWrite())
	hold.send(t, hold.held.Len())
	got := make([]byte, 1024)
	if n, err := server.Read(got); err != nil || string(got[:n]) != "last words" {
		t.Fatalf("%q, %v", got[:n], err)
	}
	if n, err := server.Read(got); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("at the end %d bytes and %v", n, err)
	}
}

func TestADeadlineEndsTheWait(t *testing.T) {
	server, _, _ := callerAndClient(t)
	must(t, server.SetReadDeadline(time.Now()))
	if n, err := server.Read(make([]byte, 10)); n != 0 || !isTimeout(err) {
		t.Errorf("%d bytes and %v, want a time that was up", n, err)
	}
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout() && !errors.Is(err, errNotYet)
}
