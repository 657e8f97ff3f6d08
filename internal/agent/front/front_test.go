package front

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"mctl/internal/fault"
	"mctl/internal/pki"
)

// echo answers each byte at once.
func echo(conn *net.UnixConn) {
	defer conn.Close()
	_, _ = io.Copy(conn, conn)
}

// roundTrip sends a byte and waits for it.
func roundTrip(conn io.ReadWriter) error {
	if _, err := conn.Write([]byte{7}); err != nil {
		return err
	}
	_, err := io.ReadFull(conn, make([]byte, 1))
	return err
}

func TestWhoIsLetIn(t *testing.T) {
	w := newWorld(t, Limits{}, echo)
	stranger := newAuthority(t)
	with := func(certificates ...tls.Certificate) *tls.Config { return w.clientConfig(certificates...) }
	speaking := func(version uint16, suites ...uint16) *tls.Config {
		c := with(w.authority.client())
		c.MinVersion, c.MaxVersion, c.CipherSuites = version, version, suites
		return c
	}
	h2 := with(w.authority.client())
	h2.NextProtos = []string{"h2"}
	http11 := with(w.authority.client())
	http11.NextProtos = []string{"h2", "http/1.1"}
	for name, c := range map[string]struct {
		config *tls.Config
		in     bool
	}{
		"a client of ours":           {with(w.authority.client()), true},
		"a client that is a server":  {with(w.authority.issue(x509.ExtKeyUsageServerAuth, nil)), false},
		"a client of another CA":     {with(stranger.client()), false},
		"nobody":                     {with(), false},
		"an expired client":          {with(w.authority.issue(x509.ExtKeyUsageClientAuth, func(l *pki.Leaf) { l.NotAfter = time.Now().Add(-time.Minute) })), false},
		"a client of tomorrow":       {with(w.authority.issue(x509.ExtKeyUsageClientAuth, func(l *pki.Leaf) { l.NotBefore = time.Now().Add(time.Minute) })), false},
		"TLS 1.3":                    {speaking(tls.VersionTLS13), true},
		"TLS 1.2 with AES-GCM":       {speaking(tls.VersionTLS12, tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256), true},
		"TLS 1.2 with ChaCha20":      {speaking(tls.VersionTLS12, tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256), true},
		"TLS 1.2 with CBC":           {speaking(tls.VersionTLS12, tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA), false},
		"TLS 1.1":                    {speaking(tls.VersionTLS11), false},
		"HTTP/1.1 among others":      {http11, true},
		"HTTP/2 only, as in dockerd": {h2, false},
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := w.dial(c.config)
			if err == nil {
				defer conn.Close()
				err = roundTrip(conn)
			}
			if (err == nil) != c.in {
				t.Errorf("let in: %v, want %v (%v)", err == nil, c.in, err)
			}
		})
	}
}

func TestNoSessionIsResumed(t *testing.T) {
	w := newWorld(t, Limits{}, echo)
	config := w.clientConfig(w.authority.client())
	config.ClientSessionCache = tls.NewLRUClientSessionCache(8)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		config.MinVersion, config.MaxVersion = version, version
		for range 2 {
			conn := w.mustDial(config)
			must(t, roundTrip(conn))
			if conn.ConnectionState().DidResume {
				t.Error("a session was resumed")
			}
		}
	}
}

