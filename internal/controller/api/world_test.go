package api

import (
	"context"
	"crypto/tls"

	"errors"
	"fmt"
	"iter"
	"maps"
	"net"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"mctl/internal/controller/agentlink"
	"mctl/internal/controller/bootstrap"
	"mctl/internal/controller/ca"
	"mctl/internal/controller/credential"
	"mctl/internal/controller/driver"
	"mctl/internal/controller/event"
	machines "mctl/internal/controller/machine"
	"mctl/internal/controller/sshlink"
	"mctl/internal/controller/store"
	"mctl/internal/controller/store/bolt"
	"mctl/internal/controller/store/seal"
	"mctl/internal/fault"
	"mctl/internal/host"
	"mctl/internal/pki"
	agentv1 "mctl/proto/mctl/agent/v1"
	controllerv1 "mctl/proto/mctl/controller/v1"
)

// world is an API that serves on both of its listeners, over real authorities and a real store.
type world struct {
	seen      atomic.Pointer[host.Observed] // of every host; nil for nothing
	t         testing.TB
	clock     atomic.Pointer[time.Time]
	server    *Server
	service   *machines.Service
	ca        *ca.CA
	journal   *event.Journal
	socket    string
	address   string
	shutdowns chan struct{}
	estate    *estate
	store     *fickle
	stop      context.CancelFunc // ends both servers, as the test's end does
}

func newWorld(t testing.TB, change ...func(*Config)) *world {
	t.Helper()
	w := &world{t: t, journal: event.NewJournal(time.Now()), shutdowns: make(chan struct{}, 10)}
	w.set(time.Now())
	file, err := bolt.Open(t.Context(), bolt.Config{Path: filepath.Join(t.TempDir(), "store.db"), Logger: hclog.NewNullLogger()})
	if err != nil {
		t.Fatal(err)
	}
	store := &fickle{Store: file}
	w.store = store
	sealer, err := seal.Open(filepath.Join(t.TempDir(), "seal.key"), "")
	if err != nil {
		t.Fatal(err)
	}
	if w.ca, err = ca.Open(t.Context(), ca.Config{Store: store, Sealer: sealer, Now: w.now, Lifetimes: ca.DefaultLifetimes()}); err != nil {
		t.Fatal(err)
	}
	w.estate = &estate{}
	table := table{"pretend": pretend{}, "estate": w.estate}
	credentials := credential.New(credential.Config{Store: store, Sealer: sealer, Now: w.now})
	hub := quiet{seen: &w.seen}
	if w.service, err = machines.New(machines.Config{
		Store: store, Sealer: sealer, Drivers: table, Credentials: credentials, Bootstrap: noContact{}, Hosts: hub, Authorities: w.ca,
		Tunnels: sshlink.New(sshlink.Config{Logger: hclog.NewNullLogger(), Changed: func(string) {}}), Events: w.journal,
		Logger: hclog.NewNullLogger(), Now: w.now, ControllerID: "c1", ProbeRepository: func(context.Context) bool { return false },
	}); err != nil {
		t.Fatal(err)
	}
	config := Config{
		Logger: hclog.NewNullLogger(), Now: w.now, Machines: w.service, Drivers: table, Credentials: credentials, Journal: w.journal, Authorities: w.ca, Verifier: w.ca,
		Links: hub, Tunnels: noTunnels{}, Busy: func() int { return 0 }, Shutdown: func() { w.shutdowns <- struct{}{} },
		Info: Info{ControllerID: "c1", Version: "dev", PID: 42, Addresses: []string{"192.0.2.1:4000"}},
	}
	for _, f := range change {
		f(&config)
	}
	w.server = New(config)
	w.socket = filepath.Join(t.TempDir(), "s")
	unix, err := net.Listen("unix", w.socket)
	if err != nil {
		t.Fatal(err)
	}
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w.address = tcp.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	w.stop = cancel
	done := make(chan error, 2)
	go func() { done <- w.server.ServeUnix(ctx, unix) }()
	go func() { done <- w.server.ServeTCP(ctx, tcp, w.ca.ServerTLS(), nil) }()
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-done, <-done); err != nil {
			t.Errorf("serve: %v", err)
		}
		store.Close()
	})
	return w
}

