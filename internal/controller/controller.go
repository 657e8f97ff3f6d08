// Package controller wires the parts together. Read Run first: it builds store → ca → hub → drivers → machine → api, runs
// their loops in one group, and stops them in order.
package controller

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/crypto/ssh"
	"golang.org/x/sync/errgroup"

	"mctl/internal/buildinfo"
	"mctl/internal/controller/agentlink"
	"mctl/internal/controller/api"
	"mctl/internal/controller/bootstrap"
	"mctl/internal/controller/bootstrap/login"
	"mctl/internal/controller/ca"
	"mctl/internal/controller/credential"
	"mctl/internal/controller/event"
	"mctl/internal/controller/handout"
	"mctl/internal/controller/machine"
	"mctl/internal/controller/reconcile"
	"mctl/internal/controller/sshlink"
	"mctl/internal/controller/store/bolt"
	"mctl/internal/controller/swarm"
	"mctl/internal/controller/tunnel"
	"mctl/internal/host"
)

// Config is everything that flags and the environment decide.
type Config struct {
	StateDir      string   // holds mctl/ with the store, and the drivers' files
	Socket        string   // path of the unix socket, in a directory that is its owner's alone
	Listen        string   // host:port for agents and users far away; empty for the port chosen once
	Advertise     []string // host or host:port each, where hosts are told to find us; empty for our end of the SSH connection
	AgentDir      string   // holds agent-linux-amd64 and agent-linux-arm64
	SealKey       string   // base64; empty for the key file
	RepositoryKey string   // an address that Docker's package repository answers at; empty to never ask
	PluginUser    string   // whom third-party drivers run as where we are root; empty for ourselves
	Lifetimes     ca.Lifetimes
	Logger        hclog.Logger
	// Ready is told once, when the controller serves or can't.
	Ready func(Readiness)
}

// Readiness is how a start went.
type Readiness struct {
	Ready   bool   `json:"ready,omitempty"`
	Already bool   `json:"already,omitempty"` // another controller has the state directory
	PID     int    `json:"pid,omitempty"`
	Error   string `json:"error,omitempty"`
	Hint    string `json:"hint,omitempty"`
}

