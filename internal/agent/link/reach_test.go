package link_test

import (
	"crypto/tls"
	"net"
	"testing"

	"mctl/internal/agent/link"
)

func TestAHostReachesTheControllerThatMadeItsTicketAndNoOther(t *testing.T) {
	authority, stranger := newAuthority(t), newAuthority(t)
	listen := func(server tls.Certificate) string {
		t.Helper()
		listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
			MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{server}, NextProtos: []string{"h2"},
		})
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			for {
				conn, err := listener.Accept()
				if err != nil {
					return
				}
				_ = conn.(*tls.Conn).Handshake()
				conn.Close()
			}
		}()
		t.Cleanup(func() { listener.Close(); <-done })
		return listener.Addr().String()
	}
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	ours, theirs := listen(authority.server), listen(stranger.server)
	ticket := authority.ticket(uid)
	for name, c := range map[string]struct {
		ticket    string
		endpoints []string
		want      bool
	}{
		"ours":                  {ticket, []string{ours}, true},
		"one of several":        {ticket, []string{closed.Addr().String(), theirs, ours}, true},
		"a stranger":            {ticket, []string{theirs}, false},
		"nobody":                {ticket, []string{closed.Addr().String()}, false},
		"no endpoint":           {ticket, nil, false},
		"no ticket that is one": {"mj1.x", []string{ours}, false},
	} {
		if got := link.Reach(t.Context(), c.ticket, c.endpoints); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}