func TestRotationLosesNothing(t *testing.T) {
	w := newWorld(t, Limits{}, echo)
	old := w.clientConfig(w.authority.client())
	open := w.mustDial(old)
	must(t, roundTrip(open))

	// Ten clients a moment, each with the trust of before, while the certificate changes again and again.
	var requests sync.WaitGroup
	stop := make(chan struct{})
	for range 10 {
		requests.Go(func() {
			for {
				conn, err := w.dial(old)
				if err != nil {
					t.Errorf("new connection: %v", err)
					return
				}
				if err := roundTrip(conn); err != nil {
					t.Errorf("new connection: %v", err)
				}
				conn.Close()
				select {
				case <-stop:
					return
				default:
				}
			}
		})
	}
	for range 20 {
		w.rotate()
		conn := w.mustDial(old)
		if shown := conn.ConnectionState().PeerCertificates[0]; !shown.Equal(w.server.Leaf) {
			t.Error("a new connection sees an old certificate")
		}
		must(t, roundTrip(open))
		conn.Close()
	}
	close(stop)
	requests.Wait()

	w.authority = newAuthority(t)
	w.rotate()
	must(t, roundTrip(open))
	if conn, err := w.dial(old); err == nil {
		conn.Close()
		t.Error("the new certificate is trusted by the old authority")
	}
	old.RootCAs = pki.Pool(w.authority.cert)
	if conn, err := w.dial(old); err == nil {
		if roundTrip(conn) == nil {
			t.Error("a client of the former authority is let in")
		}
		conn.Close()
	}
	must(t, roundTrip(w.mustDial(w.clientConfig(w.authority.client()))))
	must(t, roundTrip(open))
}

func TestBadMaterialOnDiskClosesNoPort(t *testing.T) {
	w := newWorld(t, Limits{}, echo)
	config := w.clientConfig(w.authority.client())
	must(t, roundTrip(w.mustDial(config)))
	for _, file := range []string{serverFile, clientsFile} {
		must(t, os.WriteFile(w.dir+"/"+file, []byte("rubbish"), 0o600))
		must(t, roundTrip(w.mustDial(config)))
		must(t, os.Remove(w.dir+"/"+file))
		must(t, roundTrip(w.mustDial(config)))
	}
	w.rotate()
	if conn := w.mustDial(config); !conn.ConnectionState().PeerCertificates[0].Equal(w.server.Leaf) {
		t.Error("good material is not taken up again")
	}
}

func TestRevokedClientsAreCutAndStayOut(t *testing.T) {
	w := newWorld(t, Limits{}, echo)
	bad, good := w.authority.client(), w.authority.client()
	badConn, goodConn := w.mustDial(w.clientConfig(bad)), w.mustDial(w.clientConfig(good))
	must(t, roundTrip(badConn))
	must(t, roundTrip(goodConn))
	must(t, Revoke(w.dir, pki.Serial(bad.Leaf), pki.Serial(bad.Leaf)))
	must(t, syscall.Kill(os.Getpid(), syscall.SIGHUP))
	if _, err := badConn.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the connection of a revoked certificate is open: %v", err)
	}
	if conn, err := w.dial(w.clientConfig(bad)); err == nil {
		if roundTrip(conn) == nil {
			t.Error("a revoked certificate is let in")
		}
		conn.Close()
	}
	must(t, roundTrip(goodConn))
	must(t, roundTrip(w.mustDial(w.clientConfig(good))))

	// Without a signal: the next client's handshake is enough.
	must(t, Revoke(w.dir, pki.Serial(bad.Leaf), pki.Serial(good.Leaf)))
	must(t, roundTrip(w.mustDial(w.clientConfig(w.authority.client()))))
	if _, err := goodConn.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the connection of a revoked certificate is open: %v", err)
	}
}

func TestDrainWaitsForTheLastConnection(t *testing.T) {
	w := newWorld(t, Limits{}, echo)
	conn := w.mustDial(w.clientConfig(w.authority.client()))
	must(t, roundTrip(conn))
	w.stop()
	refused := false
	for deadline := time.Now().Add(patience); !refused && time.Now().Before(deadline); {
		late, err := net.Dial("tcp", w.address)
		if refused = err != nil; !refused {
			late.Close()
		}
	}
	if !refused {
		t.Error("a draining front accepts")
	}
	must(t, roundTrip(conn))
	select {
	case err := <-w.ended:
		t.Fatalf("the front ended with a connection open: %v", err)
	default:
	}
	conn.Close()
	select {
	case err := <-w.ended:
		must(t, err)
	case <-time.After(patience):
		t.Error("the front does not end after its last connection")
	}
}

