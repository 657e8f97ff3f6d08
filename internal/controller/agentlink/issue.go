package agentlink

import (
	"context"

	"mctl/internal/fault"
	agentv1 "mctl/proto/mctl/agent/v1"
)

// IssueEngineCertificate signs the engine's server certificate with the names that are wished of the caller; nothing but
// the public key is taken from the request. Faults: Unavailable while nothing is wished (the controller has just started),
// Conflict when the wish has changed since, Quota when asked too often, Invalid for a bad request.
func (h *Hub) IssueEngineCertificate(ctx context.Context, request *agentv1.IssueEngineCertificateRequest) (*agentv1.IssueEngineCertificateResponse, error) {
	const op = "agentlink.IssueEngineCertificate"
	uid, err := h.caller(ctx)
	if err != nil {
		return nil, err
	}
	h.mu.Lock()
	var wish *Wish
	digest, allowed := "", true
	if b := h.boxes[uid]; b != nil && b.wish != nil {
		wish, digest, allowed = b.wish, b.digest, b.signing.Allow()
	}
	h.mu.Unlock()
	switch {
	case wish == nil:
		return nil, fault.New(op, fault.Unavailable, uid, "the controller does not yet know what this machine shall be")
	case !allowed:
		return nil, fault.New(op, fault.Quota, uid, "too many engine certificates in a short time")
	case request.GetDigest() != digest:
		return nil, fault.New(op, fault.Conflict, uid, "the wish has changed since")
	}
	// A wish is never changed once it was left, so it can be read without the lock.
	chain, err := h.config.Signer.SignEngineServer(ctx, wish.Authority, wish.Name, wish.Desired.Front.SANs, request.GetCsr())
	if err != nil {
		return nil, err
	}
	return &agentv1.IssueEngineCertificateResponse{Certificates: chain}, nil
}
