// Package agent makes a host what its controller wishes. Run is the wiring: the link brings wishes, the converger fulfils
// them one after the other, health tells how the host is.
package agent

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sync/errgroup"

	"mctl/internal/agent/engine"
	"mctl/internal/agent/front"
	"mctl/internal/agent/health"
	"mctl/internal/agent/identity"
	"mctl/internal/agent/link"
	"mctl/internal/buildinfo"
	"mctl/internal/host"
)

// StateDir is where the agent keeps what it knows.
const StateDir = "/var/lib/mctl"

// releaseLimit bounds taking everything away after the last word was said.
const releaseLimit = 5 * time.Minute

// Config is what an agent needs.
type Config struct {
	Dir       string // StateDir but in tests
	Logger    hclog.Logger
	Footprint engine.Footprint
	// Release takes away all that we put on the host, the agent included, after the controller knows of it.
	Release func(ctx context.Context, purgeEngine bool) error
}

// Run serves until ctx ends or the host was given back.
func Run(ctx context.Context, config Config) error {
	logger := config.Logger
	holder, err := identity.Open(identity.Config{Dir: filepath.Join(config.Dir, "identity"), Logger: logger.Named("identity"), Now: time.Now})
	if err != nil {
		return err
	}
	watcher := health.New(health.Config{Logger: logger.Named("health")})
	// The link hands wishes to the converger, which answers through the link; this is where the circle is closed.
	var worker *converger
	var purge atomic.Bool
	connection := link.New(link.Config{
		Logger: logger.Named("link"), Identity: holder, Now: time.Now,
		Settings:      func() (link.Settings, error) { return readSettings(filepath.Join(config.Dir, "config.json")) },
		EndpointsFile: filepath.Join(config.Dir, "endpoints.json"),
		Version:       buildinfo.Version(), Instance: rand.Text(),
		Facts:  func() host.Facts { return hostFacts("/") },
		Health: watcher.Snapshot,
		Desired: func(w link.Wish) {
			if w.Release != nil {
				purge.Store(w.Release.PurgeEngine)
			}
			worker.want(w)
		},
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
		Export:     func() error { return front.Export(front.DefaultDir, front.DockerDir, config.Footprint) },
		RecordFile: filepath.Join(config.Dir, "applied.json"),
	})
	logger.Info("agent started", "version", buildinfo.Version())

	group, running := errgroup.WithContext(ctx)
	group.Go(func() error { return connection.Run(running) })
	group.Go(func() error { return worker.run(running) })
	revival := newReviver(logger.Named("revive"), connection.Emit)
	group.Go(func() error { return revival.run(running) })
	group.Go(func() error {
		emit := func(e host.Event) { connection.Emit(e); revival.see(e) }
		if err := watcher.Events(running, emit); running.Err() == nil {
			return fmt.Errorf("watch the engine: %w", err)
		}
		return nil
	})
	err = group.Wait()
	if errors.Is(err, link.ErrReleased) {
		logger.Info("the host is given back, taking everything away")
		// Removing our own unit ends this process's context; the removal must go on.
		limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseLimit)
		defer cancel()
		return config.Release(limited, purge.Load())
	}
	return err
}