func (w *world) now() time.Time  { return *w.clock.Load() }
func (w *world) set(t time.Time) { w.clock.Store(&t) }

// local is a connection over the unix socket.
func (w *world) local() *grpc.ClientConn {
	w.t.Helper()
	return w.dial("unix:"+w.socket, insecure.NewCredentials())
}

// remote is a connection over TCP with a certificate, or none.
func (w *world) remote(certificate *tls.Certificate) *grpc.ClientConn {
	w.t.Helper()
	var own func() (*tls.Certificate, error)
	if certificate != nil {
		own = func() (*tls.Certificate, error) { return certificate, nil }
	}
	ticket, err := w.ca.IssueTicket(w.t.Context(), "user:somebody-else", 0)
	if err != nil {
		w.t.Fatal(err)
	}
	return w.dial(w.address, credentials.NewTLS(pki.ClientConfig(nil, ticket.Authority, own, w.now)))
}

func (w *world) dial(target string, creds credentials.TransportCredentials) *grpc.ClientConn {
	w.t.Helper()
	conn, err := grpc.NewClient(target, grpc.WithTransportCredentials(creds))
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { conn.Close() })
	return conn
}

// enrolled makes a control certificate for a subject.
func (w *world) enrolled(subject string) *tls.Certificate {
	w.t.Helper()
	ticket, err := w.ca.IssueTicket(w.t.Context(), subject, 0)
	if err != nil {
		w.t.Fatal(err)
	}
	key, err := pki.NewKey()
	if err != nil {
		w.t.Fatal(err)
	}
	csr, err := pki.NewRequest(key)
	if err != nil {
		w.t.Fatal(err)
	}
	chain, _, err := w.ca.Enroll(w.t.Context(), ticket.Text(), csr)
	if err != nil {
		w.t.Fatal(err)
	}
	return &tls.Certificate{Certificate: chain[:1], PrivateKey: key}
}

// dockerClient makes a certificate that is good for engines, and for nothing here.
func (w *world) dockerClient() *tls.Certificate {
	w.t.Helper()
	key, err := pki.NewKey()
	if err != nil {
		w.t.Fatal(err)
	}
	csr, err := pki.NewRequest(key)
	if err != nil {
		w.t.Fatal(err)
	}
	pem, _, _, err := w.ca.SignEngineClient(w.t.Context(), ca.DefaultEngine, "user:local", csr)
	if err != nil {
		w.t.Fatal(err)
	}
	chain, err := pki.DecodeCertificates(pem)
	if err != nil {
		w.t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{chain[0].Raw}, PrivateKey: key}
}

// quiet stands for the hub: no agent ever connects, but a test may say what is seen of all of them.
type quiet struct {
	agentv1.UnimplementedLinkServiceServer
	seen *atomic.Pointer[host.Observed]
}

func (quiet) SetDesired(string, agentlink.Wish) {}
func (quiet) Forget(string)                     {}
func (q quiet) Observed(string) (host.Observed, bool) {
	if seen := q.seen.Load(); seen != nil {
		return *seen, true
	}
	return host.Observed{}, false
}

// noTunnels stands for the relay.
type noTunnels struct {
	agentv1.UnimplementedTunnelServiceServer
}

func (noTunnels) Serve(controllerv1.SessionService_OpenTunnelServer, string) error { return nil }

// noContact stands for bootstrap.
type noContact struct{}

func (noContact) Check(context.Context, bootstrap.Target) error { return nil }
func (noContact) Install(context.Context, bootstrap.Target, bootstrap.Payload, driver.Progress) (bootstrap.Result, error) {
	return bootstrap.Result{}, nil
}
func (noContact) UserData(bootstrap.Payload, uint16, []byte) (driver.UserData, error) {
	return driver.UserData{}, nil
}
func (noContact) Greet(context.Context, bootstrap.Target) error { return nil }
func (noContact) Offer(_ context.Context, _ bootstrap.Target, h host.HandOver) (host.Offer, error) {
	return host.Offer{Engine: h.Engine}, nil
}