func TestStrangersThatSayNothingKeepNobodyOut(t *testing.T) {
	w := newWorld(t, Limits{Handshakes: 4}, echo)
	var silent []net.Conn
	for range 20 {
		conn, err := net.Dial("tcp", w.address)
		must(t, err)
		defer conn.Close()
		silent = append(silent, conn)
	}
	must(t, roundTrip(w.mustDial(w.clientConfig(w.authority.client()))))
	must(t, silent[0].SetReadDeadline(time.Now().Add(patience)))
	if _, err := silent[0].Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("the oldest stranger is still there")
	}
}

func TestStrangersFromOnePlacePushOutTheirOwn(t *testing.T) {
	w := newWorld(t, Limits{Handshakes: 4}, echo)
	// The oldest of all is honest and slow.
	slow, err := net.Dial("tcp", w.address)
	must(t, err)
	defer slow.Close()
	elsewhere := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}
	var strangers []net.Conn
	for range 20 {
		conn, err := elsewhere.Dial("tcp", w.address)
		must(t, err)
		defer conn.Close()
		strangers = append(strangers, conn)
	}
	// One that goes shows that they push each other out.
	must(t, strangers[0].SetReadDeadline(time.Now().Add(patience)))
	if _, err := strangers[0].Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("a stranger of many is still there")
	}
	conn := tls.Client(slow, w.clientConfig(w.authority.client()))
	must(t, conn.SetDeadline(time.Now().Add(patience)))
	must(t, roundTrip(conn))
}

func TestADrainingFrontCutsWhoeverIsRevoked(t *testing.T) {
	w := newWorld(t, Limits{Look: 10 * time.Millisecond}, echo)
	bad, good := w.authority.client(), w.authority.client()
	badConn, goodConn := w.mustDial(w.clientConfig(bad)), w.mustDial(w.clientConfig(good))
	must(t, roundTrip(badConn))
	must(t, roundTrip(goodConn))
	w.stop()
	must(t, Revoke(w.dir, pki.Serial(bad.Leaf)))
	if _, err := badConn.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the connection of a revoked certificate is open: %v", err)
	}
	must(t, roundTrip(goodConn))
}

func TestAHandshakeThatTakesTooLongIsEnded(t *testing.T) {
	w := newWorld(t, Limits{Handshake: 20 * time.Millisecond}, echo)
	conn, err := net.Dial("tcp", w.address)
	must(t, err)
	defer conn.Close()
	must(t, conn.SetReadDeadline(time.Now().Add(patience)))
	if _, err := io.ReadAll(conn); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("a stranger that says nothing is still there")
	}
}

func TestConnectionsAreBounded(t *testing.T) {
	const limit = 200
	w := newWorld(t, Limits{Connections: limit}, echo)
	config := w.clientConfig(w.authority.client())
	config.MinVersion = tls.VersionTLS12
	var last *tls.Conn
	for range limit {
		last = w.mustDial(config)
		must(t, roundTrip(last))
	}
	over := w.mustDial(config)
	if roundTrip(over) == nil {
		t.Error("one more than allowed is let in")
	}
	last.Close()
	for deadline := time.Now().Add(patience); ; {
		conn, err := w.dial(config)
		must(t, err)
		err = roundTrip(conn)
		conn.Close()
		if err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("a place that became free is not given again")
		}
	}
}

func TestWithoutSystemdThereIsNoListener(t *testing.T) {
	t.Setenv("LISTEN_FDS", "1")
	t.Setenv("LISTEN_PID", "1")
	err := Run(context.Background(), Config{Logger: nullLogger()})
	if !fault.Is(err, fault.Precondition) {
		t.Errorf("got %v", err)
	}
}
