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
