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
	m := &Machine{UID: "u", Name: "web", Status: Status{Phase: Running, Power: driver.Running, SSH: driver.SSH{Address: "192.0.2.1"}}}
	saw := func(o host.Observed) { w.hosts.observed["u"] = o }
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
		{"it is parked", func() { m.Status.Failure = &Failure{Message: "no room"} }, "no room"},
		{"both", func() { m.Status.Front.CertificateExpiry = w.now.Add(-time.Hour) }, "no room; the engine's certificate expired on 2026-11-24"},
	} {
		c.happen()
		if got := w.service.View(m).Error; got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}
