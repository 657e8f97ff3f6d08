// Package plugin runs unmodified third-party programs docker-machine-driver-NAME as drivers, over docker-machine's plugin protocol.
// Each call starts the program anew with the JSON that it told last, and nothing of it is left when the call returns.
package plugin

import (
	"cmp"
	"context"
	"errors"
	"path/filepath"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"mctl/internal/controller/driver"
	"mctl/internal/controller/driver/plugin/folder"
	"mctl/internal/controller/driver/plugin/memory"
	"mctl/internal/controller/driver/plugin/wire"
	"mctl/internal/fault"
	"mctl/internal/reaper"
)

// Config is where plugins are, and how they are run. Zero times take their defaults.
type Config struct {
	Dir       string // our own, <state>/mctl: has drivers/, and plugin/ with a folder for each machine
	Path      string // directories to look in, as in PATH
	User      string // whom plugins run as, in a folder in their home; empty for ourselves
	Logger    hclog.Logger
	Heartbeat time.Duration // between two signs of life, 5 s; a plugin ends itself after ten seconds without any
	Grace     time.Duration // how long a plugin may take to end by itself, 5 s
	Settle    time.Duration // how long a Create that is given up may take to tell what it made, 5 s
	Look      time.Duration // between two questions about a host's state, 1 s
	Locate    time.Duration // how long a host that runs may have no address, 3 min as with docker-machine
}

func (c Config) ownFolders() string { return filepath.Join(c.Dir, "plugin") }

// reaper remembers plugins that run.
func (c Config) reaper() reaper.Reaper {
	return reaper.Reaper{Dir: filepath.Join(c.Dir, "plugin.running")}
}

func (c Config) driversDir() string { return filepath.Join(c.Dir, "drivers") }

// Plugins finds plugins, and remembers their flags. It is safe for use at the same time.
type Plugins struct {
	config Config
	life   context.Context
	mu     sync.Mutex
	asked  map[program]*answer
}

// answer is what a plugin told of itself.
type answer struct {
	mu     sync.Mutex
	stamp  stamp
	flags  []wire.Flag
	schema []driver.Flag
}

// New returns a finder, which asks nobody any more when ctx has ended. It ends what a killed controller left running, and removes
// what it left of questions.
func New(ctx context.Context, config Config) *Plugins {
	config.Heartbeat = cmp.Or(config.Heartbeat, 5*time.Second)
	config.Grace = cmp.Or(config.Grace, 5*time.Second)
	config.Settle = cmp.Or(config.Settle, 5*time.Second)
	config.Look = cmp.Or(config.Look, time.Second)
	config.Locate = cmp.Or(config.Locate, 3*time.Minute)
	if left := config.reaper().Reap(); left > 0 {
		config.Logger.Info("ended what a controller that was killed left running", "plugins", left)
	}
	if account, err := folder.FindAccount(config.User); err == nil {
		folder.Sweep(config.ownFolders(), account)
	}
	return &Plugins{config: config, life: ctx, asked: map[program]*answer{}}
}

// Driver is one plugin as a driver. It is stateless: what the plugin remembers of a host travels in driver.Instance.State.
type Driver struct {
	plugins *Plugins
	plugin  program
	account *folder.Account // nil for ourselves
	flags   []wire.Flag
	schema  []driver.Flag
}

var (
	_ driver.Driver    = (*Driver)(nil)
	_ driver.Restarter = (*Driver)(nil)
	_ driver.Keyholder = (*Driver)(nil)
)

// Info describes the driver. It is never chosen unasked.
func (d *Driver) Info() driver.Info {
	return driver.Info{Name: d.plugin.asked, Summary: "third-party plugin " + d.plugin.path}
}

// Flags are the plugin's, and two of ours.
func (d *Driver) Flags() []driver.Flag { return d.schema }

// Validate checks what can be checked without the plugin.
func (d *Driver) Validate(options driver.Options) error { return validate(options) }

// Preflight has the plugin check the flags and ask its provider, in a folder that is removed again.
func (d *Driver) Preflight(ctx context.Context, m driver.Machine) error {
	dir, err := folder.OpenScratch(d.plugins.config.ownFolders(), d.account, m.Name)
	if err != nil {
		return err
	}
	defer dir.Drop()
	s, err := d.open(ctx, dir, m)
	if err != nil {
		return err
	}
	defer s.close(ctx)
	if err := s.prepare(ctx, m); err != nil {
		return err
	}
	err = s.trouble("PreCreateCheck", s.do(ctx, "PreCreateCheck"))
	if errors.Is(err, context.DeadlineExceeded) {
		err = fault.New("plugin.Preflight", fault.Unavailable, m.Name, "the plugin "+d.plugin.label()+" did not end its pre-create check in time").
			WithHint("see whether its provider answers, and try again")
	}
	return err
}

// prepare gives a new host's plugin its flags. Its errors are faults.
func (s *session) prepare(ctx context.Context, m driver.Machine) error {
	if _, err := s.introduce(ctx, base(m.Name, s.folder.Path)); err != nil {
		return err
	}
	files, err := s.folder.Upload(m.Options)
	if err != nil {
		return s.trouble("upload", err)
	}
	values := valuesOf(s.d.plugin.name, m.Swarm, s.d.flags, m.Options, files)
	err = s.within(ctx, min(s.limit, quickLimit), "SetConfigFromFlags", func(ctx context.Context) error { return s.client.SetFlags(ctx, values) })
	var answer wire.DriverError
	said := errors.As(err, &answer)
	if err = s.trouble("SetConfigFromFlags", err); said && fault.Is(err, fault.Precondition) {
		// What a plugin says of its flags is about how the command was used.
		err = fault.E("plugin.SetConfigFromFlags", fault.Invalid, m.Name, err).
			WithHint("`mctl create --driver " + s.d.plugin.asked + " --help` lists the flags").WithReason(fault.ReasonUsage)
	}
	return err
}

// Key is the private key that the plugin made for the host.
func (d *Driver) Key(m driver.Machine) ([]byte, error) {
	known, err := memory.Recall(m.State)
	if err != nil {
		return nil, err
	}
	if len(m.State) == 0 && m.Imported != nil {
		known.Key = m.Imported.Key
	}
	if len(known.Key) == 0 {
		return nil, fault.New("plugin.Key", fault.Precondition, m.Name, "the plugin "+d.plugin.label()+" names no SSH key for the host").
			WithHint("give it one with its own flags, if it has any for that")
	}
	return known.Key, nil
}
