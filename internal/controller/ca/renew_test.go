package ca

import (
	"crypto/x509"
	"testing"
	"time"

	"mctl/internal/fault"
	"mctl/internal/pki"
)

const day = 24 * time.Hour

func TestAgentsRenewAtHalfLifeAndAtOnceWhatSomebodyWantsGone(t *testing.T) {
	f := newFixture(t)
	leaf, _ := f.enrolled("machine:1")
	at := pki.RenewAt(leaf.NotBefore, leaf.NotAfter, pki.Spread(leaf))
	if after := f.RenewAfter(leaf); f.now.Add(after).Sub(at).Abs() > time.Second {
		t.Errorf("after %s, want at %s", after, at)
	}
	*f.now = f.now.Add(80 * day)
	if after := f.RenewAfter(leaf); after != 0 {
		t.Errorf("past its half life: after %s", after)
	}
	fresh, _ := f.enrolled("machine:1")
	if after := f.RenewAfter(fresh); after < 30*day {
		t.Errorf("a fresh one: after %s", after)
	}
	f.config.Lifetimes.Agent = 30 * day
	if after := f.RenewAfter(fresh); after != 0 {
		t.Errorf("one that lives longer than what is issued now: after %s", after)
	}
	shorter, _ := f.enrolled("machine:1")
	if after := f.RenewAfter(shorter); after < 10*day {
		t.Errorf("one of the new life: after %s", after)
	}
	other := newFixture(t)
	foreign, _ := other.enrolled("machine:1")
	if after := f.RenewAfter(foreign); after != 0 {
		t.Errorf("one of another key: after %s", after)
	}
}

func TestAControllerOffFor100DaysAndAHostFor300ComeBack(t *testing.T) {
	f := newFixture(t)
	leaf, csr := f.enrolled("machine:1")
	gone, goneCSR := f.enrolled("machine:2")
	if err := f.Revoke(t.Context(), "machine:2"); err != nil {
		t.Fatal(err)
	}
	began := *f.now
	for _, off := range []time.Duration{100 * day, 300 * day} {
		*f.now = began.Add(off)
		f.CA = f.open() // as a controller that starts after so long
		if subject, expired, err := f.VerifyPeer(t.Context(), []*x509.Certificate{leaf}); err != nil || !expired || subject != "machine:1" {
			t.Errorf("after %s: %q, %t, %v", off, subject, expired, err)
		}
		chain, _, err := f.Renew(t.Context(), leaf, csr)
		if err != nil {
			t.Fatalf("after %s: %v", off, err)
		}
		if _, expired, err := f.VerifyPeer(t.Context(), []*x509.Certificate{parse(t, chain[0])}); err != nil || expired {
			t.Errorf("renewed after %s: %t, %v", off, expired, err)
		}
		if _, _, err := f.Renew(t.Context(), gone, goneCSR); !fault.Is(err, fault.Denied) {
			t.Errorf("one that was revoked, after %s: %v", off, err)
		}
		served, err := f.serve()
		if err != nil || f.now.Before(served.Leaf.NotBefore) || f.now.After(served.Leaf.NotAfter) {
			t.Errorf("the controller's own, after %s: %v", off, err)
		}
	}
	*f.now = leaf.NotAfter.Add(401 * day)
	if _, _, err := f.Renew(t.Context(), leaf, csr); !fault.Is(err, fault.Denied) {
		t.Errorf("after more than the grace: %v", err)
	}
}

func TestCertificatesCanLookAsOldAsATestWantsThem(t *testing.T) {
	f := newFixture(t)
	f.config.Lifetimes.Earlier = 300 * day
	leaf, _ := f.enrolled("machine:1")
	if want := f.now.Add(f.config.Lifetimes.Agent - 300*day); !leaf.NotAfter.Equal(want) {
		t.Errorf("it ends at %s, want %s", leaf.NotAfter, want)
	}
	if served, err := f.serve(); err != nil || f.now.After(served.Leaf.NotAfter) {
		t.Errorf("the controller's own: %v", err)
	}
}

func TestATicketLivesAsLongAsItIsTold(t *testing.T) {
	f := newFixture(t)
	ticket, err := f.IssueTicket(t.Context(), "machine:1", 30*time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	_, csr := newRequest(t)
	*f.now = f.now.Add(29 * time.Minute)
	if _, _, err := f.Enroll(t.Context(), ticket.Text(), csr); err != nil {
		t.Errorf("within its life: %v", err)
	}
	if ticket, err = f.IssueTicket(t.Context(), "machine:1", 30*time.Minute); err != nil {
		t.Fatal(err)
	}
	*f.now = f.now.Add(31 * time.Minute)
	if _, _, err := f.Enroll(t.Context(), ticket.Text(), csr); !fault.Is(err, fault.Unauthenticated) {
		t.Errorf("after its life: %v", err)
	}
}
