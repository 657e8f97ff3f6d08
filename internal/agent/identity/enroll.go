package identity

import (
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"

	"google.golang.org/grpc"

	"mctl/internal/fault"
	"mctl/internal/pki"
	agentv1 "mctl/proto/mctl/agent/v1"
)

// Wants reports whether a ticket for a machine is news: there is no certificate, it is another machine's, or the ticket was
// not used yet.
func (h *Holder) Wants(uid string, ticket pki.Ticket) bool {
	subject := h.Subject()
	h.mu.Lock()
	defer h.mu.Unlock()
	return subject != pki.MachineSubject(uid) || h.ticket != ticket.ID
}

// Enroll turns a ticket into a certificate over a connection that was pinned with the ticket's digest. It may be repeated:
// the key is on disk before it is first shown, so a ticket whose answer was lost is used with the same key again. An
// identity of another machine is given up.
//
// fault.Unauthenticated for a ticket that is not taken; where a certificate of the same machine is there, it goes on with
// that and returns nil.
func (h *Holder) Enroll(ctx context.Context, conn grpc.ClientConnInterface, uid string, ticket pki.Ticket) error {
	key, err := h.keyFor(uid)
	if err != nil {
		return err
	}
	request, err := pki.NewRequest(key)
	if err != nil {
		return fault.E("identity.Enroll", fault.Internal, uid, err)
	}
	response, err := agentv1.NewEnrollmentServiceClient(conn).Enroll(ctx, &agentv1.EnrollRequest{Ticket: ticket.Text(), Csr: request})
	if fault.Is(err, fault.Unauthenticated) && h.Subject() == pki.MachineSubject(uid) {
		h.config.Logger.Warn("the new join ticket was not taken, going on with the certificate that is there", "error", err)
		return h.spend(ticket.ID)
	}
	if err != nil {
		return err
	}
	chain, authorities, err := accept(key, pki.MachineSubject(uid), response.GetCertificates(), response.GetAuthorities())
	if err != nil {
		return err
	}
	if !anyPinned(authorities, ticket.Authority) {
		return fault.New("identity.Enroll", fault.Denied, uid, "the controller's authorities lack the one that the join ticket names")
	}
	if err := h.store(chain, authorities); err != nil {
		return err
	}
	h.config.Logger.Info("enrolled", "machine", uid, "until", chain[0].NotAfter)
	return h.spend(ticket.ID)
}

// Renew replaces the certificate, for the same key, over a connection that shows the one there is. It may be repeated.
// fault.Denied when the right was taken away.
func (h *Holder) Renew(ctx context.Context, conn grpc.ClientConnInterface) error {
	h.mu.Lock()
	key, enrolled := h.key, h.chain != nil
	h.mu.Unlock()
	if !enrolled {
		return fault.New("identity.Renew", fault.Precondition, "", "there is no certificate to renew")
	}
	subject := h.Subject()
	request, err := pki.NewRequest(key)
	if err != nil {
		return fault.E("identity.Renew", fault.Internal, subject, err)
	}
	response, err := agentv1.NewEnrollmentServiceClient(conn).Renew(ctx, &agentv1.RenewRequest{Csr: request})
	if err != nil {
		return err
	}
	chain, authorities, err := accept(key, subject, response.GetCertificates(), response.GetAuthorities())
	if err != nil {
		return err
	}
	if err := h.store(chain, authorities); err != nil {
		return err
	}
	h.config.Logger.Info("certificate renewed", "until", chain[0].NotAfter)
	return nil
}

// keyFor returns the key to enroll a machine with: the one there is, so that a retry shows the same, or a new one when the
// one there is belongs to another machine.
func (h *Holder) keyFor(uid string) (crypto.Signer, error) {
	subject := h.Subject()
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.key != nil && (subject == "" || subject == pki.MachineSubject(uid)) {
		return h.key, nil
	}
	key, err := pki.NewKey()
	if err != nil {
		return nil, fault.E("identity.keyFor", fault.Internal, uid, err)
	}
	text, err := pki.EncodeKey(key)
	if err != nil {
		return nil, fault.E("identity.keyFor", fault.Internal, uid, err)
	}
	// The old certificate is void without its key, so it goes first: a crash in between leaves a host that waits for its
	// ticket, not one with two halves of identities.
	if err := h.remove(certificateFile); err != nil {
		return nil, err
	}
	h.chain = nil
	if err := h.write(keyFile, text); err != nil {
		return nil, err
	}
	h.key = key
	return key, nil
}

// accept checks what a controller answered, before anything on disk is replaced by it.
func accept(key crypto.Signer, subject string, certificates, authorities [][]byte) ([]*x509.Certificate, []*x509.Certificate, error) {
	chain, errChain := pki.ParseChain(certificates)
	trusted, errTrusted := pki.ParseChain(authorities)
	if err := errors.Join(errChain, errTrusted); err != nil {
		return nil, nil, fault.E("identity.accept", fault.Internal, subject, fmt.Errorf("the controller's answer: %w", err))
	}
	if err := check(key, chain, trusted); err != nil {
		return nil, nil, fault.E("identity.accept", fault.Denied, subject, fmt.Errorf("the controller's answer: %w", err))
	}
	if named, err := pki.SubjectOf(chain[0]); err != nil || named != subject {
		return nil, nil, fault.E("identity.accept", fault.Denied, subject, fmt.Errorf("the certificate is for %s, not for %s", named, subject))
	}
	return chain, trusted, nil
}

func anyPinned(authorities []*x509.Certificate, digest [sha256.Size]byte) bool {
	_, err := pki.PinnedAuthority(authorities, digest)
	return err == nil
}

// store keeps a certificate and its authorities, the certificate last.
func (h *Holder) store(chain, authorities []*x509.Certificate) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.write(authoritiesFile, pki.EncodeCertificates(authorities...)); err != nil {
		return err
	}
	if err := h.write(certificateFile, pki.EncodeCertificates(chain...)); err != nil {
		return err
	}
	h.chain, h.authorities = chain, authorities
	return nil
}

func (h *Holder) spend(ticketID string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.write(ticketFile, []byte(ticketID)); err != nil {
		return err
	}
	h.ticket = ticketID
	return nil
}
