package api

import (
	"context"
	"crypto/tls"
	"net"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc/credentials"

	"mctl/internal/lobby"
)

const (
	// maxStrangers is how many connections may be open at a time that have shown no certificate of ours.
	maxStrangers = 512
	// strangerLimit is how long one may stay. To enroll takes a moment.
	strangerLimit = time.Minute
	// verifyLimit bounds the look at a certificate.
	verifyLimit = 5 * time.Second
)

// webProtocol is what hosts speak that fetch the agent.
const webProtocol = "http/1.1"

// tlsCredentials are TLS for anybody, who may call what the access table lets anybody call. Strangers are few and stay
// briefly, so that they can't use up what the controller has for those it knows. Who speaks HTTP/1.1 instead is handed over.
type tlsCredentials struct {
	credentials.TransportCredentials
	verifier  Verifier
	strangers *lobby.Lobby
	web       func(net.Conn) // nil to refuse
}

func newTLSCredentials(config *tls.Config, verifier Verifier, web func(net.Conn)) *tlsCredentials {
	if web != nil {
		config = config.Clone()
		config.NextProtos = append(slices.Clone(config.NextProtos), webProtocol)
	}
	return &tlsCredentials{credentials.NewTLS(config), verifier, lobby.New(maxStrangers), web}
}

// ServerHandshake implements credentials.TransportCredentials.
func (t *tlsCredentials) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	leave := t.strangers.Enter(raw)
	conn, info, err := t.TransportCredentials.ServerHandshake(raw)
	if secured, ok := info.(credentials.TLSInfo); err == nil && ok && t.web != nil && secured.State.NegotiatedProtocol == webProtocol {
		leave()
		t.web(conn) // which has limits of its own
		return nil, nil, credentials.ErrConnDispatched
	}
	if err != nil || t.known(info) {
		leave()
		return conn, info, err
	}
	limit := time.AfterFunc(strangerLimit, func() { raw.Close() })
	return &stranger{Conn: conn, gone: func() { limit.Stop(); leave() }}, info, nil
}

// known reports whether a peer is ours, be its certificate expired or not.
func (t *tlsCredentials) known(info credentials.AuthInfo) bool {
	ctx, cancel := context.WithTimeout(context.Background(), verifyLimit)
	defer cancel()
	shown, ok := info.(credentials.TLSInfo)
	if !ok || len(shown.State.PeerCertificates) == 0 {
		return false
	}
	_, _, err := t.verifier.VerifyPeer(ctx, shown.State.PeerCertificates)
	return err == nil
}

// Clone implements credentials.TransportCredentials.
func (t *tlsCredentials) Clone() credentials.TransportCredentials {
	return &tlsCredentials{t.TransportCredentials.Clone(), t.verifier, t.strangers, t.web}
}

// stranger is the connection of somebody unknown.
type stranger struct {
	net.Conn
	once sync.Once
	gone func()
}

// Close implements net.Conn.
func (s *stranger) Close() error {
	s.once.Do(s.gone)
	return s.Conn.Close()
}
