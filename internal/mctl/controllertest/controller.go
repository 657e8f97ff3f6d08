// Package controllertest is a pretended controller for tests of the client: the API over a unix socket, with machines in
// memory that change only when a test says so.
package controllertest

import (
	"bytes"
	"context"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"mctl/internal/fault"
	"mctl/internal/mctl/cli"
	"mctl/internal/mctl/dial"
	"mctl/internal/mctl/state"
	controllerv1 "mctl/proto/mctl/controller/v1"
	tunnelv1 "mctl/proto/mctl/tunnel/v1"
)

// Controller is a pretended controller. Change its exported fields before the first call alone.
type Controller struct {
	// Act is told of each write, by the method's name, with the machine as it is after it, to change it as a real controller
	// would; it may call Put, Remove and Emit. Without it every wish comes true at once.
	Act func(method string, m *controllerv1.Machine)
	// Refuse fails a call of the method's name before anything is done; nil lets it pass.
	Refuse  func(method string) error
	Drivers []*controllerv1.Driver
	// Plugins are found by their names, too. Nobody asks them for their flags to list them.
	Plugins []*controllerv1.Driver
	// Borrow is told of each ssh-agent that is lent, and may have it sign.
	Borrow func(offer *controllerv1.SignerOffer, ask func(*controllerv1.OfferSignerResponse) (*controllerv1.SignerAnswer, error))

	// Tunnel is the host's end of each tunnel: it does the work, saying frames and hearing them, and its error fails the call.
	Tunnel func(start *controllerv1.TunnelStart, hear func() (*tunnelv1.Frame, error), say func(*tunnelv1.Frame) error) error
	// Exported changes what is answered to an export; nil leaves it.
	Exported func(*controllerv1.ExportMachineResponse)

	controllerv1.UnimplementedMachineServiceServer
	controllerv1.UnimplementedDriverServiceServer
	controllerv1.UnimplementedEventServiceServer
	controllerv1.UnimplementedAccessServiceServer
	controllerv1.UnimplementedSessionServiceServer
	controllerv1.UnimplementedSystemServiceServer

	t      testing.TB
	dir    state.Dir
	lookup state.Lookup

	mu        sync.Mutex
	server    *grpc.Server
	machines  map[string]*controllerv1.Machine
	events    []*controllerv1.Event
	authority *Authority
	removed   []*controllerv1.Machine
	released  []string
	wake      chan struct{} // closed with each change
	calls     []string
}

// New makes a controller for an empty state directory and serves until the test ends. variables are NAME=value of the
// caller's environment.
func New(t testing.TB, variables ...string) *Controller {
	t.Helper()
	root, err := os.MkdirTemp("", "mctl") // the test's own directory may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(root) })
	program, err := os.Executable() // as what serves is this process; another that is in PATH would be taken for a newer build
	if err != nil {
		t.Fatal(err)
	}
	environment := map[string]string{
		"HOME": root, "XDG_RUNTIME_DIR": root, "MCTL_HOME": filepath.Join(root, "state"), "SHELL": "/bin/sh", "MCTL_CONTROLLER_BIN": program,
	}
	for _, pair := range variables {
		name, value, _ := strings.Cut(pair, "=")
		environment[name] = value
	}
	c := &Controller{
		t: t, dir: state.Dir{Root: environment["MCTL_HOME"]}, machines: map[string]*controllerv1.Machine{}, wake: make(chan struct{}),
		lookup:    func(name string) (string, bool) { value, ok := environment[name]; return value, ok },
		authority: NewAuthority(t),
	}
	c.Start()
	t.Cleanup(c.Stop)
	return c
}

// Start serves.
func (c *Controller) Start() {
	c.t.Helper()
	socket := dial.Local{Dir: c.dir, Lookup: c.lookup}.Socket()
	if err := os.MkdirAll(filepath.Dir(socket), 0o700); err != nil {
		c.t.Fatal(err)
	}
	if err := c.dir.MakeOwn(); err != nil {
		c.t.Fatal(err)
	}
	listener, err := net.Listen("unix", socket)
	if err != nil {
		c.t.Fatal(err)
	}
	server := grpc.NewServer(grpc.UnaryInterceptor(c.unary), grpc.StreamInterceptor(c.stream))
	controllerv1.RegisterMachineServiceServer(server, c)
	controllerv1.RegisterDriverServiceServer(server, c)
	controllerv1.RegisterEventServiceServer(server, c)
	controllerv1.RegisterAccessServiceServer(server, c)
	controllerv1.RegisterSessionServiceServer(server, c)
	controllerv1.RegisterSystemServiceServer(server, c)
	c.mu.Lock()
	c.server = server
	c.mu.Unlock()
	go func() { _ = server.Serve(listener) }()
}

