// Package front serves the Docker socket over TLS. It runs as a process of its own behind a systemd socket unit, reads keys
// and authorities from disk at each handshake, and copies bytes without looking at them, so that attach, exec and BuildKit's
// h2c pass and nothing is ever restarted for a certificate.
package front

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"

	"mctl/internal/fault"
	"mctl/internal/lobby"
	"mctl/internal/pki"
)

// Where the front's files and Docker's socket are on a host.
const (
	DefaultDir    = "/var/lib/mctl/front"
	DefaultSocket = "/var/run/docker.sock"
)

// Limits bound what strangers and clients may use. Zero fields stand for the defaults.
type Limits struct {
	Connections int           // let in at the same time; 1,000. One more is closed at once
	Handshakes  int           // not let in yet; 256. One more pushes out one of where the most come from, so that strangers keep nobody out
	Handshake   time.Duration // from accept to the end of the handshake; 10 s
	Dial        time.Duration // how long a client waits for a dockerd that does not answer, as while it restarts; 5 s
	Linger      time.Duration // how long a client may take to hang up after dockerd did; 2 s
	Look        time.Duration // how often one that drains looks for revoked certificates, as no handshake has it look; 5 s
}

func (l Limits) orDefaults() Limits {
	if l.Connections == 0 {
		l.Connections = 1000
	}
	if l.Handshakes == 0 {
		l.Handshakes = 256
	}
	if l.Handshake == 0 {
		l.Handshake = 10 * time.Second
	}
	if l.Dial == 0 {
		l.Dial = 5 * time.Second
	}
	if l.Linger == 0 {
		l.Linger = 2 * time.Second
	}
	if l.Look == 0 {
		l.Look = 5 * time.Second
	}
	return l
}

// Config is what a front needs. Logger must be set.
type Config struct {
	Dir       string         // where the material is; empty for DefaultDir
	Socket    string         // Docker's; empty for DefaultSocket
	Listeners []net.Listener // nil for those that systemd handed over
	Logger    hclog.Logger
	Limits    Limits
}

type front struct {
	config Config
	trust  *trust
	lobby  *lobby.Lobby
	guests *guests
	pool   pool
	wait   sync.WaitGroup // one for each connection
}

// Run serves until ctx ends, then accepts no more and returns when the last connection has ended, however long that takes.
// The caller must keep SIGTERM caught until then: systemd sends it twice. SIGHUP makes it look at once which certificates
// were revoked; one that drains, which systemd does not know any more, looks by itself. Missing material is no error: it is read at each handshake, and handshakes fail until it is there.
func Run(ctx context.Context, config Config) error {
	if config.Dir == "" {
		config.Dir = DefaultDir
	}
	if config.Socket == "" {
		config.Socket = DefaultSocket
	}
	config.Limits = config.Limits.orDefaults()
	config.Logger = config.Logger.Named("front")
	if config.Listeners == nil {
		listeners, err := inherited()
		if err != nil {
			return err
		}
		config.Listeners = listeners
	}
	f := &front{
		config: config,
		trust:  newTrust(config.Dir, config.Logger),
		lobby:  lobby.New(config.Limits.Handshakes),
		guests: newGuests(config.Limits.Connections),
	}
	f.run(ctx)
	return nil
}

func (f *front) run(ctx context.Context) {
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)

	var accepting sync.WaitGroup
	for _, listener := range f.config.Listeners {
		accepting.Go(func() { f.accept(ctx, listener) })
	}
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		accepting.Wait()
		f.wait.Wait()
	}()
	stop := ctx.Done()
	var look <-chan time.Time
	for {
		select {
		case <-stop:
			stop = nil
			for _, listener := range f.config.Listeners {
				listener.Close()
			}
			f.config.Logger.Info("draining", "connections", f.guests.count())
			ticker := time.NewTicker(f.config.Limits.Look)
			defer ticker.Stop()
			look = ticker.C
		case <-hangups:
			f.cutRevoked()
		case <-look:
			f.cutRevoked()
		case <-drained:
			return
		}
	}
}

// accept serves one listener until it is closed.
func (f *front) accept(ctx context.Context, listener net.Listener) {
	for {
		conn, err := listener.Accept()
		switch {
		case err == nil:
			leave := f.lobby.Enter(conn) // here, so that the oldest is the one that was accepted first
			// Connections outlive ctx: its end only means that no more are accepted.
			f.wait.Go(func() { f.serve(context.WithoutCancel(ctx), conn, leave) })
		case ctx.Err() != nil || errors.Is(err, net.ErrClosed):
			return
		default:
			// Out of file descriptors, or a client that is gone already. The rest must not suffer for it.
			f.config.Logger.Warn("accept failed", "error", err)
			if pause(ctx, 100*time.Millisecond) != nil {
				return
			}
		}
	}
}

// serve is the life of one connection.
func (f *front) serve(ctx context.Context, conn net.Conn, leave func()) {
	defer conn.Close()
	log := f.config.Logger.With("client", conn.RemoteAddr().String())
	client, serial, err := f.welcome(ctx, conn)
	leave()
	if err != nil {
		log.Debug("refused", "error", err)
		return
	}
	g := &guest{conn: conn, serial: serial}
	if err := f.guests.add(g); err != nil {
		log.Warn("refused", "error", err)
		return
	}
	defer f.guests.remove(g)
	// The file may have changed between the handshake and the entry in the list.
	if f.cutRevoked(); f.trust.isRevoked(serial) {
		return
	}
	engine, err := dial(ctx, f.config.Socket, f.config.Limits.Dial)
	if err != nil {
		log.Warn("docker does not answer", "error", err)
		apologize(client, f.config.Limits.Linger)
		return
	}
	splice(client, engine, &f.pool, f.config.Limits.Linger)
}

// welcome makes the handshake and returns the serial number of the client's certificate.
func (f *front) welcome(ctx context.Context, conn net.Conn) (*caller, string, error) {
	limited, cancel := context.WithTimeout(ctx, f.config.Limits.Handshake)
	defer cancel()
	below, err := newAhead(conn, &f.pool)
	if err != nil {
		return nil, "", err
	}
	client := &caller{tls.Server(below, f.trust.config()), below}
	if err := client.HandshakeContext(limited); err != nil {
		return nil, "", err
	}
	return client, serialOf(client.ConnectionState()), nil
}

func serialOf(state tls.ConnectionState) string { return pki.Serial(state.PeerCertificates[0]) }

// cutRevoked ends the connections of those whose certificates were revoked since.
func (f *front) cutRevoked() {
	for _, serial := range f.trust.newlyRevoked() {
		if n := f.guests.cut(serial); n > 0 {
			f.config.Logger.Info("cut connections of a revoked certificate", "serial", serial, "connections", n)
		}
	}
}

// pause waits for d, or fails when ctx ends first.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

var errFull = fault.New("front.add", fault.Quota, "", "too many connections")
