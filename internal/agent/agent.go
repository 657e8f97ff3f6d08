// Package agent makes a host what its controller wishes. Run is the wiring: the link brings wishes, the converger fulfils
// them one after the other, health tells how the host is.
package agent

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"

	"mctl/internal/agent/engine"
	"mctl/internal/agent/footprint"
	"mctl/internal/agent/front"
	"mctl/internal/agent/health"
	"mctl/internal/agent/identity"
	"mctl/internal/agent/link"
	"mctl/internal/agent/tunnel"
	"mctl/internal/buildinfo"
	"mctl/internal/host"
	"mctl/internal/reaper"
)

// StateDir is where the agent keeps what it knows.
const StateDir = "/var/lib/mctl"

// releaseLimit bounds taking everything away after the last word was said.
const releaseLimit = 5 * time.Minute

// leaveAgain is the pause after a removal that failed.
const leaveAgain = time.Minute

// Config is what an agent needs.
type Config struct {
	Dir       string // StateDir but in tests
	Logger    hclog.Logger
	Footprint engine.Footprint
	// OpenFront has systemd hold the front's port, from now on and from each boot.
	OpenFront func(ctx context.Context) error
	// ServeSwarm has systemd hold one more port for the front, from now on and from each boot; none with zero.
	ServeSwarm func(ctx context.Context, port uint16) error
	// Release takes away all that we put on the host, the agent included, after the controller knows of it.
	Release func(ctx context.Context, purgeEngine bool) error
}

// Run serves until ctx ends or the host was given back.
func Run(ctx context.Context, config Config) error {
	logger, leavingFile := config.Logger, filepath.Join(config.Dir, footprint.LeavingFile)
	parting, err := readLeaving(leavingFile)
	if err != nil {
		return err
	}
	if parting != nil && parting.Told {
		return config.leave(ctx, *parting)
	}
	holder, err := identity.Open(identity.Config{Dir: filepath.Join(config.Dir, "identity"), Logger: logger.Named("identity"), Now: time.Now})
	if err != nil {
		return err
	}
	// The link hands wishes to the converger, which answers through the link; this is where the circle is closed.
	var worker *converger
	var connection *link.Link
	program, err := os.Executable()
	if err != nil {
		return err
	}
	tunnels := tunnel.New(tunnel.Config{
		Logger: logger.Named("tunnel"), Program: program, Reaper: reaper.Reaper{Dir: filepath.Join(config.Dir, "tunnels")},
		Dial: func(ctx context.Context) (*grpc.ClientConn, error) { return connection.Dial(ctx) },
	})
	watcher := health.New(health.Config{
		Logger:  logger.Named("health"),
		Version: func(version string) { worker.see(version) }, Changed: func() { connection.Changed() },
	})
	connection = link.New(link.Config{
		Logger: logger.Named("link"), Identity: holder, Now: time.Now,
		Settings:      func() (link.Settings, error) { return readSettings(filepath.Join(config.Dir, "config.json")) },
		EndpointsFile: filepath.Join(config.Dir, "endpoints.json"), SocketDir: link.SocketDir,
		Version: buildinfo.Version(), Instance: rand.Text(),
		Facts:   func() host.Facts { return hostFacts("/") },
		Health:  watcher.Snapshot,
		Desired: func(w link.Wish) { worker.want(w) },
		Tunnel:  tunnels.Open,
		Leaving: parting != nil,
	})
	worker = newConverger(convergerConfig{
		Logger: logger.Named("converge"), Now: time.Now,
		Engine: engine.New(engine.Config{
			Logger: logger, Footprint: config.Footprint,
			Progress: func(sentence string) {
				connection.Emit(host.Event{Type: host.EventProgress, Time: time.Now(), Message: sentence})
			},
		}),
		Controller: connection, FrontDir: front.DefaultDir,
		OpenFront:  config.OpenFront,
		ServeSwarm: config.ServeSwarm,
		Export:     func() error { return front.Export(front.DefaultDir, front.DockerDir, config.Footprint) },
		RecordFile: filepath.Join(config.Dir, "applied.json"), LeavingFile: leavingFile,
	})
	logger.Info("agent started", "version", buildinfo.Version())

	group, running := errgroup.WithContext(ctx)
	group.Go(func() error { return connection.Run(running) })
	group.Go(func() error { return worker.run(running) })
	group.Go(func() error { return tunnels.Run(running) })
	revival := newReviver(logger.Named("revive"), connection.Emit)
	group.Go(func() error { return revival.run(running) })
	group.Go(func() error {
		emit := func(e host.Event) {
			connection.Emit(e)
			revival.see(e)
			if e.Type == host.EventEngineUp || e.Type == host.EventEngineDown {
				worker.turn()
			}
		}
		if err := watcher.Events(running, emit); running.Err() == nil {
			return fmt.Errorf("watch the engine: %w", err)
		}
		return nil
	})
	if err = group.Wait(); !errors.Is(err, link.ErrReleased) {
		return err
	}
	if parting, err = readLeaving(leavingFile); err != nil || parting == nil {
		return errors.Join(err, errors.New("the host is given back, but nothing on disk says so"))
	}
	parting.Told = true
	if err := parting.write(leavingFile); err != nil {
		return err
	}
	return config.leave(ctx, *parting)
}

// leave takes everything away, this agent included, and tries again as long as something prevents it.
func (c Config) leave(ctx context.Context, parting leaving) error {
	c.Logger.Info("the host is given back, taking everything away")
	for {
		err := c.remove(ctx, parting)
		if err == nil {
			return nil
		}
		if ctx.Err() == nil {
			c.Logger.Warn("not everything could be taken away yet", "error", err)
		}
		timer := time.NewTimer(leaveAgain)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil
		}
	}
}

// remove waits for the removal, but not when this agent is told to end: the removal itself does that first, and goes on when it
// has ended.
func (c Config) remove(ctx context.Context, parting leaving) error {
	limited, cancel := context.WithTimeout(ctx, releaseLimit)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- c.Release(limited, parting.PurgeEngine) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}
