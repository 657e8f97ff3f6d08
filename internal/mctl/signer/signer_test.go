package signer_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"mctl/internal/fault"
	"mctl/internal/mctl/controllertest"
	"mctl/internal/mctl/signer"
	controllerv1 "mctl/proto/mctl/controller/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve is an ssh-agent at a socket, until the test ends.
func serve(t *testing.T, keys agent.Agent) string {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "agent")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	group.Go(func() {
		for conn, err := listener.Accept(); err == nil; conn, err = listener.Accept() {
			group.Go(func() { _ = agent.ServeAgent(keys, conn); conn.Close() })
		}
	})
	t.Cleanup(func() { listener.Close(); group.Wait() })
	return socket
}

func keyring(t *testing.T, n int) (agent.Agent, []ssh.PublicKey) {
	t.Helper()
	keys := agent.NewKeyring()
	var public []ssh.PublicKey
	for range n {
		_, private, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		if err := keys.Add(agent.AddedKey{PrivateKey: private}); err != nil {
			t.Fatal(err)
		}
		key, err := ssh.NewPublicKey(private.Public())
		if err != nil {
			t.Fatal(err)
		}
		public = append(public, key)
	}
	return keys, public
}

// login is what RFC 4252 has a client sign.
func login(service, method string, session []byte) []byte {
	return ssh.Marshal(struct {
		Session []byte
		Type    byte
		User    string
		Service string
		Method  string
		Has     bool
		Algo    string
		Key     []byte
	}{session, 50, "root", service, method, true, "ssh-ed25519", []byte("key")})
}

func TestAgentOnLoanSignsLoginsAndNothingElse(t *testing.T) {
	keys, public := keyring(t, 1)
	_, strangers := keyring(t, 1)
	c := controllertest.New(t)
	session := make([]byte, 32)
	type outcome struct {
		what   string
		good   bool
		answer *controllerv1.SignerAnswer
		err    error
	}
	outcomes := make(chan outcome, 10)
	c.Borrow = func(offer *controllerv1.SignerOffer, ask func(*controllerv1.OfferSignerResponse) (*controllerv1.SignerAnswer, error)) {
		defer close(outcomes)
		if offer.GetMachine() != "web" || len(offer.GetPublicKeys()) != 1 {
			outcomes <- outcome{what: "an offer of one key", err: fault.New("test", fault.Internal, "", offer.String())}
		}
		for i, q := range []struct {
			what string
			key  []byte
			data []byte
			good bool
		}{
			{"a login", public[0].Marshal(), login("ssh-connection", "publickey", session), true},
			{"a login bound to its host", public[0].Marshal(), login("ssh-connection", "publickey-hostbound-v00@openssh.com", session), true},
			{"a file", public[0].Marshal(), []byte("SSHSIG\x00\x00\x00\x00 a document of somebody"), false},
			{"another service", public[0].Marshal(), login("ssh-userauth", "publickey", session), false},
			{"another method", public[0].Marshal(), login("ssh-connection", "hostbased", session), false},
			{"no session", public[0].Marshal(), login("ssh-connection", "publickey", nil), false},
			{"nothing", public[0].Marshal(), nil, false},
			{"no key", []byte("x"), login("ssh-connection", "publickey", session), false},
			{"a stranger's key", strangers[0].Marshal(), login("ssh-connection", "publickey", session), false},
		} {
			answer, err := ask(&controllerv1.OfferSignerResponse{Id: uint64(i + 1), PublicKey: q.key, Data: q.data})
			if q.good && err == nil {
				var signature ssh.Signature
				if err = ssh.Unmarshal(answer.GetSignature(), &signature); err == nil {
					err = public[0].Verify(q.data, &signature)
				}
			}
			outcomes <- outcome{q.what, q.good, answer, err}
		}
	}
	loan, err := signer.Lend(t.Context(), c.Client(), serve(t, keys), "web")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for o := range outcomes {
		n++
		if o.err != nil || (o.answer.GetError() == "") != o.good || (len(o.answer.GetSignature()) > 0) != o.good {
			t.Errorf("%s: %v, %v", o.what, o.answer, o.err)
		}
	}
	if n != 9 {
		t.Errorf("%d questions were answered", n)
	}
	loan.Return()
	loan.Return()
	(*signer.Loan)(nil).Return()
}

