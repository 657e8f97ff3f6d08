package coalesce_test

import (
	"crypto/tls"
	"errors"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"mctl/internal/coalesce"
	"mctl/internal/pki"
)

// timeless is a connection without deadlines, as that through a tunnel.
type timeless struct {
	net.Conn
	stuck chan struct{} // has one for each write of many bytes that has begun
}

func (c timeless) Write(p []byte) (int, error) {
	if len(p) > 50_000 {
		c.stuck <- struct{}{}
	}
	return c.Conn.Write(p)
}

func (timeless) SetDeadline(time.Time) error      { return os.ErrNoDeadline }
func (timeless) SetReadDeadline(time.Time) error  { return os.ErrNoDeadline }
func (timeless) SetWriteDeadline(time.Time) error { return os.ErrNoDeadline }

// serve makes a server's end of TLS, and the client's raw connection to it.
func serve(t *testing.T) (server *tls.Conn, raw net.Conn) {
	t.Helper()
	key, err := pki.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	authority, err := pki.NewAuthority("test", key, time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	raw, far := net.Pipe()
	t.Cleanup(func() { raw.Close(); far.Close() })
	return tls.Server(far, &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{authority.Raw}, PrivateKey: key}}, SessionTicketsDisabled: true}), raw
}

func within(t *testing.T, what string, done chan error) error {
	t.Helper()
	select {
	case err := <-done:
		return err
	case <-time.After(2 * time.Second):
		t.Fatal(what)
		return nil
	}
}

// TLS has done its part of a write that is here, so its Close would not break it but wait to say good-bye behind it.
func TestClosingEndsAWriteOfRecordsThatNobodyTakes(t *testing.T) {
	server, raw := serve(t)
	stuck := make(chan struct{}, 1)
	conn := coalesce.Client(timeless{raw, stuck}, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // who it is does not matter here
	shaken := make(chan error, 1)
	go func() { shaken <- server.Handshake() }()
	if err := conn.Handshake(); err != nil || <-shaken != nil {
		t.Fatal(err)
	}
	written, closed := make(chan error, 1), make(chan error, 1)
	go func() { _, err := conn.Write(make([]byte, 100_000)); written <- err }()
	<-stuck
	go func() { closed <- conn.Close() }()
	if err := within(t, "Close waits for a write that nobody takes", closed); err != nil {
		t.Errorf("closing: %v", err)
	}
	if err := within(t, "the write goes on", written); err == nil {
		t.Error("the write did not fail")
	}
	if _, err := conn.Write(make([]byte, 100_000)); err == nil {
		t.Error("a write after closing did not fail")
	}
}

func TestTheFirstWriteShakesHandsHoweverMuchItIs(t *testing.T) {
	server, raw := serve(t)
	conn := coalesce.Client(raw, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // who it is does not matter here
	written := make(chan error, 1)
	go func() { _, err := conn.Write(make([]byte, 100_000)); written <- err }()
	read := make(chan error, 1)
	go func() {
		got, err := 0, error(nil)
		for n := 0; err == nil && got < 100_000; got += n {
			n, err = server.Read(make([]byte, 1<<16))
		}
		read <- err
	}()
	if err := within(t, "the handshake waits for the write, which waits for the handshake", written); err != nil {
		t.Error(err)
	}
	if err := within(t, "not all arrives", read); err != nil {
		t.Error(err)
	}
}

// What was written after records that were lost would only be taken for an attack.
func TestNothingLeavesAfterAWriteThatFailed(t *testing.T) {
	conn, wire, arrived := connect(t)
	wire.breakWith(errors.New("broken"))
	if _, err := conn.Write(make([]byte, 100_000)); err == nil {
		t.Error("no error")
	}
	wire.breakWith(nil)
	before := wire.seen()
	if _, err := conn.Write(make([]byte, 100_000)); err == nil {
		t.Error("no error when it works again")
	}
	conn.Close()
	if n := wire.seen() - before; n > 0 {
		t.Errorf("%d writes after the one that failed", n)
	}
	for range arrived {
	}
}

// A tunnel has no deadlines, by which TLS bounds its good-bye.
func TestClosingWaitsForNobodyForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, raw := serve(t)
		conn := coalesce.Client(timeless{raw, nil}, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // who it is does not matter here
		shaken := make(chan error, 1)
		go func() { shaken <- server.Handshake() }()
		if err := conn.Handshake(); err != nil || <-shaken != nil {
			t.Fatal(err)
		}
		before := time.Now()
		if err := conn.Close(); err == nil {
			t.Error("somebody took the good-bye")
		}
		if waited := time.Since(before); waited > 10*time.Second {
			t.Errorf("it waited %s", waited)
		}
	})
}
