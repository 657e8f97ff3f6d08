package machine

import (
	"bytes"
	"crypto/rand"
	"crypto/x509"
	"math/big"
	"strings"
	"testing"
	"time"

	"mctl/internal/controller/bootstrap"
	"mctl/internal/controller/bootstrap/sshtest"
	"mctl/internal/controller/driver"
	"mctl/internal/fault"
	"mctl/internal/host"
	"mctl/internal/pki"
)

// arrive is a machine of docker-machine's as it comes; its plugin is one that the controller does not have.
func (w *world) arrive(t *testing.T, name, driverName string, change ...func(*Arrival)) *Machine {
	t.Helper()
	_, key := sshtest.NewKey(t)
	a := Arrival{
		Name: name, Spec: Spec{Driver: driverName, Options: driver.Options{}, Engine: host.Engine{Install: host.InstallAuto}},
		SSH: driver.SSH{Address: "192.0.2.50", Port: 22, User: "docker"}, Key: key, Address: "192.0.2.50", Authority: []byte("CA"), AuthorityKey: []byte("key"),
		Import: Import{Source: "sha256:" + name, Config: []byte(`{"Token":"hunter2"}`), StorePath: "/old"},
	}
	for _, c := range change {
		c(&a)
	}
	m, known, err := w.service.Import(t.Context(), "", a)
	if err != nil || known {
		t.Fatal(known, err)
	}
	w.now = w.now.Add(importPause)
	// Once more is success, and changes nothing.
	again, known, err := w.service.Import(t.Context(), "", a)
	if err != nil || !known || again.UID != m.UID {
		t.Fatalf("once more: %v, %v", known, err)
	}
	return m
}

func TestAnImportedMachineIsTakenOverWithItsKeyAndNeverMade(t *testing.T) {
	w := newWorld(t)
	m := w.arrive(t, "web", "plugin:gone")
	if w.service.View(m).State != stateError {
		t.Errorf("at first it is %s", w.service.View(m).State)
	}
	m = w.running("web")
	target := w.ssh.targets[0]
	if w.cloud.made != 0 || target.SSH.Address != "192.0.2.50" || target.SSH.User != "docker" || !target.Adopted || !target.OwnEngine || target.Wait != 0 {
		t.Errorf("made %d, logged in to %+v", w.cloud.made, target)
	}
	if w.ssh.installed[0].Hostname != "" {
		t.Error("the host got another name")
	}
	if m.Status.Authority != "imported-1" || w.hosts.wishes[m.UID].Authority != "imported-1" {
		t.Errorf("its authority is %s", m.Status.Authority)
	}
	for _, item := range w.store.items {
		for _, secret := range []string{"hunter2", "PRIVATE KEY"} {
			if strings.Contains(string(item.Value), secret) {
				t.Errorf("%s is in the store in clear", secret)
			}
		}
	}
}

func TestAHostThatIsDownIsTakenOverWhenItIsBack(t *testing.T) {
	w := newWorld(t)
	w.ssh.check = fault.New("ssh", fault.Unavailable, "", "192.0.2.50 does not answer")
	w.arrive(t, "web", "plugin:gone")
	for range 50 {
		if _, err := w.step("web"); !fault.Is(err, fault.Unavailable) {
			t.Fatalf("it is not tried again: %v", err)
		}
		w.now = w.now.Add(time.Hour)
	}
	m, err := w.service.Get(t.Context(), "web")
	if err != nil {
		t.Fatal(err)
	}
	if view := w.service.View(m); m.Status.Failure != nil || !strings.HasPrefix(view.Error, "not taken over yet: ") || !strings.Contains(view.Error, "does not answer") {
		t.Errorf("ls says %q, failure %v", view.Error, m.Status.Failure)
	}
	if len(w.rights.issued) > 0 {
		t.Errorf("tickets for a host that is down: %v", w.rights.issued)
	}
	w.ssh.check = nil
	m = w.running("web")
	if view := w.service.View(m); view.Error != "" {
		t.Errorf("ls still says %q", view.Error)
	}
}

func TestAHostWithoutSystemdIsLeftAsItIs(t *testing.T) {
	w := newWorld(t)
	w.ssh.check = fault.New("ssh", fault.Precondition, "", "192.0.2.50 does not run systemd").WithReason(bootstrap.ReasonNoAgent)
	w.ssh.install = w.ssh.check
	w.arrive(t, "b2d", "plugin:gone")
	m := w.running("b2d")
	view := w.service.View(m)
	if m.Status.Failure != nil || view.State != stateRunning || !strings.Contains(view.Error, "no agent: 192.0.2.50 does not run systemd") {
		t.Errorf("%s, ls says %q, failure %v", view.State, view.Error, m.Status.Failure)
	}
	if len(w.hosts.wishes) > 0 || w.tunnels.has(m.UID) || m.Status.SSH.Address == "" || len(m.Status.SSH.HostKeys) == 0 {
		t.Errorf("wishes %v, login %v", w.hosts.wishes, m.Status.SSH)
	}
	w.restart()
	if m, _ = w.service.Get(t.Context(), "b2d"); m.Status.Agentless == "" {
		t.Error("it is forgotten")
	}
}