func (noContact) HandOver(context.Context, bootstrap.Target, host.HandOver, func([]byte) ([]byte, error), driver.Progress) error {
	return nil
}
func (noContact) Reboot(context.Context, bootstrap.Target, driver.Progress) error       { return nil }
func (noContact) Remove(context.Context, bootstrap.Target, bool, driver.Progress) error { return nil }

type table map[string]driver.Driver

func (t table) Driver(name string) (driver.Driver, error) {
	if d, ok := t[name]; ok {
		return d, nil
	}
	return nil, fault.E("test", fault.NotFound, name, fmt.Errorf("Driver %q not found", name)).WithHint("try another").WithReason(fault.ReasonUsage) //nolint:staticcheck // docker-machine's words
}
func (t table) List() []driver.Driver {
	var all []driver.Driver
	for _, name := range slices.Sorted(maps.Keys(t)) {
		all = append(all, t[name])
	}
	return all
}

// pretend is a driver whose hosts have no login, so that they run at once.
type pretend struct{}

func (pretend) Info() driver.Info { return driver.Info{Name: "pretend", Summary: "pretends", Rank: 3} }
func (pretend) Flags() []driver.Flag {
	return []driver.Flag{
		{Name: "pretend-size", Usage: "how large", Env: "PRETEND_SIZE", Type: driver.Int, Kind: driver.Value, Default: []string{"1"}},
		{Name: "pretend-token", Type: driver.String, Kind: driver.Secret},
	}
}
func (pretend) Validate(driver.Options) error { return nil }
func (pretend) Preflight(_ context.Context, m driver.Machine) error {
	if m.Name == "refused" {
		return fault.New("pretend", fault.Denied, m.Name, "bad credentials").WithHint("log in first")
	}
	return nil
}
func (pretend) Create(context.Context, driver.Machine) (driver.Instance, error) {
	return driver.Instance{ID: "i", Power: driver.Running, Addresses: []string{"192.0.2.7"}}, nil
}
func (p pretend) Inspect(ctx context.Context, m driver.Machine) (driver.Instance, error) {
	return p.Create(ctx, m)
}
func (pretend) Delete(context.Context, driver.Machine) error { return nil }
func (p pretend) Start(ctx context.Context, m driver.Machine) (driver.Instance, error) {
	return p.Create(ctx, m)
}
func (pretend) Stop(context.Context, driver.Machine, bool) (driver.Instance, error) {
	return driver.Instance{Power: driver.Stopped}, nil
}

// estate is a driver with a credential, which lists, removes and plans.
type estate struct {
	pretend
	mu    sync.Mutex
	made  []driver.Resource
	shown []string // credentials
}

func (*estate) Info() driver.Info { return driver.Info{Name: "estate"} }
func (*estate) Flags() []driver.Flag {
	return []driver.Flag{{Name: "estate-key", Type: driver.String, Kind: driver.Credential, Scope: true}}
}

func (e *estate) List(_ context.Context, m driver.Machine) ([]driver.Resource, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.shown = append(e.shown, string(m.Options.Content("estate-key")))
	return slices.Clone(e.made), nil
}

func (e *estate) Remove(_ context.Context, _ driver.Machine, r driver.Resource) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.made = slices.DeleteFunc(e.made, func(other driver.Resource) bool { return other == r })
	return nil
}

func (*estate) Plan(_ context.Context, m driver.Machine) ([]string, error) {
	return []string{"instance " + m.Name}, nil
}

// fickle is a store whose watches fall behind as often as it is told.
type fickle struct {
	store.Store
	behind atomic.Int32
}

func (f *fickle) Watch(ctx context.Context, prefix string, from store.Revision) iter.Seq2[store.Change, error] {
	if f.behind.Add(-1) < 0 {
		return f.Store.Watch(ctx, prefix, from)
	}
	return func(yield func(store.Change, error) bool) {
		yield(store.Change{}, fault.New("fickle", fault.Resync, "", "too slow").WithHint("list again"))
	}
}

// step steps a machine as the loop would, until it asks for no more.
func (w *world) step(name string) {
	w.t.Helper()
	for range 20 {
		result, err := w.service.Step(w.t.Context(), name)
		if err != nil {
			w.t.Fatal(err)
		}
		if !result.Again {
			return
		}
	}
}
