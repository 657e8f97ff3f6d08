package api

import (
	"context"
	"crypto/x509"
	"os"
	"strings"
	"time"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"

	"mctl/internal/fault"
)

// caller says who may call a method.
type caller int

const (
	anyone   caller = iota + 1 // the call itself proves the right: a ticket
	renewer                    // a machine or user whose certificate may have expired
	machine                    // an agent
	operator                   // a user, over TCP or the unix socket
	local                      // over the unix socket alone
)

// access is the one table of who may call what. A method that is not in it may be called by nobody; a test fails when a
// registered one is missing.
var access = map[string]caller{
	"/mctl.agent.v1.EnrollmentService/Enroll":                        anyone,
	"/mctl.agent.v1.EnrollmentService/Renew":                         renewer,
	"/mctl.agent.v1.LinkService/Connect":                             machine,
	"/mctl.agent.v1.LinkService/IssueEngineCertificate":              machine,
	"/mctl.agent.v1.TunnelService/Open":                              machine,
	"/mctl.agent.v1.TunnelService/Check":                             machine,
	"/mctl.controller.v1.AccessService/CreateInvitation":             operator,
	"/mctl.controller.v1.AccessService/IssueClientCertificate":       operator,
	"/mctl.controller.v1.CredentialService/CreateCredential":         operator,
	"/mctl.controller.v1.CredentialService/DeleteCredential":         operator,
	"/mctl.controller.v1.CredentialService/ListCredentials":          operator,
	"/mctl.controller.v1.DriverService/DeleteOrphan":                 operator,
	"/mctl.controller.v1.DriverService/GetDriver":                    operator,
	"/mctl.controller.v1.DriverService/ListDrivers":                  operator,
	"/mctl.controller.v1.DriverService/ListOrphans":                  operator,
	"/mctl.controller.v1.EventService/WatchEvents":                   operator,
	"/mctl.controller.v1.MachineService/CreateMachine":               operator,
	"/mctl.controller.v1.MachineService/DeleteMachine":               operator,
	"/mctl.controller.v1.MachineService/ExportMachine":               operator,
	"/mctl.controller.v1.MachineService/GetMachine":                  operator,
	"/mctl.controller.v1.MachineService/ImportMachine":               operator,
	"/mctl.controller.v1.MachineService/ListMachines":                operator,
	"/mctl.controller.v1.MachineService/ProvisionMachine":            operator,
	"/mctl.controller.v1.MachineService/RegenerateCertificates":      operator,
	"/mctl.controller.v1.MachineService/RestartMachine":              operator,
	"/mctl.controller.v1.MachineService/RetryMachine":                operator,
	"/mctl.controller.v1.MachineService/StartMachine":                operator,
	"/mctl.controller.v1.MachineService/StopMachine":                 operator,
	"/mctl.controller.v1.MachineService/UpdateLabels":                operator,
	"/mctl.controller.v1.MachineService/UpgradeMachine":              operator,
	"/mctl.controller.v1.MachineService/WaitMachine":                 operator,
	"/mctl.controller.v1.MachineService/WatchMachines":               operator,
	"/mctl.controller.v1.SessionService/OfferSigner":                 operator,
	"/mctl.controller.v1.SessionService/OpenTunnel":                  operator,
	"/mctl.controller.v1.SystemService/GetInfo":                      operator,
	"/mctl.controller.v1.SystemService/Shutdown":                     local,
	"/grpc.health.v1.Health/Check":                                   operator,
	"/grpc.health.v1.Health/List":                                    operator,
	"/grpc.health.v1.Health/Watch":                                   operator,
	"/grpc.reflection.v1.ServerReflection/ServerReflectionInfo":      operator,
	"/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": operator,
}

// Verifier judges a peer's certificate chain, leaf first.
type Verifier interface {
	VerifyPeer(ctx context.Context, chain []*x509.Certificate) (subject string, expired bool, err error)
}

// identity is who calls.
type identity struct {
	subject string // user:NAME, machine:UID, or empty for nobody in particular
	local   bool   // over the unix socket
	leaf    *x509.Certificate
}

type identityKey struct{}

// identityOf returns who calls, as the interceptor found out.
func identityOf(ctx context.Context) identity {
	id, _ := ctx.Value(identityKey{}).(identity)
	return id
}

// MachineUID returns the uid of the machine that calls, or fault.Denied. It judges the certificate once more, since a stream
// may be older than the removal of its machine.
func (s *Server) MachineUID(ctx context.Context) (string, error) {
	id := identityOf(ctx)
	uid, ok := strings.CutPrefix(id.subject, "machine:")
	if !ok {
		return "", fault.New("api.MachineUID", fault.Denied, "", "only an agent may call this")
	}
	_, _, err := s.config.Verifier.VerifyPeer(ctx, []*x509.Certificate{id.leaf})
	return uid, err
}

// RenewAfter returns when the machine that calls shall renew its certificate; false when no certificate was shown.
func (s *Server) RenewAfter(ctx context.Context) (time.Duration, bool) {
	leaf := identityOf(ctx).leaf
	if leaf == nil {
		return 0, false
	}
	return s.config.Authorities.RenewAfter(leaf), true
}

// authorize finds out who calls and holds it against the table.
func (s *Server) authorize(ctx context.Context, method string) (context.Context, error) {
	const op = "api.authorize"
	who, ok := access[method]
	if !ok {
		return ctx, fault.New(op, fault.Denied, method, "nobody may call this")
	}
	p, ok := peer.FromContext(ctx)
	if !ok {
		return ctx, fault.New(op, fault.Denied, method, "the caller is unknown")
	}
	var id identity
	switch auth := p.AuthInfo.(type) {
	case PeerCredentials:
		if auth.UID != 0 && int(auth.UID) != os.Getuid() {
			return ctx, fault.New(op, fault.Denied, method, "this controller belongs to another user")
		}
		id = identity{subject: "user:local", local: true}
	case credentials.TLSInfo:
		if who == anyone {
			break
		}
		subject, expired, err := s.config.Verifier.VerifyPeer(ctx, auth.State.PeerCertificates)
		if err != nil {
			return ctx, err
		}
		if expired && who != renewer {
			return ctx, fault.New(op, fault.Denied, method, "the client certificate has expired").WithHint("renew it first")
		}
		id = identity{subject: subject, leaf: auth.State.PeerCertificates[0]}
	default:
		return ctx, fault.New(op, fault.Denied, method, "the caller is unknown")
	}
	if !permitted(who, id) {
		return ctx, fault.New(op, fault.Denied, method, "the caller may not do this")
	}
	return context.WithValue(ctx, identityKey{}, id), nil
}

func permitted(who caller, id identity) bool {
	switch who {
	case anyone:
		return true
	case renewer:
		return id.leaf != nil
	case machine:
		return strings.HasPrefix(id.subject, "machine:")
	case operator:
		return strings.HasPrefix(id.subject, "user:")
	case local:
		return id.local
	}
	return false
}
