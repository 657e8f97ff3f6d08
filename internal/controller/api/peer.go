package api

import (
	"context"
	"errors"
	"net"

	"google.golang.org/grpc/credentials"
)

// PeerCredentials is who is at the other end of a unix socket, as the kernel says.
type PeerCredentials struct {
	credentials.CommonAuthInfo
	UID uint32
	PID int32
}

// AuthType implements credentials.AuthInfo.
func (PeerCredentials) AuthType() string { return "unix" }

// UnixCredentials are transport credentials for a unix socket: no encryption, the kernel vouches for the peer.
type UnixCredentials struct{}

// ServerHandshake implements credentials.TransportCredentials.
func (UnixCredentials) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	socket, ok := conn.(*net.UnixConn)
	if !ok {
		return nil, nil, errors.New("not a unix socket")
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return nil, nil, err
	}
	auth := PeerCredentials{CommonAuthInfo: credentials.CommonAuthInfo{SecurityLevel: credentials.PrivacyAndIntegrity}}
	var inner error
	if err := raw.Control(func(fd uintptr) { auth.UID, auth.PID, inner = peerOf(int(fd)) }); err != nil {
		return nil, nil, err
	}
	return conn, auth, inner
}

// ClientHandshake implements credentials.TransportCredentials; these are for servers.
func (UnixCredentials) ClientHandshake(context.Context, string, net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return nil, nil, errors.New("server side only")
}

// Info implements credentials.TransportCredentials.
func (UnixCredentials) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "unix"}
}

// Clone implements credentials.TransportCredentials.
func (c UnixCredentials) Clone() credentials.TransportCredentials { return c }

// OverrideServerName implements credentials.TransportCredentials.
func (UnixCredentials) OverrideServerName(string) error { return nil }
