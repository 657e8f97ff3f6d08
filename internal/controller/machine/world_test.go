package machine

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"mctl/internal/controller/agentlink"
	"mctl/internal/controller/bootstrap"
	"mctl/internal/controller/driver"
	"mctl/internal/controller/event"
	"mctl/internal/controller/sshlink"
	"mctl/internal/controller/store"
	"mctl/internal/fault"
	"mctl/internal/host"
	"mctl/internal/pki"
)

// world is everything around the life of machines, in memory, with faults on demand.
type world struct {
	t       *testing.T
	now     time.Time
	store   *memory
	cloud   *cloud
	ssh     *login
	hosts   *mailbox
	rights  *authorities
	tunnels *tunnels
	swarms  *swarms
	events  []event.Event
	service *Service
	mu      sync.Mutex
	asked   int // how often Docker's repository was asked for

	advertise []string
	more      drivers
	purse     purse
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, now: time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC), store: newMemory()}
	w.cloud = &cloud{instances: map[string]*driver.Instance{}}
	w.ssh = &login{}
	w.hosts = &mailbox{wishes: map[string]agentlink.Wish{}, observed: map[string]host.Observed{}}
	w.rights = &authorities{}
	w.tunnels = &tunnels{kept: map[string]sshlink.State{}}
	w.swarms = newSwarms()
	w.restart()
	return w
}

