package link_test

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"mctl/internal/agent/link"
	"mctl/internal/controller/agentlink"
	"mctl/internal/controller/event"
	"mctl/internal/fault"
	"mctl/internal/host"
	"mctl/internal/pki"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const endpoint = "controller:1"

// bubble runs a test in its own time with one controller and one agent that has a ticket.
func bubble(t *testing.T, run func(t *testing.T, c *controller, a *agent)) {
	synctest.Test(t, func(t *testing.T) {
		authority := newAuthority(t)
		c := authority.start(t)
		n := &network{ports: map[string]*controller{endpoint: c}}
		a := newAgent(t, n, link.Settings{MachineUID: uid, Ticket: authority.ticket(uid), Endpoints: []string{endpoint}})
		run(t, c, a)
		c.stop()
		synctest.Wait()
	})
}

func wish(generation uint64, labels ...string) agentlink.Wish {
	return agentlink.Wish{
		Name: "web", Authority: "default", Endpoints: []string{endpoint},
		Desired: host.Desired{Generation: generation, Engine: host.Engine{Install: host.InstallDistro, Labels: labels}, Front: host.Front{
			Port: 2376, SANs: []string{"10.0.0.1", "web"}, ClientCA: []byte("CA"),
		}},
	}
}

func TestAHostEnrollsIsToldItsWishAndAnswers(t *testing.T) {
	bubble(t, func(t *testing.T, c *controller, a *agent) {
		c.hub.SetDesired(uid, wish(3, "a=b"))
		a.start("i1")
		until(t, 5*time.Second, "wish", func() bool { return len(a.wished()) > 0 })
		got := a.wished()[0]
		if got.Digest != wish(3, "a=b").Desired.Digest() || got.Generation != 3 || got.Desired.Digest() != got.Digest {
			t.Errorf("got the wish %+v", got)
		}
		expiry := time.Now().Add(time.Hour).UTC()
		a.link.Report(host.Applied{Generation: 3, Digest: got.Digest, Engine: host.EngineFacts{Version: "29"}, Front: host.FrontFacts{CertificateExpiry: expiry}})
		until(t, time.Second, "answer", func() bool { o, _ := c.hub.Observed(uid); return o.Applied.Digest == got.Digest })
		o, _ := c.hub.Observed(uid)
		if !o.Connected || o.Facts.Hostname != "web" || o.Applied.Engine.Version != "29" || !o.Applied.Front.CertificateExpiry.Equal(expiry) {
			t.Errorf("observed %+v", o)
		}
		until(t, 6*time.Second, "health", func() bool { o, _ := c.hub.Observed(uid); return o.Health != nil && o.Health.EngineUp })
		a.stop()
		until(t, time.Second, "lost at once", func() bool { return c.saw(event.AgentLost) == 1 })
	})
}

func TestATicketWhoseAnswerWasLostIsUsedWithTheSameKey(t *testing.T) {
	bubble(t, func(t *testing.T, c *controller, a *agent) {
		c.authority.lose = 1
		a.start("i1")
		until(t, time.Second, "first try", func() bool { return c.authority.enrolled() == 1 })
		key := a.key()
		a.stop()
		a.start("i2") // the process starts anew in between
		until(t, 5*time.Second, "connected", c.connected(uid))
		if a.key() != key {
			t.Error("the retry made another key")
		}
		a.stop()
	})
}

func TestAPinnedTicketIsNotShownToAStranger(t *testing.T) {
	bubble(t, func(t *testing.T, c *controller, a *agent) {
		stranger := newAuthority(t).start(t)
		a.network.set(endpoint, stranger)
		a.start("i1")
		pass(time.Minute)
		if stranger.authority.enrolled() != 0 {
			t.Error("the stranger saw the ticket")
		}
		a.network.set(endpoint, c)
		until(t, 2*time.Minute, "connected to the right one", c.connected(uid))
		a.stop()
		stranger.stop()
	})
}