func TestWithoutItsPluginEverythingButPowerWorks(t *testing.T) {
	w := newWorld(t)
	w.arrive(t, "web", "plugin:gone")
	w.running("web")
	for verb, edit := range map[string]func(*Spec){
		"stop": func(s *Spec) { s.Power = PowerOff }, "kill": func(s *Spec) { s.Power, s.Force = PowerOff, true }, "restart": func(s *Spec) { s.Restart++ },
	} {
		_, err := w.service.Edit(t.Context(), "", verb, "web", 0, edit)
		if !fault.Is(err, fault.Precondition) || !strings.Contains(err.Error(), "can't "+verb) || !strings.Contains(err.Error(), "not found") {
			t.Errorf("%s: %v", verb, err)
		}
	}
	if _, err := w.service.Edit(t.Context(), "", "provision", "web", 0, func(s *Spec) { s.Provision++ }); err != nil {
		t.Errorf("provision: %v", err)
	}
	w.running("web")
	if _, err := w.service.Delete(t.Context(), "", "web", 0, Deletion{}); err != nil {
		t.Fatal(err)
	}
	_, _ = w.step("web")
	m, _ := w.step("web")
	if m == nil || m.Status.Failure == nil || !strings.Contains(m.Status.Failure.Message, "can't remove") {
		t.Fatalf("removed: %v", m)
	}
	// Given up on purpose, host and provider are asked for nothing.
	if _, err := w.service.Delete(t.Context(), "", "web", 0, Deletion{Abandon: true}); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		m, _ = w.step("web")
	}
	if m != nil || w.ssh.removed != 0 {
		t.Errorf("left %v, logged in %d times", m, w.ssh.removed)
	}
}

func TestAHostWithoutPowerIsNotStartedUntilSomebodyAsks(t *testing.T) {
	w := newWorld(t)
	m := w.arrive(t, "web", "cloud", func(a *Arrival) { a.Import.Config = nil })
	w.cloud.instances[m.UID] = &driver.Instance{ID: "i-7", Power: driver.Stopped}
	for range 3 {
		m, _ = w.step("web")
	}
	if m.Status.Phase != Importing || w.cloud.starts != 0 || w.service.View(m).State != stateStopped || m.Status.ObservedGeneration != 1 {
		t.Errorf("phase %s, %d starts, %s", m.Status.Phase, w.cloud.starts, w.service.View(m).State)
	}
	if _, err := w.service.Edit(t.Context(), "", "start", "web", 0, func(s *Spec) { s.Power = PowerOn }); err != nil {
		t.Fatal(err)
	}
	m = w.running("web")
	if w.cloud.starts != 1 || m.Address() != "192.0.2.200" {
		t.Errorf("%d starts, at %s", w.cloud.starts, m.Address())
	}
}

func TestAHostThatIsGoneAtItsProviderParksTheMachine(t *testing.T) {
	w := newWorld(t)
	w.arrive(t, "web", "cloud", func(a *Arrival) { a.Import.Config = nil })
	m, _ := w.step("web")
	if m.Status.Failure == nil || m.Status.Failure.Kind != string(fault.NotFound) || m.Status.Failure.Hint == "" || w.cloud.made != 0 {
		t.Errorf("%+v, made %d", m.Status.Failure, w.cloud.made)
	}
}

func TestWhereTheAuthoritysKeyIsLostThePairIsServedUntilSomebodyAsksForAnother(t *testing.T) {
	w := newWorld(t)
	w.rights.keyless = true
	certificate, key := serverPair(t)
	w.arrive(t, "web", "plugin:gone", func(a *Arrival) {
		a.AuthorityKey, a.Import.ServerKey = nil, key
		a.Import.ServerCertificate = append(key[:len(key):len(key)], certificate...) // a file may have both
	})
	m := w.running("web")
	front := w.hosts.wishes[m.UID].Desired.Front
	if !bytes.Equal(front.Certificate, certificate) || !bytes.Equal(front.Key, key) || m.Status.Authority != "imported-1" {
		t.Errorf("it is served with %q", front.Certificate)
	}
	o := w.hosts.observed[m.UID]
	o.Applied.Front.CertificateExpiry = w.now.Add(29 * 24 * time.Hour)
	w.hosts.observed[m.UID] = o
	m, _ = w.step("web")
	if says := w.service.View(m).Error; !strings.Contains(says, "the engine's certificate expires on 2026-12-23") || !strings.Contains(says, "mctl regenerate-certs web") {
		t.Errorf("29 days before its end: %q", says)
	}
	if _, err := w.service.Edit(t.Context(), "", "regenerate", "web", 0, func(s *Spec) { s.Regenerate++ }); err != nil {
		t.Fatal(err)
	}
	m = w.running("web")
	if front := w.hosts.wishes[m.UID].Desired.Front; front.Certificate != nil || front.Key != nil || m.Status.Authority != DefaultAuthority {
		t.Errorf("then with %q under %s", front.Certificate, m.Status.Authority)
	}
}

