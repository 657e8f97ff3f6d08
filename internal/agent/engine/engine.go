// Package engine installs, configures and upgrades Docker on this host.
package engine

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"mctl/internal/agent/engine/daemon"
	"mctl/internal/agent/engine/dockerd"
	"mctl/internal/agent/engine/packages"
	"mctl/internal/agent/engine/program"
	"mctl/internal/agent/engine/tree"
	"mctl/internal/host"
)

// Footprint remembers what we put on the host, so that it can be taken away.
type Footprint interface {
	// File is called before a path is created or changed. It remembers content, mode and owner, or absence, once.
	File(path string) error
	// Package tells packages that come by us, before they come.
	Package(names ...string) error
	// Written is called after; it remembers the digest that we left.
	Written(path string) error
	// Returned is called once our part is out of a file again, whose other parts may be others' by now.
	Returned(path string) error
	// PutBack makes a path what it was before us, unless somebody else changed it since.
	PutBack(path string) error
}

// Runner runs programs.
type Runner = program.Runner

// Config is what an Engine needs. Logger and Footprint must be set.
type Config struct {
	Logger    hclog.Logger
	Root      string       // put in front of every path; empty but in tests
	Runner    Runner       // nil for this host's programs
	Progress  func(string) // gets sentences for people; may be nil
	Footprint Footprint
	Now       func() time.Time // nil for time.Now
	HTTP      *http.Client     // for downloads; nil for one that knows the environment's proxies
	Sources   packages.Sources // zero for the vendors' own
	LockWait  time.Duration    // how long another package manager is waited for in one call; zero for 30 s
	// StartLimit is how long dockerd may take until it answers, zero for 60 s.
	StartLimit time.Duration
	// TakeoverLimit is how long dockerd may take to come back without its own listener, zero for 30 s.
	TakeoverLimit time.Duration
}

// Engine is Docker on this host.
type Engine struct {
	config Config
	tree   tree.Tree
	daemon *dockerd.Daemon
	mu     sync.Mutex // one wish at a time
}

// New returns an Engine. It touches nothing.
func New(config Config) *Engine {
	config.Logger = config.Logger.Named("engine")
	if config.Runner == nil {
		config.Runner = program.Local{}
	}
	if config.Progress == nil {
		config.Progress = func(string) {}
	}
	if config.Now == nil {
		config.Now = time.Now
	}
	if config.HTTP == nil {
		config.HTTP = &http.Client{Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true}}
	}
	if config.Sources == (packages.Sources{}) {
		config.Sources = packages.DefaultSources()
	}
	if config.LockWait == 0 {
		config.LockWait = 30 * time.Second
	}
	if config.StartLimit == 0 {
		config.StartLimit = time.Minute
	}
	if config.TakeoverLimit == 0 {
		config.TakeoverLimit = 30 * time.Second
	}
	return &Engine{config: config, tree: tree.Tree(config.Root), daemon: dockerd.New(dockerd.Config{
		Tree: tree.Tree(config.Root), Runner: config.Runner, StartLimit: config.StartLimit,
	})}
}

// Converge makes Docker as wanted and tells how it is. It may be repeated at any time, also after a crash in the middle.
//
// dockerd is started when it was installed by us, the first time, and when want.Provision has changed; else a dockerd that
// somebody stopped stays stopped. It is restarted only when a change needs it, and the former files are put back when it
// does not start with the new ones. One that has want.Port itself gives it up as want.AdoptRestart says; while that waits for
// a restart, the facts say so.
//
// Invalid for wishes that can't be written or that dockerd does not know; Precondition when somebody must act on the host
// first; Unavailable while another package manager works.
func (e *Engine) Converge(ctx context.Context, want host.Engine) (host.EngineFacts, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	options, err := daemon.Wish(want, e.config.Progress)
	if err != nil {
		return host.EngineFacts{}, err
	}
	memory, err := e.load()
	if err != nil {
		return host.EngineFacts{}, err
	}
	service, err := e.daemon.Inspect(ctx)
	if err != nil {
		return memory.Facts, err
	}
	if err := e.daemon.Foreign(ctx, service); err != nil {
		return memory.Facts, err
	}
	if service, err = e.install(ctx, want, memory, service); err != nil {
		return memory.Facts, err
	}
	start := memory.First || memory.Provision != want.Provision
	if service, err = e.upgrade(ctx, want, memory, service); err != nil {
		return memory.Facts, err
	}
	service, awaits, err := e.attain(ctx, want, demand{options: options, env: want.Env}, memory, service, start)
	if err != nil {
		return memory.Facts, err
	}
	memory.Facts.AwaitsRestart = awaits
	if service.Alive() {
		info, err := e.daemon.Info(ctx)
		if err != nil {
			return memory.Facts, err
		}
		memory.Facts = host.EngineFacts{Version: info.ServerVersion, Source: memory.Source, StorageDriver: info.Driver, AwaitsRestart: awaits}
		if memory.First {
			e.config.Progress("Docker " + info.ServerVersion + " (" + describe(host.Install(memory.Source)) + ")")
		}
	}
	memory.First, memory.Provision, memory.Upgrade = false, want.Provision, want.Upgrade
	return memory.Facts, e.save(memory)
}

// Release takes our part out of dockerd's configuration before the footprint is taken away: daemon.json goes back byte for
// byte when nobody else changed it, else only our keys leave it. Containers go on; what dockerd takes over only when it
// restarts stays until then, and it is kept off the front's port. It may be repeated.
func (e *Engine) Release(ctx context.Context) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	memory, service, err := e.known(ctx)
	if err != nil || !service.Loaded {
		return err
	}
	return e.withdraw(ctx, memory, service)
}

// known is what we remember, and what is.
func (e *Engine) known(ctx context.Context) (*memory, dockerd.Service, error) {
	memory, err := e.load()
	if err != nil {
		return nil, dockerd.Service{}, err
	}
	service, err := e.daemon.Inspect(ctx)
	return memory, service, err
}
