package machine

import (
	"context"
	"strings"
	"testing"
	"time"

	"mctl/internal/controller/driver"
	"mctl/internal/fault"
	"mctl/internal/host"
)

// booting is a cloud whose hosts join by their user data.
type booting struct {
	*cloud
	created, handed []string // values
	err             error    // of the next BootUserData
}

func (b *booting) Flags() []driver.Flag {
	return append(b.cloud.Flags(), driver.BootstrapFlag("boots", ""))
}

func (b *booting) Create(ctx context.Context, m driver.Machine) (driver.Instance, error) {
	if m.UserData != nil {
		b.created = append(b.created, string(m.UserData.Values))
	}
	return b.cloud.Create(ctx, m)
}

func (b *booting) BootUserData(ctx context.Context, m driver.Machine) (driver.Instance, error) {
	b.handed = append(b.handed, string(m.UserData.Values))
	if err := b.err; err != nil {
		b.err = nil
		return driver.Instance{}, err
	}
	return b.Inspect(ctx, m)
}

func newBootingWorld(t *testing.T) (*world, *booting) {
	w := newWorld(t)
	b := &booting{cloud: w.cloud}
	w.more, w.advertise = drivers{"boots": b}, []string{"ctl.example:4000"}
	w.restart()
	return w, b
}

func byUserData(s *Spec) {
	s.Options = driver.Options{"boots-bootstrap": {Values: []string{driver.BootstrapUserData}}}
}

func TestAHostThatJoinsByItsUserDataIsNeverLoggedInTo(t *testing.T) {
	w, b := newBootingWorld(t)
	w.cloud.afterMake = fault.New("cloud", fault.Unavailable, "", "the answer got lost")
	w.create("web", "boots", byUserData, func(s *Spec) { s.Waits.Boot = time.Hour })
	m := w.running("web")
	if len(w.ssh.installed) != 0 || len(b.handed) != 0 {
		t.Errorf("logged in %d times, handed over %d times", len(w.ssh.installed), len(b.handed))
	}
	if len(b.created) != 2 || b.created[0] != b.created[1] || !strings.HasSuffix(b.created[0], "control CA") {
		t.Errorf("the host was made with %q", b.created)
	}
	if len(w.rights.issued) != 1 || w.rights.issued[0] != "machine:"+m.UID || w.rights.life != time.Hour {
		t.Errorf("tickets for %v, the last lives %s", w.rights.issued, w.rights.life)
	}
	stored, err := w.service.load(t.Context(), "web", true)
	if err != nil || stored.BootTicket != nil || stored.Status.Link != host.WayDirect {
		t.Errorf("%v: the ticket that was used up is kept, or the way is %s", err, stored.Status.Link)
	}
}

func TestARetryHandsOverAFreshTicketOnce(t *testing.T) {
	w, b := newBootingWorld(t)
	w.create("web", "boots", byUserData)
	w.stepUntil("web", Joining)
	w.now = w.now.Add(defaultWaitBoot - time.Second)
	m, _ := w.step("web")
	if m.Status.Failure != nil || w.tunnels.has(m.UID) {
		t.Fatalf("parked early: %+v; a tunnel to a host without an agent: %t", m.Status.Failure, w.tunnels.has(m.UID))
	}
	w.now = w.now.Add(time.Second)
	if m, _ = w.step("web"); m.Status.Failure == nil || !strings.Contains(m.Status.Failure.Hint, "fresh join ticket") || m.Status.Phase != Booting {
		t.Fatalf("in %s: %+v", m.Status.Phase, m.Status.Failure)
	}
	b.err = fault.New("cloud", fault.Unavailable, "", "try again")
	w.edit("web", func(s *Spec) { s.Retry++ })
	w.running("web")
	if len(b.handed) != 2 || b.handed[0] != b.handed[1] || b.handed[0] == b.created[0] {
		t.Errorf("made with %q, handed over %q", b.created, b.handed)
	}
	if len(w.rights.issued) != 2 {
		t.Errorf("%d tickets", len(w.rights.issued))
	}
}

func TestUserDataNeedAnAddressOfOurs(t *testing.T) {
	w, _ := newBootingWorld(t)
	w.advertise = nil
	w.restart()
	spec := Spec{Driver: "boots", Options: driver.Options{"boots-bootstrap": {Values: []string{"userdata"}}}}
	if _, err := w.service.Create(t.Context(), "", "web", spec, false); !fault.Is(err, fault.Precondition) || !strings.Contains(fault.HintOf(err), "--advertise") {
		t.Errorf("nobody says where we are: %v (%s)", err, fault.HintOf(err))
	}
	w.advertise = []string{"ctl.example:4000"}
	w.restart()
	spec.Link = host.LinkSSH
	if _, err := w.service.Create(t.Context(), "", "web", spec, false); !fault.Is(err, fault.Precondition) {
		t.Errorf("a link over SSH: %v", err)
	}
}
