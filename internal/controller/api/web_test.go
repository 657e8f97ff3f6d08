package api

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"testing"

	"mctl/internal/pki"
)

func TestWhoSpeaksHTTPIsHandedOverAndFindsTheControllerByItsFixedName(t *testing.T) {
	w := newWorld(t)
	handed := make(chan net.Conn, 1)
	port, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.server.ServeTCP(ctx, port, w.ca.ServerTLS(), func(conn net.Conn) { handed <- conn }) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(w.ca.ControlCA()) {
		t.Fatal("the control authority is no PEM")
	}
	// As curl does, which checks names.
	client, err := tls.Dial("tcp", port.Addr().String(), &tls.Config{RootCAs: roots, ServerName: pki.ControllerName, NextProtos: []string{"http/1.1"}})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	server := <-handed
	if _, err := io.WriteString(server, "hello"); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, 5)
	if _, err := io.ReadFull(client, answer); err != nil || string(answer) != "hello" {
		t.Errorf("%q, %v", answer, err)
	}
	server.Close()

	// Where nobody serves the web, nobody is served.
	refused, err := tls.Dial("tcp", w.address, &tls.Config{RootCAs: roots, ServerName: pki.ControllerName, NextProtos: []string{"http/1.1"}})
	if err != nil {
		t.Fatal(err)
	}
	defer refused.Close()
	if _, err := refused.Read(answer); !errors.Is(err, io.EOF) {
		t.Errorf("a port without a web says %v", err)
	}
}
