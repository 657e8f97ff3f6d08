package api

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	controllerv1 "mctl/proto/mctl/controller/v1"
)

// Whoever can reach the port must not be able to use it up.
func TestStrangersPushEachOtherOutAndNobodyElse(t *testing.T) {
	w := newWorld(t)
	user := w.enrolled("user:alice")
	client := controllerv1.NewSystemServiceClient(w.remote(user))
	ask := func() {
		t.Helper()
		if _, err := client.GetInfo(t.Context(), &controllerv1.GetInfoRequest{}); err != nil {
			t.Error(err)
		}
	}
	ask()
	opened := time.Now()
	silent, err := net.Dial("tcp", w.address) // says nothing at all
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	shaken, err := tls.Dial("tcp", w.address, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}}) // has no certificate
	if err != nil {
		t.Fatal(err)
	}
	defer shaken.Close()
	for range maxStrangers {
		conn, err := net.Dial("tcp", w.address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
	for name, conn := range map[string]net.Conn{"one that was silent": silent, "one without a certificate": shaken} {
		// Any later it would go by itself.
		if err := conn.SetReadDeadline(opened.Add(handshake * 9 / 10)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s is still there", name)
		}
	}
	ask()
	client = controllerv1.NewSystemServiceClient(w.remote(user)) // comes in while the lobby is full
	ask()
}

func TestAHostThatIsKnownCannotUseUpThePortEither(t *testing.T) {
	w := newWorld(t)
	host := w.enrolled("machine:hostile")
	connect := func() net.Conn {
		t.Helper()
		conn, err := tls.Dial("tcp", w.address, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}, Certificates: []tls.Certificate{*host}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		return conn
	}
	taken := func(conn net.Conn) bool { // the server's settings come first
		t.Helper()
		if err := conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		_, err := conn.Read(make([]byte, 1))
		return err == nil
	}
	first := connect()
	for range mostOfMachine - 1 {
		if !taken(connect()) {
			t.Fatal("it has less than its share")
		}
	}
	if !taken(first) || taken(connect()) {
		t.Error("it has not its share, or more")
	}
	client := controllerv1.NewSystemServiceClient(w.remote(w.enrolled("user:alice")))
	if _, err := client.GetInfo(t.Context(), &controllerv1.GetInfoRequest{}); err != nil {
		t.Errorf("a user: %v", err)
	}
	first.Close()
	ticker, limit := time.NewTicker(20*time.Millisecond), time.After(10*time.Second)
	defer ticker.Stop()
	for !taken(connect()) {
		select {
		case <-ticker.C:
		case <-limit:
			t.Fatal("there is no room where one has gone")
		}
	}
}
