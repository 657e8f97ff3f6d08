package machine

import (
	"context"
	"testing"

	"mctl/internal/controller/driver"
	"mctl/internal/fault"
)

// keyed is a driver whose maker makes the key, and that tells what it makes while it makes it.
type keyed struct {
	*cloud
	during func() // Create, after the state was kept
}

func (k keyed) Create(ctx context.Context, m driver.Machine) (driver.Instance, error) {
	if m.State == nil {
		if err := m.Keep([]byte("half")); err != nil {
			return driver.Instance{}, err
		}
	}
	k.during()
	return k.cloud.Create(ctx, m)
}

func (k keyed) Key(m driver.Machine) ([]byte, error) {
	return append([]byte("key in "), m.State...), nil
}

func TestWhatADriverKeepsIsStoredWhileItsCreateIsUnderWay(t *testing.T) {
	w := newWorld(t)
	stored := ""
	w.more = drivers{"keyed": keyed{w.cloud, func() {
		m, err := w.service.load(t.Context(), "web", true)
		if err != nil {
			t.Fatal(err)
		}
		stored = string(m.Status.ProviderState)
	}}}
	w.restart()
	w.cloud.faults = []error{nil, fault.New("cloud", fault.Unavailable, "", "later")}
	w.create("web", "keyed", func(s *Spec) { s.AuthorizedKeys = []string{"ssh-ed25519 AAAA caller"} })
	m := w.stepUntil("web", Running)
	if stored != "half" || m.Status.Failure != nil {
		t.Errorf("stored during Create: %q, then %+v", stored, m.Status.Failure)
	}
	target := w.ssh.targets[0]
	if key := string(target.Key); key != "key in "+string(w.state("web")) || len(target.Authorize) != 1 || target.Authorize[0] != "ssh-ed25519 AAAA caller" {
		t.Errorf("first contact logs in with %q and lets in %q", key, target.Authorize)
	}
}

// state is what a machine's driver returned last.
func (w *world) state(name string) []byte {
	w.t.Helper()
	m, err := w.service.load(w.t.Context(), name, true)
	if err != nil {
		w.t.Fatal(err)
	}
	return m.Status.ProviderState
}