// restart makes a new service over the same store, as a controller that starts does.
func (w *world) restart() {
	table := drivers{"cloud": w.cloud, "adopt": adopter{w.cloud, []byte("key")}, "lent": adopter{w.cloud, nil}}
	maps.Copy(table, w.more)
	service, err := New(Config{
		Store: w.store, Sealer: plainSealer{}, Bootstrap: w.ssh,
		Drivers: table, Credentials: w.purse,
		Hosts: w.hosts, Tunnels: w.tunnels, Swarms: w.swarms, Authorities: w.rights, Events: w, Logger: hclog.NewNullLogger(), Now: func() time.Time { return w.now },
		ControllerID: "c1", ControlPort: 4000, Advertise: w.advertise, ProbeRepository: func(context.Context) bool {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.asked++
			return true
		},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.service = service
}

func (w *world) Emit(e event.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = append(w.events, e)
}

func (l *login) UserData(payload bootstrap.Payload, _ uint16, authority []byte) (driver.UserData, error) {
	return driver.UserData{Script: "script", Values: []byte(payload.Ticket + " " + string(authority))}, nil
}

func (w *world) create(name, driverName string, change ...func(*Spec)) *Machine {
	w.t.Helper()
	spec := Spec{Driver: driverName, Options: driver.Options{}, Engine: host.Engine{Install: host.InstallDistro}}
	for _, c := range change {
		c(&spec)
	}
	m, err := w.service.Create(w.t.Context(), "", name, spec, false)
	if err != nil {
		w.t.Fatal(err)
	}
	return m
}

// step does one step and returns the machine afterwards, nil when it is gone.
func (w *world) step(name string) (*Machine, error) {
	w.t.Helper()
	_, stepErr := w.service.Step(w.t.Context(), name)
	m, err := w.service.Get(w.t.Context(), name)
	if fault.Is(err, fault.NotFound) {
		return nil, stepErr
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return m, stepErr
}

// stepUntil steps until the machine is in a phase, parked, or gone.
func (w *world) stepUntil(name string, phase Phase) *Machine {
	w.t.Helper()
	for range 30 {
		m, err := w.step(name)
		if m == nil || m.Status.Phase == phase && err == nil || m.Status.Failure != nil {
			return m
		}
		if m.Status.Phase == Joining || m.Status.Phase == Starting {
			w.hosts.connect(m.UID, w.now.Add(time.Second))
		}
		if m.Status.Phase == Installing {
			w.hosts.apply(m.UID, nil)
		}
	}
	w.t.Fatalf("%s did not reach %s", name, phase)
	return nil
}

func (w *world) running(name string) *Machine {
	w.t.Helper()
	m := w.stepUntil(name, Running)
	if m.Status.Failure != nil {
		w.t.Fatalf("parked: %+v", m.Status.Failure)
	}
	if m, _ = w.step(name); m.Status.ObservedGeneration != m.Generation {
		w.t.Fatalf("generation %d is observed, want %d", m.Status.ObservedGeneration, m.Generation)
	}
	return m
}

// tunnels remembers to whom SSH connections are kept, and how they are.
type tunnels struct {
	mu   sync.Mutex
	kept map[string]sshlink.State // by uid
	next sshlink.State            // of those that are kept from now on
}

func (t *tunnels) Keep(uid, _ string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, there := t.kept[uid]; !there {
		t.kept[uid] = t.next
	}
}

func (t *tunnels) Drop(uid string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.kept, uid)
}

func (t *tunnels) State(uid string) sshlink.State {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.kept[uid]
}

func (t *tunnels) has(uid string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, there := t.kept[uid]
	return there
}

// drivers is a driver table.
type drivers map[string]driver.Driver

func (d drivers) Driver(name string) (driver.Driver, error) {
	if found, ok := d[name]; ok {
		return found, nil
	}
	return nil, fault.New("drivers", fault.NotFound, name, fmt.Sprintf("Driver %q not found", name))
}

// cloud is a driver whose instances are records.
type cloud struct {
	mu        sync.Mutex
	instances map[string]*driver.Instance
	made      int
	faults    []error // returned by the next calls, first come; nil entries pass
	afterMake error   // returned by Create once, after it has made
	preflight error
	checked   func()        // called by Preflight; may be nil
	block     chan struct{} // Create waits for it, or for its context
	starts    int           // of stopped ones
	booted    func()        // called before Start returns; may be nil
}

func (c *cloud) fault() error {
	if len(c.faults) == 0 {
		return nil
	}
	err := c.faults[0]
	c.faults = c.faults[1:]
	return err
}

func (*cloud) Info() driver.Info { return driver.Info{Name: "cloud"} }
func (*cloud) Flags() []driver.Flag {
	return []driver.Flag{
		{Name: "cloud-token", Type: driver.String, Kind: driver.Secret},
		{Name: "cloud-size", Type: driver.Int, Kind: driver.Value, Default: []string{"1"}},
	}
}
func (*cloud) Validate(driver.Options) error { return nil }
func (c *cloud) Preflight(context.Context, driver.Machine) error {
	if c.checked != nil {
		c.checked()
	}
	return c.preflight
}

func (c *cloud) Create(ctx context.Context, m driver.Machine) (driver.Instance, error) {
	if c.block != nil {
		select {
		case <-c.block:
		case <-ctx.Done():
			return driver.Instance{}, ctx.Err()
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.fault(); err != nil {
		return driver.Instance{}, err
	}
	if found, ok := c.instances[m.UID]; ok {
		return *found, nil
	}
	c.made++
	instance := driver.Instance{
		ID: fmt.Sprintf("i-%d", c.made), Power: driver.Running, Addresses: []string{fmt.Sprintf("192.0.2.%d", c.made)},
		SSH: driver.SSH{Address: fmt.Sprintf("192.0.2.%d", c.made), Port: 22, User: "root"}, State: []byte("state"),
	}
	c.instances[m.UID] = &instance
	if err := c.afterMake; err != nil {
		c.afterMake = nil
		return driver.Instance{}, err
	}
	return instance, nil
}

func (c *cloud) find(m driver.Machine) (driver.Instance, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.fault(); err != nil {
		return driver.Instance{}, err
	}
	found, ok := c.instances[m.UID]
	if !ok {
		return driver.Instance{}, fault.New("cloud", fault.NotFound, m.Name, "no such instance")
	}
	return *found, nil
}

func (c *cloud) Inspect(_ context.Context, m driver.Machine) (driver.Instance, error) {
	return c.find(m)
}

func (c *cloud) Delete(_ context.Context, m driver.Machine) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.fault(); err != nil {
		return err
	}
	delete(c.instances, m.UID)
	return nil
}

func (c *cloud) Start(_ context.Context, m driver.Machine) (driver.Instance, error) {
	return c.power(m, driver.Running)
}

func (c *cloud) Stop(_ context.Context, m driver.Machine, _ bool) (driver.Instance, error) {
	return c.power(m, driver.Stopped)
}

// power changes the power; each start comes with a new address.
func (c *cloud) power(m driver.Machine, power driver.Power) (driver.Instance, error) {
	if _, err := c.find(m); err != nil {
		return driver.Instance{}, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	instance := c.instances[m.UID]
	if power == driver.Running && instance.Power == driver.Stopped {
		c.starts++
		instance.Addresses = []string{"192.0.2.200"}
		instance.SSH.Address = "192.0.2.200"
	}
	if power == driver.Stopped {
		instance.Addresses = nil
	}
	instance.Power = power
	if power == driver.Running && c.booted != nil {
		c.booted()
	}
	return *instance, nil
}

// adopter is a driver whose hosts were there before; without a key one is lent.
type adopter struct {
	*cloud
	key []byte
}

func (a adopter) Target(driver.Machine) (driver.Target, error) {
	return driver.Target{SSH: driver.SSH{Address: "192.0.2.99", Port: 22, User: "root"}, Key: a.key}, nil
}

// login is first contact.
type login struct {
	check, install, remove error
	reboot                 error
	during                 func()                      // called by Install; may be nil
	wait                   func(context.Context) error // for the host to answer; may be nil
	installed              []bootstrap.Payload
	checked                bootstrap.Target   // of the last Check
	targets                []bootstrap.Target // of Install
	unreached              bool               // hosts do not reach us
	removed, rebooted      int
	greet, offer, handOver error
	handed                 []host.HandOver
}

func (l *login) Reboot(context.Context, bootstrap.Target, driver.Progress) error {
	l.rebooted++
	return l.reboot
}
func (l *login) Check(_ context.Context, target bootstrap.Target) error {
	l.checked = target
	return l.check
}
func (l *login) Install(ctx context.Context, target bootstrap.Target, p bootstrap.Payload, _ driver.Progress) (bootstrap.Result, error) {
	if l.wait != nil {
		if err := l.wait(ctx); err != nil {
			return bootstrap.Result{}, err
		}
	}
	l.installed, l.targets = append(l.installed, p), append(l.targets, target)
	if l.during != nil {
		l.during()
	}
	result := bootstrap.Result{
		HostKeys: []string{"ssh-ed25519 AAAA"}, Endpoints: []string{"192.0.2.1:4000"}, Arch: "amd64", Reached: p.Probe && !l.unreached,
	}
	if p.Unreached {
		result.Endpoints = nil
	}
	return result, l.install
}
func (l *login) Remove(context.Context, bootstrap.Target, bool, driver.Progress) error {
	l.removed++
	return l.remove
}

// SignEngineHandOver implements Authorities.
func (a *authorities) SignEngineHandOver(_ context.Context, authority, _ string, sans []string, csr []byte) ([]byte, error) {
	return fmt.Appendf(nil, "%s signs %s for %v", authority, csr, sans), nil
}

func (l *login) Greet(context.Context, bootstrap.Target) error { return l.greet }

func (l *login) Offer(_ context.Context, _ bootstrap.Target, h host.HandOver) (host.Offer, error) {
	h.Engine.Options = append(h.Engine.Options, "data-root=/data")
	return host.Offer{Request: []byte("request"), Engine: h.Engine}, l.offer
}

func (l *login) HandOver(_ context.Context, target bootstrap.Target, h host.HandOver, sign func([]byte) ([]byte, error), _ driver.Progress) (err error) {
	if l.handOver != nil {
		return l.handOver
	}
	h.Certificate, err = sign([]byte("request of " + target.Machine))
	l.handed = append(l.handed, h)
	return err
}

// mailbox stands for agents.
type mailbox struct {
	wishes   map[string]agentlink.Wish
	observed map[string]host.Observed
}

func (b *mailbox) SetDesired(uid string, wish agentlink.Wish) { b.wishes[uid] = wish }
func (b *mailbox) Observed(uid string) (host.Observed, bool) {
	o, ok := b.observed[uid]
	return o, ok
}
func (b *mailbox) Forget(uid string) { delete(b.wishes, uid); delete(b.observed, uid) }
func (b *mailbox) connect(uid string, since time.Time) {
	o := b.observed[uid]
	o.Connected, o.Since, o.AgentVersion, o.Way = true, since, "1", host.WayDirect
	b.observed[uid] = o
}

// boot connects an agent whose host runs a boot of its own since a time.
func (b *mailbox) boot(uid, id string, since time.Time) {
	b.connect(uid, since)
	o := b.observed[uid]
	o.Facts.BootID = id
	b.observed[uid] = o
}

func (b *mailbox) lose(uid string, since time.Time) {
	o := b.observed[uid]
	o.Connected, o.Since = false, since
	b.observed[uid] = o
}

func (b *mailbox) apply(uid string, failure *host.Failure) {
	o := b.observed[uid]
	o.Applied = host.Applied{
		Digest: b.wishes[uid].Desired.Digest(), Failure: failure,
		Engine: host.EngineFacts{Version: "29.0", Source: "distro"},
	}
	o.Health = &host.Health{EngineUp: true}
	b.observed[uid] = o
}

// authorities hands out tickets that nobody checks.
type authorities struct {
	life            time.Duration // of the last ticket
	issued, revoked []string
	err             error     // of Revoke
	importErr       error     // of ImportEngine
	keyless         bool      // an imported one, whose key is lost
	control, engine time.Time // when they end
}

func (a *authorities) IssueTicket(_ context.Context, subject string, life time.Duration) (pki.Ticket, error) {
	a.issued, a.life = append(a.issued, subject), life
	return pki.NewTicket([32]byte{})
}
func (a *authorities) ControlCA() []byte                                { return []byte("control CA") }
func (a *authorities) Ends(string) (control, engine time.Time)          { return a.control, a.engine }
func (a *authorities) EngineCA(context.Context, string) ([]byte, error) { return []byte("CA"), nil }
func (a *authorities) CheckEngine([]byte, []byte) error                 { return a.importErr }

func (a *authorities) ImportEngine(_ context.Context, _, key []byte) (string, error) {
	a.keyless = a.keyless && key == nil
	return "imported-1", a.importErr
}
func (a *authorities) EngineKey(context.Context, string) ([]byte, error) {
	if a.keyless {
		return nil, nil
	}
	return []byte("CA key"), nil
}
func (a *authorities) Issues(context.Context, string, time.Duration) (bool, error) {
	return !a.keyless, nil
}
func (a *authorities) Revoke(_ context.Context, subject string) error {
	a.revoked = append(a.revoked, subject)
	return a.err
}

// plainSealer marks what it was given, so that a test can see what would be sealed.
type plainSealer struct{}

func (plainSealer) Seal(key string, p []byte) ([]byte, error) {
	return []byte("sealed:" + key + ":" + strings.Map(func(r rune) rune { return r + 1 }, string(p))), nil
}
func (plainSealer) Open(key string, s []byte) ([]byte, error) {
	rest, ok := strings.CutPrefix(string(s), "sealed:"+key+":")
	if !ok {
		return nil, errors.New("sealed for another record")
	}
	return []byte(strings.Map(func(r rune) rune { return r - 1 }, rest)), nil
}

// memory is a store without watches.
type memory struct {
	mu       sync.Mutex
	items    map[string]store.Item
	revision store.Revision
	writes   int
	err      error // of the next update
}

func newMemory() *memory { return &memory{items: map[string]store.Item{}} }

func (s *memory) Get(_ context.Context, key string) (store.Item, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	item, ok := s.items[key]
	if !ok {
		return item, fault.New("memory", fault.NotFound, key, "no such key")
	}
	return item, nil
}

func (s *memory) List(_ context.Context, prefix string) ([]store.Item, store.Revision, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var items []store.Item
	for key, item := range s.items {
		if strings.HasPrefix(key, prefix) {
			items = append(items, item)
		}
	}
	slices.SortFunc(items, func(a, b store.Item) int { return strings.Compare(a.Key, b.Key) })
	return items, s.revision, nil
}

func (s *memory) write(key string, value []byte, check func(store.Item, bool) error) (store.Revision, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	item, ok := s.items[key]
	if err := check(item, ok); err != nil {
		return 0, err
	}
	s.revision++
	s.writes++
	s.items[key] = store.Item{Key: key, Value: value, Revision: s.revision}
	return s.revision, nil
}

func (s *memory) Create(_ context.Context, key string, value []byte) (store.Revision, error) {
	return s.write(key, value, func(_ store.Item, ok bool) error {
		if ok {
			return fault.New("memory", fault.Exists, key, "exists")
		}
		return nil
	})
}

func (s *memory) Update(_ context.Context, key string, value []byte, at store.Revision) (store.Revision, error) {
	return s.write(key, value, func(item store.Item, ok bool) error {
		if err := s.err; err != nil {
			s.err = nil
			return err
		}
		if !ok || item.Revision != at {
			return fault.New("memory", fault.Conflict, key, "changed")
		}
		return nil
	})
}

func (s *memory) Delete(_ context.Context, key string, _ store.Revision) (store.Revision, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.items, key)
	s.revision++
	return s.revision, nil
}

func (s *memory) Watch(context.Context, string, store.Revision) iter.Seq2[store.Change, error] {
	return func(func(store.Change, error) bool) {}
}
func (s *memory) Close() error { return nil }
