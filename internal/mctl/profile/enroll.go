package profile

import (
	"context"
	"crypto"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	"mctl/internal/fault"
	"mctl/internal/mctl/state"
	"mctl/internal/pki"
	agentv1 "mctl/proto/mctl/agent/v1"
)

// enrollLimit bounds an enrollment: one handshake and one call.
const enrollLimit = 20 * time.Second

// Files of a profile.
const (
	keyFile  = "client-key.pem"
	certFile = "client.pem"
	caFile   = "authorities.pem"
)

// Enroll turns an invitation into a key, which stays here, and a certificate, and notes the controller. The ticket carries
// the digest of the controller's authority, so nobody else can answer in its place. May be repeated with the same ticket
// as long as the key is there.
func (s Store) Enroll(ctx context.Context, p Profile, ticket string, now func() time.Time) error {
	const op = "profile.Enroll"
	if err := s.Check(p.Name); err != nil {
		return err
	}
	if _, _, err := net.SplitHostPort(p.Endpoint); err != nil {
		return fault.New(op, fault.Invalid, p.Name, fmt.Sprintf("--endpoint is host:port, not %q", p.Endpoint)).
			WithHint("the invitation says which").WithReason(fault.ReasonUsage)
	}
	parsed, err := pki.ParseTicket(ticket)
	if err != nil {
		return fault.E(op, fault.Invalid, p.Name, err).WithHint("ask for one with `mctl context invite USER`").WithReason(fault.ReasonUsage)
	}
	key, err := s.key(p.Name)
	if err != nil {
		return err
	}
	csr, err := pki.NewRequest(key)
	if err != nil {
		return fault.E(op, fault.Internal, p.Name, err)
	}
	ctx, cancel := context.WithTimeout(ctx, enrollLimit)
	defer cancel()
	config := pki.ClientConfig(nil, parsed.Authority, nil, now)
	response, err := call(ctx, p.Endpoint, config, func(ctx context.Context, client agentv1.EnrollmentServiceClient) (answer, error) {
		return client.Enroll(ctx, &agentv1.EnrollRequest{Ticket: ticket, Csr: csr})
	})
	if err != nil {
		return err
	}
	if err := s.keep(p.Name, response); err != nil {
		return err
	}
	return s.Save(p)
}

// Renew replaces the profile's certificate when half of its life has passed. It is no error when that fails as long as
// the present one is valid.
func (s Store) Renew(ctx context.Context, p Profile, now func() time.Time) error {
	own, err := s.certificate(p.Name)
	if err != nil {
		return err
	}
	if now().Before(pki.RenewAt(own.Leaf.NotBefore, own.Leaf.NotAfter, 0.5)) {
		return nil
	}
	csr, err := pki.NewRequest(own.PrivateKey.(crypto.Signer))
	if err != nil {
		return fault.E("profile.Renew", fault.Internal, p.Name, err)
	}
	config, err := s.ClientConfig(p, now)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, enrollLimit)
	defer cancel()
	response, err := call(ctx, p.Endpoint, config, func(ctx context.Context, client agentv1.EnrollmentServiceClient) (answer, error) {
		return client.Renew(ctx, &agentv1.RenewRequest{Csr: csr})
	})
	if err != nil {
		if now().Before(own.Leaf.NotAfter) {
			return nil //nolint:nilerr // it is tried again with the next command
		}
		return err
	}
	return s.keep(p.Name, response)
}

// ClientConfig is TLS towards the profile's controller.
func (s Store) ClientConfig(p Profile, now func() time.Time) (*tls.Config, error) {
	text, err := os.ReadFile(filepath.Join(s.Files(p.Name), caFile))
	if err != nil {
		return nil, s.incomplete(p.Name)
	}
	authorities, err := pki.DecodeCertificates(text)
	if err != nil {
		return nil, s.incomplete(p.Name)
	}
	return pki.ClientConfig(pki.Pool(authorities...), [32]byte{}, func() (*tls.Certificate, error) { return s.certificate(p.Name) }, now), nil
}

func (s Store) certificate(name string) (*tls.Certificate, error) {
	files := s.Files(name)
	pair, err := tls.LoadX509KeyPair(filepath.Join(files, certFile), filepath.Join(files, keyFile))
	if err != nil {
		return nil, s.incomplete(name)
	}
	return &pair, nil
}

func (s Store) incomplete(name string) error {
	return fault.New("profile", fault.Precondition, name, "the key or certificates of context "+name+" can't be read").
		WithHint("remove it with `mctl context rm " + name + "` and make it anew")
}

// key returns the profile's key and makes it where it is missing.
func (s Store) key(name string) (crypto.Signer, error) {
	path := filepath.Join(s.Files(name), keyFile)
	if text, err := os.ReadFile(path); err == nil {
		return pki.DecodeKey(text)
	}
	key, err := pki.NewKey()
	if err != nil {
		return nil, err
	}
	text, err := pki.EncodeKey(key)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(s.Files(name), 0o700); err != nil {
		return nil, state.Trouble(s.Files(name), err)
	}
	return key, state.WriteFile(path, text, 0o600)
}

// answer is what both Enroll and Renew return.
type answer interface {
	GetCertificates() [][]byte
	GetAuthorities() [][]byte
}

func (s Store) keep(name string, response answer) error {
	chain, errChain := pki.ParseChain(response.GetCertificates())
	authorities, errCA := pki.ParseChain(response.GetAuthorities())
	if err := errors.Join(errChain, errCA); err != nil {
		return fault.E("profile.keep", fault.Internal, name, err)
	}
	files := s.Files(name)
	return errors.Join(
		state.WriteFile(filepath.Join(files, caFile), pki.EncodeCertificates(authorities...), 0o644),
		state.WriteFile(filepath.Join(files, certFile), pki.EncodeCertificates(chain...), 0o644),
	)
}

// call makes one call to the enrollment service.
func call(ctx context.Context, endpoint string, config *tls.Config, do func(context.Context, agentv1.EnrollmentServiceClient) (answer, error)) (answer, error) {
	cc, err := grpc.NewClient("passthrough:///"+endpoint, grpc.WithTransportCredentials(credentials.NewTLS(config)),
		grpc.WithNoProxy(), grpc.WithDisableServiceConfig())
	if err != nil {
		return nil, fault.E("profile.call", fault.Invalid, endpoint, err)
	}
	defer cc.Close()
	response, err := do(ctx, agentv1.NewEnrollmentServiceClient(cc))
	if err != nil {
		return nil, notCalled(endpoint, status.Convert(err))
	}
	return response, nil
}

// notCalled says why a call came to nothing: nobody was there, or somebody who refused.
func notCalled(endpoint string, s *status.Status) error {
	const op = "profile.call"
	// What gRPC says of a connection is for programmers, but for the cause in it.
	if _, cause, found := strings.Cut(s.Message(), "transport: "); found {
		cause = strings.Trim(strings.TrimPrefix(cause, "Error while dialing: "), `"`)
		return fault.New(op, fault.Unavailable, endpoint, "the controller at "+endpoint+" can't be reached: "+cause).
			WithHint("check the endpoint, and whether the controller runs")
	}
	return fault.New(op, fault.Denied, endpoint, "the controller at "+endpoint+" did not accept this: "+s.Message()).
		WithHint("check whether the invitation is still good; ask for a new one with `mctl context invite USER`")
}