func TestNoAgentIsAnErrorWithAHint(t *testing.T) {
	empty, _ := keyring(t, 0)
	c := controllertest.New(t)
	for want, socket := range map[string]string{
		"no SSH key is named and no ssh-agent is running":       "",
		"no SSH key is named and the ssh-agent does not answer": filepath.Join(t.TempDir(), "nosuch"),
		"no SSH key is named and the ssh-agent has none":        serve(t, empty),
	} {
		loan, err := signer.Lend(t.Context(), c.Client(), socket, "web")
		if loan != nil || err == nil || err.Error() != want || fault.HintOf(err) == "" || fault.ReasonOf(err) != fault.ReasonPrecheck {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

func TestRefusalOfTheControllerIsTold(t *testing.T) {
	keys, _ := keyring(t, 1)
	c := controllertest.New(t)
	c.Refuse = func(string) error { return fault.New("test", fault.Exists, "web", "somebody else lends one") }
	loan, err := signer.Lend(t.Context(), c.Client(), serve(t, keys), "web")
	if loan != nil || !fault.Is(err, fault.Exists) {
		t.Errorf("%v", err)
	}
}

func TestManyKeysAreCutToWhatAControllerTakes(t *testing.T) {
	keys, _ := keyring(t, 40)
	c := controllertest.New(t)
	offered := make(chan int, 1)
	c.Borrow = func(offer *controllerv1.SignerOffer, _ func(*controllerv1.OfferSignerResponse) (*controllerv1.SignerAnswer, error)) {
		offered <- len(offer.GetPublicKeys())
	}
	loan, err := signer.Lend(t.Context(), c.Client(), serve(t, keys), "web")
	if err != nil {
		t.Fatal(err)
	}
	defer loan.Return()
	if n := <-offered; n != 32 {
		t.Errorf("%d keys were offered", n)
	}
}

// stubborn is an agent that waits for its owner's consent to a signature.
type stubborn struct {
	agent.Agent
	asked, release chan struct{}
}

func (s stubborn) Sign(ssh.PublicKey, []byte) (*ssh.Signature, error) {
	close(s.asked)
	<-s.release
	return nil, fault.New("test", fault.Denied, "", "no")
}

func TestAgentThatWaitsForConsentDoesNotHoldUpTheEnd(t *testing.T) {
	keys, public := keyring(t, 1)
	slow := stubborn{keys, make(chan struct{}), make(chan struct{})}
	socket := serve(t, slow)
	t.Cleanup(func() { close(slow.release) })
	c := controllertest.New(t)
	c.Borrow = func(_ *controllerv1.SignerOffer, ask func(*controllerv1.OfferSignerResponse) (*controllerv1.SignerAnswer, error)) {
		_, _ = ask(&controllerv1.OfferSignerResponse{Id: 1, PublicKey: public[0].Marshal(), Data: login("ssh-connection", "publickey", make([]byte, 32))})
	}
	loan, err := signer.Lend(t.Context(), c.Client(), socket, "web")
	if err != nil {
		t.Fatal(err)
	}
	<-slow.asked
	returned := make(chan struct{})
	go func() { loan.Return(); close(returned) }()
	select {
	case <-returned:
	case <-time.After(10 * time.Second):
		t.Fatal("the loan does not end")
	}
}

func TestAgentThatNeverAnswersDoesNotHoldUpWhoGivesUp(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "agent")
	listener, err := net.Listen("unix", socket) // nobody accepts
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	c := controllertest.New(t)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := signer.Lend(ctx, c.Client(), socket, "web"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
}
