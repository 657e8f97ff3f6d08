package api

import (
	"context"
	"regexp"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"mctl/internal/fault"
	"mctl/internal/pki"
	agentv1 "mctl/proto/mctl/agent/v1"
	controllerv1 "mctl/proto/mctl/controller/v1"
)

// accessService implements controllerv1.AccessServiceServer.
type accessService struct {
	controllerv1.UnimplementedAccessServiceServer
	server *Server
}

func (a *accessService) IssueClientCertificate(ctx context.Context, r *controllerv1.IssueClientCertificateRequest) (*controllerv1.IssueClientCertificateResponse, error) {
	m, err := a.server.config.Machines.Get(ctx, r.GetMachine())
	if err != nil {
		return nil, err
	}
	if m.Status.Authority == "" {
		return nil, fault.New("api.IssueClientCertificate", fault.Unavailable, m.Name, "the machine has no engine authority yet")
	}
	subject := identityOf(ctx).subject
	certificate, ca, end, err := a.server.config.Authorities.SignEngineClient(ctx, m.Status.Authority, subject, r.GetCsr())
	if err != nil {
		return nil, err
	}
	return &controllerv1.IssueClientCertificateResponse{
		Certificate: certificate, Ca: ca, Authority: m.Status.Authority, ExpireTime: timestamppb.New(end),
	}, nil
}

var userPattern = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9._@-]{0,63}$`)

func (a *accessService) CreateInvitation(ctx context.Context, r *controllerv1.CreateInvitationRequest) (*controllerv1.CreateInvitationResponse, error) {
	if !userPattern.MatchString(r.GetUser()) || r.GetUser() == "local" {
		return nil, fault.New("api.CreateInvitation", fault.Invalid, r.GetUser(), "a user's name has letters, digits and . _ @ -, 64 at most")
	}
	if err := checkRequestID(r.GetRequestId()); err != nil {
		return nil, err
	}
	ticket, end, err := a.server.config.Authorities.Invite(ctx, r.GetRequestId(), pki.UserSubject(r.GetUser()))
	if err != nil {
		return nil, err
	}
	return &controllerv1.CreateInvitationResponse{
		Ticket: ticket.Text(), Endpoints: a.server.config.Info.Addresses, ExpireTime: timestamppb.New(end),
	}, nil
}

// enrollmentService implements agentv1.EnrollmentServiceServer.
type enrollmentService struct {
	agentv1.UnimplementedEnrollmentServiceServer
	server *Server
}

func (e *enrollmentService) Enroll(ctx context.Context, r *agentv1.EnrollRequest) (*agentv1.EnrollResponse, error) {
	chain, authorities, err := e.server.config.Authorities.Enroll(ctx, r.GetTicket(), r.GetCsr())
	if err != nil {
		return nil, err
	}
	return &agentv1.EnrollResponse{Certificates: chain, Authorities: authorities}, nil
}

func (e *enrollmentService) Renew(ctx context.Context, r *agentv1.RenewRequest) (*agentv1.RenewResponse, error) {
	chain, authorities, err := e.server.config.Authorities.Renew(ctx, identityOf(ctx).leaf, r.GetCsr())
	if err != nil {
		return nil, err
	}
	held := identityOf(ctx)
	if late := e.server.config.Now().Sub(held.leaf.NotAfter); late > 0 { // for whoever audits: nothing but its key vouched for it
		e.server.config.Logger.Warn("certificate renewed that had expired", "subject", held.subject, "serial", pki.Serial(held.leaf), "expired_for", late.Round(time.Second))
	} else {
		e.server.config.Logger.Info("certificate renewed", "subject", held.subject)
	}
	return &agentv1.RenewResponse{Certificates: chain, Authorities: authorities}, nil
}