func TestAgentsComeBackWithinSecondsOfARestart(t *testing.T) {
	bubble(t, func(t *testing.T, c *controller, a *agent) {
		a.start("i1")
		until(t, 5*time.Second, "connected", c.connected(uid))
		a.link.Report(host.Applied{Generation: 1, Digest: "d"})
		pass(time.Minute)
		c.stop()
		pass(500 * time.Millisecond)
		next := c.authority.start(t)
		a.network.set(endpoint, next)
		if took := until(t, 3*time.Second, "back", next.connected(uid)); took > 2*time.Second {
			t.Errorf("came back after %s", took)
		}
		if o, _ := next.hub.Observed(uid); o.Applied.Digest != "d" {
			t.Errorf("the new controller was told %+v", o.Applied)
		}
		a.stop()
		next.stop()
	})
}

func TestOneOfManyEndpointsIsEnough(t *testing.T) {
	bubble(t, func(t *testing.T, c *controller, a *agent) {
		stranger := newAuthority(t).start(t)
		a.network.set("hangs:1", nil)
		a.network.set("stranger:1", stranger)
		a.settings.Endpoints = []string{"hangs:1", "refuses:1", "stranger:1", endpoint}
		a.start("i1")
		if took := until(t, 10*time.Second, "connected", c.connected(uid)); took > 3*time.Second {
			t.Errorf("it took %s", took)
		}
		a.stop()
		stranger.stop()
	})
}

func TestEndpointsOfWelcomeAreDialledNextTime(t *testing.T) {
	bubble(t, func(t *testing.T, c *controller, a *agent) {
		w := wish(1)
		w.Endpoints = []string{"moved:1"}
		c.hub.SetDesired(uid, w)
		a.start("i1")
		until(t, 5*time.Second, "connected", c.connected(uid))
		pass(time.Second)
		a.stop()
		next := c.authority.start(t)
		a.network.set("moved:1", next)
		a.start("i2")
		until(t, 5*time.Second, "connected to the new place", next.connected(uid))
		a.stop()
		next.stop()
	})
}

func TestNewerWishesArriveAndTheNewestIsLast(t *testing.T) {
	bubble(t, func(t *testing.T, c *controller, a *agent) {
		a.start("i1")
		until(t, 5*time.Second, "connected", c.connected(uid))
		for g := range uint64(50) {
			c.hub.SetDesired(uid, wish(g+1, "g="+string(rune('a'+g%26))))
		}
		until(t, time.Second, "newest", func() bool { w := a.wished(); return len(w) > 0 && w[len(w)-1].Generation == 50 })
		before := len(a.wished())
		c.hub.SetDesired(uid, wish(50, "g="+string(rune('a'+49%26))))
		pass(time.Second)
		if len(a.wished()) != before {
			t.Error("the same wish was sent twice")
		}
		a.stop()
	})
}

func TestASilentPeerIsNoticedWithin15Seconds(t *testing.T) {
	bubble(t, func(t *testing.T, c *controller, a *agent) {
		a.start("i1")
		until(t, 5*time.Second, "connected", c.connected(uid))
		pass(time.Minute)
		before := a.network.dialled()
		a.network.freeze(true)
		until(t, 15*time.Second, "the controller shows it as lost", func() bool { return !c.connected(uid)() })
		until(t, 5*time.Second, "the agent dials anew", func() bool { return a.network.dialled() > before })
		a.network.freeze(false)
		until(t, 30*time.Second, "back", c.connected(uid))
		a.stop()
	})
}

