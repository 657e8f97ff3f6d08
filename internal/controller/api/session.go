package api

import (
	"context"

	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
	"google.golang.org/grpc"

	"mctl/internal/fault"
	controllerv1 "mctl/proto/mctl/controller/v1"
)

// What a lent ssh-agent may be.
const (
	maxLentKeys = 32
	signLimit   = 60 * time.Second // a person may have to touch a key
)

// Signers are the ssh-agents that callers lend, by machine. A loan lasts as long as the caller's stream, and may begin
// before the machine exists, since its pre-check needs it.
type Signers struct {
	mu    sync.Mutex
	loans map[string]*loan
}

func newSigners() *Signers { return &Signers{loans: map[string]*loan{}} }

// Of returns the keys that are lent for a machine, none when nobody lends.
func (s *Signers) Of(machine string) []ssh.Signer {
	s.mu.Lock()
	defer s.mu.Unlock()
	l, ok := s.loans[machine]
	if !ok {
		return nil
	}
	signers := make([]ssh.Signer, len(l.keys))
	for i, key := range l.keys {
		signers[i] = lentKey{loan: l, key: key}
	}
	return signers
}

// loan is one caller's ssh-agent at the other end of a stream.
type loan struct {
	ctx  context.Context //nolint:containedctx // ssh.Signer has none; the loan's life is the stream's
	keys []ssh.PublicKey
	send func(*controllerv1.OfferSignerResponse) error

	mu      sync.Mutex
	last    uint64
	answers map[uint64]chan *controllerv1.SignerAnswer
}

// lentKey is one key of a loan.
type lentKey struct {
	loan *loan
	key  ssh.PublicKey
}

// PublicKey implements ssh.Signer.
func (k lentKey) PublicKey() ssh.PublicKey { return k.key }

// Sign implements ssh.Signer.
func (k lentKey) Sign(random io.Reader, data []byte) (*ssh.Signature, error) {
	return k.SignWithAlgorithm(random, data, "")
}

// SignWithAlgorithm implements ssh.AlgorithmSigner.
func (k lentKey) SignWithAlgorithm(_ io.Reader, data []byte, algorithm string) (*ssh.Signature, error) {
	var flags agent.SignatureFlags
	switch algorithm {
	case ssh.KeyAlgoRSASHA256:
		flags = agent.SignatureFlagRsaSha256
	case ssh.KeyAlgoRSASHA512:
		flags = agent.SignatureFlagRsaSha512
	}
	answer, err := k.loan.ask(&controllerv1.OfferSignerResponse{PublicKey: k.key.Marshal(), Data: data, Flags: uint32(flags)})
	if err != nil {
		return nil, err
	}
	if answer.GetError() != "" {
		return nil, errors.New("the caller's ssh-agent did not sign")
	}
	signature := new(ssh.Signature)
	if err := ssh.Unmarshal(answer.GetSignature(), signature); err != nil {
		return nil, fmt.Errorf("the caller's ssh-agent: %w", err)
	}
	return signature, nil
}

func (l *loan) ask(question *controllerv1.OfferSignerResponse) (*controllerv1.SignerAnswer, error) {
	ctx, cancel := context.WithTimeout(l.ctx, signLimit)
	defer cancel()
	answer := make(chan *controllerv1.SignerAnswer, 1)
	l.mu.Lock()
	l.last++
	question.Id = l.last
	l.answers[question.Id] = answer
	err := l.send(question) // one at a time, under the lock
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.answers, question.Id)
	}()
	if err != nil {
		return nil, err
	}
	select {
	case a := <-answer:
		return a, nil
	case <-ctx.Done():
		return nil, errors.New("the caller's ssh-agent did not answer")
	}
}

func (l *loan) answered(a *controllerv1.SignerAnswer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if waiting, ok := l.answers[a.GetId()]; ok {
		delete(l.answers, a.GetId())
		waiting <- a
	}
}

// sessionService implements controllerv1.SessionServiceServer.
type sessionService struct {
	controllerv1.UnimplementedSessionServiceServer
	server *Server
}

func (s *sessionService) OfferSigner(stream grpc.BidiStreamingServer[controllerv1.OfferSignerRequest, controllerv1.OfferSignerResponse]) error {
	const op = "api.OfferSigner"
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	offer := first.GetOffer()
	if offer.GetMachine() == "" || len(offer.GetPublicKeys()) == 0 || len(offer.GetPublicKeys()) > maxLentKeys {
		return fault.E(op, fault.Invalid, offer.GetMachine(), fmt.Errorf("an offer names a machine and 1 to %d keys", maxLentKeys))
	}
	l := &loan{ctx: stream.Context(), send: stream.Send, answers: map[uint64]chan *controllerv1.SignerAnswer{}}
	for _, wire := range offer.GetPublicKeys() {
		key, err := ssh.ParsePublicKey(wire)
		if err != nil {
			return fault.E(op, fault.Invalid, offer.GetMachine(), fmt.Errorf("a key that is offered: %w", err))
		}
		l.keys = append(l.keys, key)
	}
	if err := s.server.Signers.lend(offer.GetMachine(), l); err != nil {
		return err
	}
	defer s.server.Signers.end(offer.GetMachine(), l)
	// An empty question tells the caller that its offer stands.
	if err := l.send(&controllerv1.OfferSignerResponse{}); err != nil {
		return err
	}
	for {
		message, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		l.answered(message.GetAnswer())
	}
}

func (s *sessionService) OpenTunnel(stream grpc.BidiStreamingServer[controllerv1.OpenTunnelRequest, controllerv1.OpenTunnelResponse]) error {
	return s.server.config.Tunnels.Serve(stream, identityOf(stream.Context()).subject)
}

func (s *Signers) lend(machine string, l *loan) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, taken := s.loans[machine]; taken {
		return fault.New("api.OfferSigner", fault.Exists, machine, "somebody else lends an ssh-agent to this machine already")
	}
	s.loans[machine] = l
	return nil
}

func (s *Signers) end(machine string, l *loan) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.loans[machine] == l {
		delete(s.loans, machine)
	}
}
