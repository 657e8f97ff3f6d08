// Package health tells how a host, its engine and its containers are. It reads /proc by hand and keeps little in memory:
// it runs on every host, all the time.
//
// It never wakes an engine that somebody stopped. docker.socket starts dockerd for whoever connects, so a connection is
// opened only while the main process lives and its unit is active, and a connection that is open is kept.
package health

import (
	"context"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"mctl/internal/agent/health/system"
	"mctl/internal/fault"
	"mctl/internal/host"
)

// Config is what a Watcher needs. Logger must be set.
type Config struct {
	Logger hclog.Logger
	Root   string           // put in front of every path; empty but in tests
	Now    func() time.Time // nil for time.Now
	// Version gets the engine's version when it is first seen and whenever it is another one; nil for nobody. It must not block.
	Version func(version string)
	// Changed is called when a container came, went, started, died or turned well or unwell; nil for nobody. It must not block.
	Changed func()
	// Active reports whether docker.service is active; nil asks systemd.
	Active func(ctx context.Context) bool
	// Recheck is how often a dead engine is looked for, Ping how often a living one is asked, Frozen how long it may take to
	// answer; zero for 500 ms, 1 s and 2.5 s.
	Recheck, Ping, Frozen time.Duration
}

// Watcher watches this host.
type Watcher struct {
	config Config

	mu     sync.Mutex
	cpu    system.Ticks // of the last snapshot
	engine engineState
	tally  tally
	cursor cursor
	found  chan struct{} // closed when the engine is known
}

// engineState is what is known of the engine.
type engineState struct {
	known, up bool
	ping      time.Duration
	version   string // the last that was told
}

// New returns a Watcher. It touches nothing.
func New(config Config) *Watcher {
	config.Logger = config.Logger.Named("health")
	if config.Now == nil {
		config.Now = time.Now
	}
	if config.Active == nil {
		config.Active = unitActive
	}
	for d, fallback := range map[*time.Duration]time.Duration{&config.Recheck: 500 * time.Millisecond, &config.Ping: time.Second, &config.Frozen: 2500 * time.Millisecond} {
		if *d == 0 {
			*d = fallback
		}
	}
	return &Watcher{config: config, found: make(chan struct{})}
}

// firstFinding is how long a snapshot waits for what Events finds first: one answer of an engine that runs.
const firstFinding = time.Second

// Snapshot returns how the host is now. Its engine part is what Events saw last, so Events must run beside it. Nothing else
// is waited for: file systems over a network are left out. Internal when /proc can't be read. May be repeated.
func (w *Watcher) Snapshot(ctx context.Context) (host.Health, error) {
	timer := time.NewTimer(firstFinding)
	defer timer.Stop()
	select {
	case <-w.found:
	case <-timer.C:
	case <-ctx.Done():
	}
	if err := ctx.Err(); err != nil {
		return host.Health{}, err
	}
	h, now, err := system.Root(w.config.Root).Read()
	if err != nil {
		return host.Health{}, fault.E("health.Snapshot", fault.Internal, "", err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	h.CPUPercent = now.PercentSince(w.cpu)
	w.cpu = now
	w.know(w.engine.up, w.engine.ping) // an engine that is told as down is known as down: its coming up is news
	h.EngineUp, h.EnginePing = w.engine.up, w.engine.ping
	if h.EngineUp {
		h.ContainersRunning, h.ContainersStopped, h.ContainersUnhealthy, h.ContainersRestart = w.tally.count()
	}
	h.Time = w.config.Now()
	return h, nil
}

// unitActive asks systemd; a host without the answer counts as active, since its dockerd lives.
func unitActive(ctx context.Context) bool {
	limited, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	state, err := exec.CommandContext(limited, "systemctl", "show", "-p", "ActiveState", "--value", "docker.service").Output()
	return err != nil || strings.TrimSpace(string(state)) == "active"
}