// Stop ends serving and breaks every connection. May be repeated, and Start may follow.
func (c *Controller) Stop() {
	c.mu.Lock()
	server := c.server
	c.mu.Unlock()
	server.Stop()
}

// Dir is the caller's state directory.
func (c *Controller) Dir() state.Dir { return c.dir }

// Env is the world of one command; its output is in Out and Err, which are bytes.Buffers.
func (c *Controller) Env(args ...string) *cli.Env {
	env := &cli.Env{
		In: strings.NewReader(""), Out: new(bytes.Buffer), Err: new(bytes.Buffer), Args: append([]string{"mctl"}, args...),
		Lookup: c.lookup, Now: time.Now, Global: cli.Global{Output: "text"},
	}
	c.t.Cleanup(env.Close)
	return env
}

// Client is a connection; it ends with the test.
func (c *Controller) Client() *dial.Client {
	c.t.Helper()
	client, err := dial.Local{Dir: c.dir, Lookup: c.lookup}.DialRunning(c.t.Context())
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = client.Close() })
	return client
}

// Authority is the one that engines are under; Use replaces it.
func (c *Controller) Authority() *Authority { return c.authority }

// Use has certificates come from another authority from now on.
func (c *Controller) Use(a *Authority) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.authority = a
}

// DialAgain is Client, but a connection that breaks is made anew, as that of a command is.
func (c *Controller) DialAgain() *dial.Client {
	c.t.Helper()
	client, err := dial.Local{Dir: c.dir, Lookup: c.lookup}.Dial(c.t.Context())
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = client.Close() })
	return client
}

// Running is a machine that has all it was asked for, with an engine at tcp://ADDRESS:2376.
func Running(name, address string) *controllerv1.Machine {
	return &controllerv1.Machine{
		Name: name, Uid: "uid-" + name, Generation: 1, CreateTime: timestamppb.Now(),
		Spec: &controllerv1.MachineSpec{Driver: "fake", Power: controllerv1.PowerState_POWER_STATE_RUNNING},
		Status: &controllerv1.MachineStatus{
			Phase: controllerv1.Phase_PHASE_RUNNING, State: "Running", ObservedGeneration: 1, Address: address,
			Url: "tcp://" + address + ":2376", Authority: "default",
		},
	}
}

// Put stores a machine as it is now and tells those who watch.
func (c *Controller) Put(m *controllerv1.Machine) { c.PutAs(m.GetName(), m) }

// PutAs stores a machine under a name that need not be its own.
func (c *Controller) PutAs(name string, m *controllerv1.Machine) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.machines[name] = proto.CloneOf(m)
	c.changed()
}

// Change changes a machine that is there.
func (c *Controller) Change(name string, change func(m *controllerv1.Machine)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	m := proto.CloneOf(c.machines[name])
	change(m)
	c.machines[name] = m
	c.changed()
}

// Remove forgets a machine and tells those who watch.
func (c *Controller) Remove(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.removed = append(c.removed, c.machines[name])
	delete(c.machines, name)
	c.changed()
}

// Emit adds an event, its time now where none is given.
func (c *Controller) Emit(e *controllerv1.Event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e.Sequence = uint64(len(c.events) + 1)
	if e.Time == nil {
		e.Time = timestamppb.Now()
	}
	c.events = append(c.events, e)
	c.changed()
}

// Calls are the methods called so far, in order.
func (c *Controller) Calls() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.calls)
}

// changed wakes those who watch. c.mu is held.
func (c *Controller) changed() {
	close(c.wake)
	c.wake = make(chan struct{})
}

// Wait returns when a condition holds that is looked at with each change and call, or fails the test.
func (c *Controller) Wait(what string, holds func() bool) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), 20*time.Second)
	defer cancel()
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	for !holds() {
		select {
		case <-ctx.Done():
			c.t.Fatalf("waited in vain until %s", what)
		case <-look.C:
		}
	}
}

func (c *Controller) find(name string) (*controllerv1.Machine, error) {
	m, ok := c.machines[name]
	if !ok {
		return nil, fault.New("controllertest", fault.NotFound, name, `Docker machine "`+name+`" does not exist`)
	}
	return proto.CloneOf(m), nil
}

func (c *Controller) names() []string { return slices.Sorted(maps.Keys(c.machines)) }

// Released are the machines that were asked to be given back.
func (c *Controller) Released() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.released)
}