func TestAClonedDiskIsReportedAndAQuickReconnectIsNot(t *testing.T) {
	bubble(t, func(t *testing.T, c *controller, a *agent) {
		a.start("i1")
		until(t, 5*time.Second, "connected", c.connected(uid))
		a.stop()
		a.start("i1")
		until(t, 5*time.Second, "connected again", c.connected(uid))
		if n := c.saw(event.DuplicateIdentity); n != 0 {
			t.Fatalf("%d duplicates for a reconnect", n)
		}
		clone := newAgent(t, a.network, a.settings)
		clone.dir = a.dir
		clone.start("i2")
		until(t, 10*time.Second, "duplicate", func() bool { return c.saw(event.DuplicateIdentity) > 0 })
		pass(10 * time.Minute)
		if dials := a.network.dialled(); dials > 100 {
			t.Errorf("the two threw each other out %d times in ten minutes", dials)
		}
		a.stop()
		clone.stop()
	})
}

func TestAnExpiredCertificateIsRenewedAndUsedAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T, c *controller, a *agent) {
		a.start("i1")
		until(t, 5*time.Second, "connected", c.connected(uid))
		key := a.key()
		a.stop() // the host is switched off for longer than its certificate lives
		pass(agentLife + 24*time.Hour)
		a.start("i2")
		if took := until(t, 10*time.Second, "back", c.connected(uid)); took > 300*time.Millisecond {
			t.Errorf("it took %s: the renewed certificate was not used at once", took)
		}
		if c.authority.renewed() != 1 || a.key() != key {
			t.Errorf("%d renewals, want one with the same key", c.authority.renewed())
		}
		a.stop()
	})
}

func TestACertificateIsRenewedInASessionThatLasts(t *testing.T) {
	bubble(t, func(t *testing.T, c *controller, a *agent) {
		c.authority.life = 4 * time.Hour // before anybody enrolls; five with its backdating: renewed two to three hours after it began
		a.start("i1")
		until(t, 5*time.Second, "connected", c.connected(uid))
		pass(50 * time.Minute)
		if n := c.authority.renewed(); n != 0 {
			t.Errorf("%d renewals before their time", n)
		}
		pass(75 * time.Minute)
		// One that was early, an hour after the start, may have been followed by one as early.
		if n := c.authority.renewed(); n != 1 && n != 2 {
			t.Errorf("%d renewals after half its life, want one", n)
		}
		if n := c.saw(event.AgentLost); n != 0 {
			t.Errorf("the session was lost %d times for it", n)
		}
		a.stop()
	})
}

func TestAHostRenewsWhenTheControllerSaysSoAndNotOverAndOver(t *testing.T) {
	bubble(t, func(t *testing.T, c *controller, a *agent) {
		a.start("i1")
		until(t, 5*time.Second, "connected", c.connected(uid))
		soon := 10 * time.Minute
		c.mu.Lock()
		c.renewAfter = &soon
		c.mu.Unlock()
		moved := wish(2)
		moved.Endpoints = []string{endpoint, "elsewhere:1"} // so that it is welcomed once more
		c.hub.SetDesired(uid, moved)
		pass(9 * time.Minute)
		if n := c.authority.renewed(); n != 0 {
			t.Fatalf("%d renewals too early", n)
		}
		pass(2 * time.Minute)
		if n := c.authority.renewed(); n != 1 {
			t.Fatalf("%d renewals, want one", n)
		}
		pass(time.Hour)
		if n := c.authority.renewed(); n != 1 {
			t.Errorf("%d renewals an hour later", n)
		}
		// A controller whose clock is wrong hands out what has ended already.
		c.authority.mu.Lock()
		c.authority.life = -30 * time.Minute
		c.authority.mu.Unlock()
		atOnce := time.Duration(0)
		c.mu.Lock()
		c.renewAfter = &atOnce
		c.mu.Unlock()
		moved.Endpoints = []string{endpoint}
		c.hub.SetDesired(uid, moved)
		pass(10 * time.Minute)
		if n := c.authority.renewed(); n < 2 || n > 12 {
			t.Errorf("%d renewals in ten minutes", n-1)
		}
		if n := c.saw(event.AgentLost); n != 0 {
			t.Errorf("the session was lost %d times for it", n)
		}
		a.stop()
	})
}

