package api

import (
	"crypto/ed25519"
	"crypto/rand"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	controllerv1 "mctl/proto/mctl/controller/v1"
)

// lender is a caller who lends an ssh-agent with one key.
type lender struct {
	stream controllerv1.SessionService_OfferSignerClient
	signer ssh.Signer
}

func (w *world) lend(t *testing.T, machine string) (*lender, error) {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := controllerv1.NewSessionServiceClient(w.local()).OfferSigner(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	offer := &controllerv1.SignerOffer{Machine: machine, PublicKeys: [][]byte{signer.PublicKey().Marshal()}}
	if err := stream.Send(&controllerv1.OfferSignerRequest{Message: &controllerv1.OfferSignerRequest_Offer{Offer: offer}}); err != nil {
		t.Fatal(err)
	}
	_, err = stream.Recv() // that the offer stands
	return &lender{stream, signer}, err
}

// answer takes one question and answers it: by a signature, or by what say makes of it.
func (l *lender) answer(t *testing.T, say func(*controllerv1.SignerAnswer)) {
	t.Helper()
	question, err := l.stream.Recv()
	if err != nil {
		t.Error(err)
		return
	}
	signature, err := l.signer.Sign(rand.Reader, question.GetData())
	if err != nil {
		t.Error(err)
		return
	}
	answer := &controllerv1.SignerAnswer{Id: question.GetId(), Signature: ssh.Marshal(signature)}
	say(answer)
	if err := l.stream.Send(&controllerv1.OfferSignerRequest{Message: &controllerv1.OfferSignerRequest_Answer{Answer: answer}}); err != nil {
		t.Error(err)
	}
}

func TestALentAgentSignsForItsMachineAsLongAsItIsLent(t *testing.T) {
	w := newWorld(t)
	l, err := w.lend(t, "web")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.lend(t, "web"); status.Code(err) != codes.AlreadyExists {
		t.Errorf("a second lender: %v", err)
	}
	if len(w.server.Signers.Of("db")) != 0 {
		t.Error("it is lent to another machine")
	}
	signers := w.server.Signers.Of("web")
	if len(signers) != 1 {
		t.Fatalf("%d keys", len(signers))
	}
	for name, c := range map[string]struct {
		say  func(*controllerv1.SignerAnswer)
		good bool
	}{
		"a signature": {func(*controllerv1.SignerAnswer) {}, true},
		"a refusal":   {func(a *controllerv1.SignerAnswer) { a.Signature, a.Error = nil, "secret words" }, false},
		"nonsense":    {func(a *controllerv1.SignerAnswer) { a.Signature = []byte("x") }, false},
	} {
		done := make(chan struct{})
		go func() { defer close(done); l.answer(t, c.say) }()
		data := []byte("session " + name)
		signature, err := signers[0].Sign(rand.Reader, data)
		<-done
		if c.good && (err != nil || signers[0].PublicKey().Verify(data, signature) != nil) || !c.good && err == nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	asked := make(chan error, 1)
	go func() {
		_, err := signers[0].Sign(rand.Reader, []byte("x"))
		asked <- err
	}()
	if _, err := l.stream.Recv(); err != nil {
		t.Fatal(err)
	}
	if err := l.stream.CloseSend(); err != nil { // the caller goes away with the question open
		t.Fatal(err)
	}
	if err := <-asked; err == nil {
		t.Error("nobody answered, and it is signed")
	}
	tick, limit := time.NewTicker(time.Millisecond), time.After(5*time.Second)
	defer tick.Stop()
	for len(w.server.Signers.Of("web")) != 0 {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatal("the loan lasts on")
		}
	}
	if _, err := w.lend(t, "web"); err != nil {
		t.Errorf("lent anew: %v", err)
	}
}

func TestBadOffersAreRefused(t *testing.T) {
	w := newWorld(t)
	client := controllerv1.NewSessionServiceClient(w.local())
	good := [][]byte{{0}}
	for name, offer := range map[string]*controllerv1.SignerOffer{
		"no machine": {PublicKeys: good}, "no key": {Machine: "web"}, "no key at all": {Machine: "web", PublicKeys: good},
		"too many": {Machine: "web", PublicKeys: make([][]byte, maxLentKeys+1)}, "nothing": nil,
	} {
		stream, err := client.OfferSigner(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := stream.Send(&controllerv1.OfferSignerRequest{Message: &controllerv1.OfferSignerRequest_Offer{Offer: offer}}); err != nil {
			t.Fatal(err)
		}
		if _, err := stream.Recv(); status.Code(err) != codes.InvalidArgument {
			t.Errorf("%s: %v", name, err)
		}
	}
}