// Run serves until ctx ends. Machines and their power stay as they are.
func Run(ctx context.Context, config Config) error {
	own, unlock, err := prepare(config.StateDir)
	if errors.Is(err, errAlready) {
		config.Ready(Readiness{Already: true})
		return nil
	}
	if err != nil {
		return err
	}
	defer unlock()
	logger, now := config.Logger, time.Now

	store, err := bolt.Open(ctx, bolt.Config{Path: filepath.Join(own, "store.db"), Logger: logger.Named("store")})
	if err != nil {
		return err
	}
	defer store.Close()
	sealer, err := openSealer(ctx, store, filepath.Join(own, "seal.key"), config.SealKey)
	if err != nil {
		return err
	}
	settings, err := readSettings(ctx, store)
	if err != nil {
		return err
	}
	authorities, err := ca.Open(ctx, ca.Config{Store: store, Sealer: sealer, Now: now, Lifetimes: config.Lifetimes})
	if err != nil {
		return err
	}
	tcp, err := listen(ctx, store, settings, config.Listen)
	if err != nil {
		return err
	}
	defer tcp.Close()
	unix, err := listenUnix(ctx, config.Socket)
	if err != nil {
		return err
	}
	defer unix.Close()
	port := tcp.Addr().(*net.TCPAddr).Port
	advertise := advertised(config.Advertise, port)

	// The parts that answer each other's questions hold the service and the server by these names.
	var service *machine.Service
	var server *api.Server
	var loop *reconcile.Loop
	journal := event.NewJournal(now())
	var relay *tunnel.Relay
	notify := func(uid string) {
		if name := service.NameOf(uid); name != "" {
			loop.Add(name)
			server.Touch(name)
		}
	}
	hub := agentlink.New(agentlink.Config{
		Logger: logger.Named("link"), Now: now, Signer: authorities,
		Identify:   func(ctx context.Context) (string, error) { return server.MachineUID(ctx) },
		RenewAfter: func(ctx context.Context) (time.Duration, bool) { return server.RenewAfter(ctx) },
		Notify:     notify,
		Reported:   func(uid string) { server.Reported(service.NameOf(uid)) },
		Emit: func(uid string, e host.Event) {
			journal.Emit(event.Event{
				Time: e.Time, Machine: service.NameOf(uid), UID: uid, Type: e.Type, Message: e.Message, Attributes: e.Attributes,
			})
		},
		Forgotten: func(uid string) { relay.Forget(uid) },
	})
	ctx, shutdown := context.WithCancel(ctx)
	defer shutdown()
	table := newDrivers(ctx, own, settings.GetControllerId(), config.PluginUser, logger)
	credentials := credential.New(credential.Config{Store: store, Sealer: sealer, Now: now})
	contact := bootstrap.New(bootstrap.Config{
		Logger: logger.Named("bootstrap"), AgentDir: config.AgentDir, Signers: func(name string) []ssh.Signer { return server.Signers.Of(name) },
	})
	handouts := handout.New(contact, logger.Named("handout"))
	swarms := swarm.New(swarm.Config{
		Dial:      func(ctx context.Context, name string) net.Conn { return relay.Dial(ctx, name) },
		Authority: func(ctx context.Context, name string) (string, error) { return authorityOf(service.Get(ctx, name)) },
		Signer:    authorities, Now: now,
	})
	tunnels := sshlink.New(sshlink.Config{
		Logger: logger.Named("sshlink"), Port: uint16(port), Changed: notify,
		Dial: func(ctx context.Context, name string) (*login.Connection, error) {
			target, err := service.Target(ctx, name)
			if err != nil {
				return nil, err
			}
			return contact.Dial(ctx, target)
		},
	})
	service, err = machine.New(machine.Config{ //nolint:contextcheck // what it asks once outlives every caller
		Store: store, Sealer: sealer, Drivers: table, Credentials: credentials, Bootstrap: contact, Hosts: hub, Tunnels: tunnels, Swarms: swarms, Authorities: authorities, Events: journal,
		Logger: logger.Named("machine"), Now: now, ControllerID: settings.GetControllerId(), ControlPort: uint16(port),
		Advertise: advertise, ProbeRepository: probeRepository(config.RepositoryKey),
	})
	if err != nil {
		return err
	}
	relay = tunnel.New(tunnel.Config{
		Logger: logger.Named("tunnel"), Now: now, Find: findFor(service.Get), Ask: hub.OpenTunnel, Awaited: func(uid string) bool { _, known := hub.Observed(uid); return !known },
		Identify: func(ctx context.Context) (string, error) { return server.MachineUID(ctx) },
		Opened:   func(m tunnel.Machine, caller, what string) { journal.Emit(tunnelEvent(m, caller, what, now())) },
	})
	// Agents may connect at once, and what they tell is told under their machines' names.
	if _, _, err := service.List(ctx); err != nil {
		return err
	}
	loop = reconcile.New(reconcile.Config{Step: service.Step, Keys: service.Names, Logger: logger.Named("reconcile")})
	server = api.New(api.Config{
		Logger: logger.Named("api"), Now: now, Machines: service, Drivers: table, Credentials: credentials, Journal: journal,
		Authorities: authorities, Verifier: authorities, Links: hub, Tunnels: relay, Busy: loop.Busy, Shutdown: shutdown,
		Info: api.Info{
			ControllerID: settings.GetControllerId(), Version: buildinfo.Version(), Build: ownStamp(), PID: os.Getpid(),
			Started: now(), Addresses: addresses(advertise, port),
		},
	})

	group, ctx := errgroup.WithContext(ctx)
	group.Go(named("unix socket", func() error { return server.ServeUnix(ctx, unix) }))
	group.Go(named("TCP port", func() error { return server.ServeTCP(ctx, tcp, authorities.ServerTLS(), handouts.Take) }))
	group.Go(named("SSH links", func() error { return server.ServeTCP(ctx, tunnels, authorities.ServerTLS(), nil) }))
	group.Go(named("agents' programs", func() error { return handouts.Run(ctx) }))
	group.Go(named("SSH connections", func() error { return tunnels.Run(ctx) }))
	group.Go(named("reconcile", func() error { return loop.Run(ctx) }))
	group.Go(named("watch", func() error { return follow(ctx, service, loop) }))
	logger.Info("serving", "socket", config.Socket, "port", port, "controller", settings.GetControllerId())
	config.Ready(Readiness{Ready: true, PID: os.Getpid()})
	return group.Wait()
}

func named(name string, run func() error) func() error {
	return func() error {
		if err := run(); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		return nil
	}
}