func TestANewTicketForAnotherMachineMakesAnotherIdentity(t *testing.T) {
	bubble(t, func(t *testing.T, c *controller, a *agent) {
		a.start("i1")
		until(t, 5*time.Second, "connected", c.connected(uid))
		key := a.key()
		a.stop()
		a.settings = link.Settings{MachineUID: "uid-2", Ticket: c.authority.ticket("uid-2"), Endpoints: []string{endpoint}}
		a.start("i2")
		until(t, 5*time.Second, "connected as the other", c.connected("uid-2"))
		if a.key() == key {
			t.Error("two machines share a key")
		}
		a.stop()
	})
}

func TestABadTicketDoesNotCutAHostThatHasJoined(t *testing.T) {
	bubble(t, func(t *testing.T, c *controller, a *agent) {
		a.start("i1")
		until(t, 5*time.Second, "connected", c.connected(uid))
		a.stop()
		unknown, _ := pki.NewTicket(pki.SPKIDigest(c.authority.root))
		a.settings.Ticket = unknown.Text()
		a.start("i2")
		until(t, 5*time.Second, "connected all the same", c.connected(uid))
		a.stop()
	})
}

func TestTheLastWordOfAReleasedHostEndsTheLink(t *testing.T) {
	bubble(t, func(t *testing.T, c *controller, a *agent) {
		a.start("i1")
		until(t, 5*time.Second, "connected", c.connected(uid))
		a.link.Report(host.Applied{Generation: 9, Released: true})
		if err := <-a.done; !errors.Is(err, link.ErrReleased) {
			t.Errorf("Run ended with %v", err)
		}
		if o, _ := c.hub.Observed(uid); !o.Applied.Released {
			t.Error("the controller does not know")
		}
	})
}

func TestAnAgentThatWasKilledAfterItsLastWordLeavesWhereItIsKnownNoMore(t *testing.T) {
	bubble(t, func(t *testing.T, c *controller, a *agent) {
		a.start("i1")
		until(t, 5*time.Second, "connected", c.connected(uid))
		a.stop()
		a.leaving = true
		a.start("i2")
		until(t, 5*time.Second, "connected, since the machine is there", c.connected(uid))
		c.remove()
		if err := <-a.done; !errors.Is(err, link.ErrReleased) {
			t.Errorf("Run ended with %v", err)
		}
	})
}

func TestAnAgentThatStaysIsNotSentAwayByARefusal(t *testing.T) {
	bubble(t, func(t *testing.T, c *controller, a *agent) {
		a.leaving = true
		a.start("i1")
		c.hub.SetDesired(uid, wish(1))
		until(t, 5*time.Second, "the wish that takes it back", func() bool { return len(a.wished()) > 0 })
		c.remove()
		pass(5 * time.Minute)
		select {
		case err := <-a.done:
			t.Errorf("Run ended with %v", err)
		default:
		}
		a.stop()
	})
}

func TestEventsWaitForAControllerThatIsAway(t *testing.T) {
	bubble(t, func(t *testing.T, c *controller, a *agent) {
		a.start("i1")
		until(t, 5*time.Second, "connected", c.connected(uid))
		c.stop()
		pass(time.Second)
		for range 100 {
			a.link.Emit(host.Event{Type: host.EventProgress, Time: time.Now(), Message: "working"})
		}
		a.link.Emit(host.Event{Type: host.EventEngineDown, Time: time.Now(), Message: "docker is down"})
		next := c.authority.start(t)
		a.network.set(endpoint, next)
		until(t, time.Minute, "the event", func() bool { return next.saw(host.EventEngineDown) == 1 })
		if n := next.saw(host.EventProgress); n == 0 || n > 64 {
			t.Errorf("%d lines of progress, want some and at most 64", n)
		}
		a.stop()
		next.stop()
	})
}

