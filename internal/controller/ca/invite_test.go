package ca

import (
	"strings"
	"testing"
	"time"

	"mctl/internal/fault"
	"mctl/internal/pki"
)

func (f *fixture) invite(requestID, subject string) (pki.Ticket, time.Time, error) {
	return f.Invite(f.t.Context(), requestID, subject)
}

func TestTheSameRequestInvitesOnce(t *testing.T) {
	f := newFixture(t)
	first, end, err := f.invite("r1", "user:alice")
	if err != nil || !end.Equal(f.now.Add(15*time.Minute)) {
		t.Fatalf("%s, %v", end, err)
	}
	*f.now = f.now.Add(time.Minute)
	again, endAgain, err := f.open().Invite(t.Context(), "r1", "user:alice") // another process
	if err != nil || again.Text() != first.Text() || !endAgain.Equal(end) {
		t.Errorf("again: %s, %v, the same %v", endAgain, err, again.Text() == first.Text())
	}
	other, _, err := f.invite("r1", "user:bob")
	if err != nil || other.Text() == first.Text() || strings.Contains(other.Text(), strings.Split(first.Text(), ".")[3]) {
		t.Errorf("another user's: %v", err)
	}
	second, _, err := f.invite("r2", "user:alice")
	if err != nil || second.Text() == first.Text() {
		t.Fatalf("another request: %v", err)
	}
	_, csr := newRequest(t)
	if _, _, err := f.Enroll(t.Context(), first.Text(), csr); !fault.Is(err, fault.Unauthenticated) {
		t.Errorf("the older ticket: %v", err)
	}
	if _, _, err := f.invite("r1", "user:alice"); !fault.Is(err, fault.NotFound) {
		t.Errorf("the first request once more: %v", err)
	}
	if _, _, err := f.Enroll(t.Context(), second.Text(), csr); err != nil {
		t.Errorf("the newer ticket: %v", err)
	}
}

func TestAnInvitationThatWasUsedIsMadeNoSecondTime(t *testing.T) {
	f := newFixture(t)
	ticket, _, err := f.invite("r1", "user:alice")
	if err != nil {
		t.Fatal(err)
	}
	_, csr := newRequest(t)
	if _, _, err := f.Enroll(t.Context(), ticket.Text(), csr); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, _, err := f.invite("r1", "user:alice"); !fault.Is(err, fault.NotFound) || fault.HintOf(err) == "" {
			t.Errorf("the same request: %v", err)
		}
		*f.now = f.now.Add(time.Hour)
	}
	_, other := newRequest(t)
	if _, _, err := f.Enroll(t.Context(), ticket.Text(), other); !fault.Is(err, fault.Unauthenticated) {
		t.Errorf("another key: %v", err)
	}
}

func TestInvitationsWithoutAnIDAreEachTheirOwn(t *testing.T) {
	f := newFixture(t)
	first, _, err := f.invite("", "user:alice")
	if err != nil {
		t.Fatal(err)
	}
	if second, _, err := f.invite("", "user:alice"); err != nil || second.Text() == first.Text() {
		t.Errorf("the same one, %v", err)
	}
}

func TestAUserWhoseCertificateExpiredNeedsANewInvitation(t *testing.T) {
	f := newFixture(t)
	leaf, csr := f.enrolled("user:alice")
	*f.now = leaf.NotAfter.Add(-time.Hour)
	if _, _, err := f.Renew(t.Context(), leaf, csr); err != nil {
		t.Errorf("before its end: %v", err)
	}
	*f.now = leaf.NotAfter.Add(time.Hour)
	if _, _, err := f.Renew(t.Context(), leaf, csr); !fault.Is(err, fault.Denied) {
		t.Errorf("after its end: %v", err)
	}
}
