package machine

import (
	"testing"
	"time"

	"mctl/internal/controller/driver"
	"mctl/internal/host"
)

func TestEveryPhaseAndPowerHasDockerMachinesWord(t *testing.T) {
	for _, c := range []struct {
		status Status
		want   string
	}{
		{Status{Phase: Pending}, "Starting"}, {Status{Phase: Creating}, "Starting"}, {Status{Phase: Booting}, "Starting"},
		{Status{Phase: Joining}, "Starting"}, {Status{Phase: Installing}, "Starting"}, {Status{Phase: Starting, AppliedDigest: "d"}, "Starting"},
		{Status{Phase: Booting, AppliedDigest: "d"}, "Running"}, {Status{Phase: Installing, AppliedDigest: "d"}, "Running"},
		{Status{Phase: Running, Power: driver.Running}, "Running"}, {Status{Phase: Running, Power: driver.Unknown}, "Running"},
		{Status{Phase: Running, Power: driver.Paused}, "Paused"}, {Status{Phase: Running, Power: driver.Saved}, "Saved"},
		{Status{Phase: Running, Power: driver.Stopped}, "Stopped"}, {Status{Phase: Running, Power: driver.Stopping}, "Stopping"},
		{Status{Phase: Stopping}, "Stopping"}, {Status{Phase: Stopped}, "Stopped"}, {Status{Phase: Deleting}, "Stopping"},
		{Status{Phase: Running, Failure: &Failure{}}, "Error"},
	} {
		if got := state(&Machine{Status: c.status}); got != c.want {
			t.Errorf("%+v is %s, want %s", c.status, got, c.want)
		}
	}
}

func TestWhatTroublesARunningMachineIsOneSentence(t *testing.T) {
	w := newWorld(t)
	m := &Machine{UID: "u", Name: "web", Status: Status{Phase: Running, Power: driver.Running, Authority: "default", SSH: driver.SSH{Address: "192.0.2.1"}}}
	saw := func(o host.Observed) { w.hosts.observed["u"] = o }
	ends := func(control, engine time.Time) { w.rights.control, w.rights.engine = control, engine }
	for _, c := range []struct {
		name   string
		happen func()
		want   string
	}{
		{"the controller has just started", func() {}, ""},
		{"nobody came since", func() { w.now = w.now.Add(time.Minute) }, "agent not connected since 2026-11-24 12:00:00 UTC"},
		{"all is well", func() { saw(host.Observed{Connected: true, Health: &host.Health{EngineUp: true}}) }, ""},
		{"nothing is known yet", func() { saw(host.Observed{Connected: true}) }, ""},
		{"the engine is down", func() { saw(host.Observed{Connected: true, Health: &host.Health{}}) }, "docker is not running"},
		{"the engine keeps the port", func() {
			applied := host.Applied{Engine: host.EngineFacts{AwaitsRestart: "dockerd listens on tcp://:2376 itself until it restarts (x)"}}
			saw(host.Observed{Connected: true, Health: &host.Health{EngineUp: true}, Applied: applied})
		}, "dockerd listens on tcp://:2376 itself until it restarts (x); `mctl provision web` restarts it"},
		{"the host can't do it", func() {
			saw(host.Observed{Connected: true, Applied: host.Applied{Failure: &host.Failure{Message: "disk full"}}})
		}, "disk full"},
		{"the agent was lost", func() { saw(host.Observed{Since: w.now}) }, "agent not connected since 2026-11-24 12:01:00 UTC"},
		{"it is off", func() { m.Status.Power = driver.Stopped }, ""},
		{"its certificate comes to an end", func() { m.Status.Front.CertificateExpiry = w.now.Add(expiryNotice) }, "the engine's certificate expires on 2026-12-24"},
		{"there is time yet", func() { m.Status.Front.CertificateExpiry = w.now.Add(expiryNotice + time.Second) }, ""},
		{"the authorities end later", func() { ends(w.now.Add(expiryNotice+time.Second), w.now.Add(expiryNotice+time.Second)) }, ""},
		{"the control authority comes to an end", func() { ends(w.now.Add(expiryNotice), time.Time{}) }, "the control authority expires on 2026-12-24"},
		{"the engine authority has ended", func() { ends(time.Time{}, w.now) }, "the engine authority default expired on 2026-11-24"},
		{"its certificate ends with its authority", func() { m.Status.Front.CertificateExpiry = w.now }, "the engine authority default expired on 2026-11-24"},
		{"its certificate ends before both", func() {
			m.Status.Front.CertificateExpiry = w.now.Add(-24 * time.Hour)
			ends(w.now.Add(time.Hour), w.now.Add(time.Hour))
		}, "the engine's certificate expired on 2026-11-23; the engine authority default expires on 2026-11-24; the control authority expires on 2026-11-24"},
		{"they are new again", func() {
			m.Status.Front.CertificateExpiry = time.Time{}
			ends(time.Time{}, time.Time{})
		}, ""},
		{"it is parked", func() { m.Status.Failure = &Failure{Message: "no room"} }, "no room"},
		{"both", func() { m.Status.Front.CertificateExpiry = w.now.Add(-time.Hour) }, "no room; the engine's certificate expired on 2026-11-24"},
	} {
		c.happen()
		if got := w.service.View(m).Error; got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}