func TestAnEngineCertificateIsIssuedForTheWishAlone(t *testing.T) {
	bubble(t, func(t *testing.T, c *controller, a *agent) {
		key, _ := pki.NewKey()
		csr, _ := pki.NewRequest(key)
		a.start("i1")
		until(t, 5*time.Second, "connected", c.connected(uid))
		if _, err := a.link.IssueEngineCertificate(t.Context(), csr, "d"); !fault.Is(err, fault.Unavailable) {
			t.Errorf("without a wish: %v", err)
		}
		c.hub.SetDesired(uid, wish(1))
		if _, err := a.link.IssueEngineCertificate(t.Context(), csr, "old"); !fault.Is(err, fault.Conflict) {
			t.Errorf("for an old wish: %v", err)
		}
		ders, err := a.link.IssueEngineCertificate(t.Context(), csr, wish(1).Desired.Digest())
		if err != nil {
			t.Fatal(err)
		}
		chain, err := pki.ParseChain(ders)
		if err != nil {
			t.Fatal(err)
		}
		if leaf := chain[0]; leaf.Subject.CommonName != "web" || !slices.Equal(leaf.DNSNames, []string{"web"}) || len(leaf.IPAddresses) != 1 {
			t.Errorf("the certificate names %q %v %v", leaf.Subject.CommonName, leaf.DNSNames, leaf.IPAddresses)
		}
		a.stop()
	})
}

func TestAFailureOfAnOlderGenerationIsNoAnswer(t *testing.T) {
	bubble(t, func(t *testing.T, c *controller, a *agent) {
		c.hub.SetDesired(uid, wish(1))
		a.start("i1")
		until(t, 5*time.Second, "connected", c.connected(uid))
		a.link.Report(host.Applied{Generation: 1, Digest: wish(1).Desired.Digest(), Failure: &host.Failure{Kind: "precondition", Message: "no"}})
		until(t, time.Second, "failure", func() bool { o, _ := c.hub.Observed(uid); return o.Applied.Failure != nil })
		c.hub.SetDesired(uid, wish(2)) // the same wish, asked for once more
		if o, _ := c.hub.Observed(uid); o.Applied.Failure != nil {
			t.Error("the old failure answers the new question")
		}
		until(t, time.Second, "asked again", func() bool { w := a.wished(); return w[len(w)-1].Generation == 2 })
		a.stop()
	})
}

func TestOnlyWhatChangedInHealthTravelsAndAllArrives(t *testing.T) {
	bubble(t, func(t *testing.T, c *controller, a *agent) {
		a.start("i1")
		until(t, 10*time.Second, "health", func() bool { o, _ := c.hub.Observed(uid); return o.Health != nil })
		a.setHealth(func(h *host.Health) { h.EngineUp, h.ContainersRunning = false, 7 })
		until(t, 6*time.Second, "change", func() bool { o, _ := c.hub.Observed(uid); return !o.Health.EngineUp })
		if o, _ := c.hub.Observed(uid); o.Health.ContainersRunning != 7 || o.Health.MemoryTotal != 1<<30 {
			t.Errorf("merged to %+v", o.Health)
		}
		a.stop()
	})
}

func TestAChangeOfHealthNeedNotWaitAndManyDoNotFlood(t *testing.T) {
	bubble(t, func(t *testing.T, c *controller, a *agent) {
		a.start("i1")
		until(t, 10*time.Second, "health", func() bool { o, _ := c.hub.Observed(uid); return o.Health != nil })
		pass(100 * time.Millisecond)
		looks := a.looked()
		for n := range uint32(100) {
			a.setHealth(func(h *host.Health) { h.ContainersRunning = n + 1 })
			a.link.Changed()
			pass(20 * time.Millisecond)
		}
		until(t, 2*time.Second, "the last change", func() bool { o, _ := c.hub.Observed(uid); return o.Health.ContainersRunning == 100 })
		if n := a.looked() - looks; n > 5 {
			t.Errorf("looked %d times in 2 s", n)
		}
		a.stop()
	})
}
