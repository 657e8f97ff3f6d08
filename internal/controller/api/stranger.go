package api

import (
	"context"
	"crypto/tls"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/credentials"

	"mctl/internal/coalesce"
	"mctl/internal/fault"
	"mctl/internal/lobby"
)

const (
	// maxStrangers is how many connections may be open at a time that have shown no certificate of ours.
	maxStrangers = 512
	// strangerLimit is how long one may stay. To enroll takes a moment.
	strangerLimit = time.Minute
	// mostOfMachine and mostOfUser are how many connections a subject may have open at a time. A host needs two, and a moment
	// longer those that it lost; a user one for each mctl that runs.
	mostOfMachine = 64
	mostOfUser    = 1024
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
	members   *members
	web       func(net.Conn) // nil to refuse
}

// members counts connections of those we know.
type members struct {
	mu   sync.Mutex
	open map[string]int // by subject
}

// enter counts one more, until leave is called; false when the subject has too many.
func (m *members) enter(subject string) (leave func(), ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	most := mostOfUser
	if strings.HasPrefix(subject, "machine:") {
		most = mostOfMachine
	}
	if m.open[subject] >= most {
		return nil, false
	}
	m.open[subject]++
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.open[subject]--; m.open[subject] == 0 {
			delete(m.open, subject)
		}
	}, true
}

func newTLSCredentials(config *tls.Config, verifier Verifier, web func(net.Conn)) *tlsCredentials {
	if web != nil {
		config = config.Clone()
		config.NextProtos = append(slices.Clone(config.NextProtos), webProtocol)
	}
	return &tlsCredentials{credentials.NewTLS(config), verifier, lobby.New(maxStrangers), &members{open: map[string]int{}}, web}
}

// ServerHandshake implements credentials.TransportCredentials.
func (t *tlsCredentials) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	leave := t.strangers.Enter(raw)
	below := &coalesce.Below{Conn: raw}
	conn, info, err := t.TransportCredentials.ServerHandshake(below)
	if secured, ok := info.(credentials.TLSInfo); err == nil && ok && t.web != nil && secured.State.NegotiatedProtocol == webProtocol {
		leave()
		t.web(conn) // which has limits of its own
		return nil, nil, credentials.ErrConnDispatched
	}
	if err != nil {
		leave()
		return conn, info, err
	}
	subject, known := t.known(info)
	if !known {
		limit := time.AfterFunc(strangerLimit, func() { raw.Close() })
		return &counted{Conn: conn, gone: func() { limit.Stop(); leave() }}, info, nil
	}
	leave()
	leave, ok := t.members.enter(subject)
	if !ok {
		conn.Close()
		return nil, nil, fault.New("api.ServerHandshake", fault.Quota, subject, subject+" has too many connections open")
	}
	return &counted{Conn: below.Secured(conn), gone: leave}, info, nil
}

// known returns whose a connection is, be its certificate expired or not; false for a stranger's.
func (t *tlsCredentials) known(info credentials.AuthInfo) (subject string, known bool) {
	ctx, cancel := context.WithTimeout(context.Background(), verifyLimit)
	defer cancel()
	shown, ok := info.(credentials.TLSInfo)
	if !ok || len(shown.State.PeerCertificates) == 0 {
		return "", false
	}
	subject, _, err := t.verifier.VerifyPeer(ctx, shown.State.PeerCertificates)
	return subject, err == nil
}

// Clone implements credentials.TransportCredentials.
func (t *tlsCredentials) Clone() credentials.TransportCredentials {
	return &tlsCredentials{t.TransportCredentials.Clone(), t.verifier, t.strangers, t.members, t.web}
}

// counted is a connection that makes room when it ends.
type counted struct {
	net.Conn
	once sync.Once
	gone func()
}

// Close implements net.Conn.
func (c *counted) Close() error {
	c.once.Do(c.gone)
	return c.Conn.Close()
}
