// Package signer lends the caller's ssh-agent to the controller for as long as one command runs: the controller asks for
// signatures, keys stay where they are.
package signer

import (
	"context"
	"errors"
	"io"
	"net"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"mctl/internal/fault"
	"mctl/internal/mctl/dial"
	controllerv1 "mctl/proto/mctl/controller/v1"
)

const (
	// ackLimit is how long the controller may take to take note of an offer.
	ackLimit = 10 * time.Second
	// maxKeys is how many keys a controller takes; a host's sshd gives up long before.
	maxKeys = 32
	// listLimit is how long an agent may take to list its keys; a forwarded one is as far away as its owner.
	listLimit = 10 * time.Second
)

// Loan is an agent on loan. It must be returned.
type Loan struct {
	cancel context.CancelFunc
	done   chan struct{}
	err    error // why it ended; set before done is closed
}

// Lend offers the agent at socket (SSH_AUTH_SOCK) for one machine. An agent that is not there or has no keys is
// fault.Precondition.
func Lend(ctx context.Context, client *dial.Client, socket, machine string) (*Loan, error) {
	const op = "signer.Lend"
	refuse := func(sentence string) error {
		return fault.New(op, fault.Precondition, machine, sentence).
			WithHint("name a key with --generic-ssh-key, or load one with ssh-add").WithReason(fault.ReasonPrecheck)
	}
	if socket == "" {
		return nil, refuse("no SSH key is named and no ssh-agent is running")
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", socket)
	if err != nil {
		return nil, refuse("no SSH key is named and the ssh-agent does not answer")
	}
	// An agent may wait for its owner, to list or to sign; that must not hold up the end.
	ctx, cancel := context.WithCancel(ctx)
	context.AfterFunc(ctx, func() { _ = conn.Close() })
	keys := agent.NewClient(conn)
	_ = conn.SetDeadline(time.Now().Add(listLimit))
	list, err := keys.List()
	_ = conn.SetDeadline(time.Time{})
	if err != nil || len(list) == 0 {
		defer cancel()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, refuse("no SSH key is named and the ssh-agent has none")
	}
	offer := &controllerv1.SignerOffer{Machine: machine}
	for _, key := range list[:min(len(list), maxKeys)] {
		offer.PublicKeys = append(offer.PublicKeys, key.Blob)
	}
	stream, err := client.Sessions.OfferSigner(ctx)
	if err == nil {
		err = stream.Send(&controllerv1.OfferSignerRequest{Message: &controllerv1.OfferSignerRequest_Offer{Offer: offer}})
	}
	if errors.Is(err, io.EOF) { // it was refused already, and only receiving tells why
		_, err = stream.Recv()
	}
	if err != nil {
		cancel()
		return nil, err
	}
	loan := &Loan{cancel: cancel, done: make(chan struct{})}
	noted := make(chan struct{})
	go func() {
		defer close(loan.done)
		defer cancel()
		loan.err = serve(stream, keys, func() { close(noted) })
	}()
	// The controller says so when it has noted the offer; one that does not is given a moment.
	timer := time.NewTimer(ackLimit)
	defer timer.Stop()
	select {
	case <-noted:
	case <-timer.C:
	case <-loan.done:
		select {
		case <-noted: // it began and ended
		default:
			return nil, loan.err
		}
	}
	return loan, nil
}

// Return takes the agent back. May be repeated, and called on nil.
func (l *Loan) Return() {
	if l != nil {
		l.cancel()
		<-l.done
	}
}

func serve(stream controllerv1.SessionService_OfferSignerClient, keys agent.ExtendedAgent, noted func()) error {
	for first := true; ; first = false {
		ask, err := stream.Recv()
		if err != nil {
			return err
		}
		if first {
			noted()
		}
		if ask.GetId() == 0 {
			continue // no question: it tells that the offer stands
		}
		answer := sign(keys, ask)
		if err := stream.Send(&controllerv1.OfferSignerRequest{Message: &controllerv1.OfferSignerRequest_Answer{Answer: answer}}); err != nil {
			return err
		}
	}
}

// sign has the agent sign what the controller must show a host to log in, and nothing else.
func sign(keys agent.ExtendedAgent, ask *controllerv1.OfferSignerResponse) *controllerv1.SignerAnswer {
	answer := &controllerv1.SignerAnswer{Id: ask.GetId()}
	key, err := ssh.ParsePublicKey(ask.GetPublicKey())
	if err == nil && !isLogin(ask.GetData()) {
		err = errors.New("only a login is signed for")
	}
	var signature *ssh.Signature
	if err == nil {
		signature, err = keys.SignWithFlags(key, ask.GetData(), agent.SignatureFlags(ask.GetFlags()))
	}
	if err != nil {
		answer.Error = err.Error()
		return answer
	}
	answer.Signature = ssh.Marshal(signature)
	return answer
}

// isLogin reports whether data is what RFC 4252 has a client sign to log in: a session's id, then a userauth request for
// publickey. Anything else could be used against the key's owner.
func isLogin(data []byte) bool {
	var request struct {
		Session []byte
		Type    byte
		User    string
		Service string
		Method  string
		Rest    []byte `ssh:"rest"`
	}
	const userauthRequest = 50
	return ssh.Unmarshal(data, &request) == nil && len(request.Session) >= 20 &&
		request.Type == userauthRequest && request.Service == "ssh-connection" &&
		(request.Method == "publickey" || request.Method == "publickey-hostbound-v00@openssh.com")
}