func TestAPairIsGivenUpOnceSomebodyBringsTheKeyOfItsAuthority(t *testing.T) {
	w := newWorld(t)
	w.rights.keyless = true
	certificate, key := serverPair(t)
	var arrival Arrival
	w.arrive(t, "web", "plugin:gone", func(a *Arrival) {
		a.AuthorityKey, a.Import.ServerCertificate, a.Import.ServerKey = nil, certificate, key
		arrival = *a
	})
	w.running("web")
	arrival.AuthorityKey = []byte("key") // found again
	if _, known, err := w.service.Import(t.Context(), "", arrival); !known || err != nil {
		t.Fatal(known, err)
	}
	if _, err := w.service.Edit(t.Context(), "", "regenerate", "web", 0, func(s *Spec) { s.Regenerate++ }); err != nil {
		t.Fatal(err)
	}
	m := w.running("web")
	if front := w.hosts.wishes[m.UID].Desired.Front; front.Certificate != nil || front.Key != nil || m.Status.Authority != "imported-1" {
		t.Errorf("it is served with %q under %s", front.Certificate, m.Status.Authority)
	}
}

func TestANameThatIsTakenAndWhatCantBeUsedAreRefused(t *testing.T) {
	w := newWorld(t)
	w.create("web", "cloud")
	_, key := sshtest.NewKey(t)
	certificate, _ := serverPair(t)
	_, other := serverPair(t)
	whole := Arrival{Name: "new", Spec: Spec{Driver: "plugin:x"}, Key: key, Import: Import{Source: "s", Config: []byte("{}")}}
	for name, c := range map[string]struct {
		change func(*Arrival)
		kind   fault.Kind
	}{
		"name taken":     {func(a *Arrival) { a.Name = "web" }, fault.Exists},
		"bad name":       {func(a *Arrival) { a.Name = "a b" }, fault.Invalid},
		"bad key":        {func(a *Arrival) { a.Key = []byte("x") }, fault.Invalid},
		"no JSON":        {func(a *Arrival) { a.Import.Config = nil }, fault.Invalid},
		"unknown driver": {func(a *Arrival) { a.Spec.Driver = "nosuch" }, fault.NotFound},
		"unknown option": {func(a *Arrival) { a.Spec.Driver, a.Spec.Options = "cloud", driver.Options{"nosuch": {}} }, fault.Invalid},
		"bad authority": {func(a *Arrival) {
			a.Authority = []byte("x")
			w.rights.importErr = fault.New("ca", fault.Invalid, "", "no CA")
		}, fault.Invalid},
		"no pair":         {func(a *Arrival) { a.Import.ServerCertificate, a.Import.ServerKey = []byte("x"), []byte("y") }, fault.Invalid},
		"another's key":   {func(a *Arrival) { a.Import.ServerCertificate, a.Import.ServerKey = certificate, other }, fault.Invalid},
		"other's options": {func(a *Arrival) { a.Spec.Options = driver.Options{"x": {}} }, fault.Invalid},
	} {
		a := whole
		c.change(&a)
		if _, err := w.service.CheckImport(t.Context(), a); !fault.Is(err, c.kind) {
			t.Errorf("%s, asked beforehand: %v", name, err)
		}
		if _, _, err := w.service.Import(t.Context(), "", a); !fault.Is(err, c.kind) {
			t.Errorf("%s: %v", name, err)
		}
		w.rights.importErr = nil
	}
	if m, err := w.service.CheckImport(t.Context(), whole); err != nil || m != nil {
		t.Errorf("what can be imported, asked beforehand: %v", err)
	}
	if names, err := w.service.Names(t.Context()); err != nil || len(names) != 1 {
		t.Error(names, err)
	}
	if _, _, err := w.service.Import(t.Context(), "", whole); err != nil {
		t.Error(err)
	}
	if m, err := w.service.CheckImport(t.Context(), whole); err != nil || m == nil || m.Name != "new" {
		t.Errorf("what is known, asked beforehand: %v, %v", m, err)
	}
}

// serverPair is an engine's certificate and its key, in PEM.
func serverPair(t *testing.T) (certificate, key []byte) {
	t.Helper()
	signer, err := pki.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, signer.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	if key, err = pki.EncodeKey(signer); err != nil {
		t.Fatal(err)
	}
	return pki.EncodeCertificates(leaf), key
}
