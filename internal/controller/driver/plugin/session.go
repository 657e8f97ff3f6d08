package plugin

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"mctl/internal/controller/driver"
	"mctl/internal/controller/driver/plugin/folder"
	"mctl/internal/controller/driver/plugin/memory"
	"mctl/internal/controller/driver/plugin/process"
	"mctl/internal/controller/driver/plugin/wire"
)

const (
	// quickLimit bounds what a plugin answers by itself, askLimit what it asks its provider.
	quickLimit = 30 * time.Second
	askLimit   = 2 * time.Minute
	// maxLines is how much of a plugin's output is told to people; the rest is dropped.
	maxLines = 500
)

// session is one plugin that runs, for one call of ours. Close it.
type session struct {
	d       *Driver
	logger  hclog.Logger
	machine string
	hidden  secrets
	limit   time.Duration
	folder  *folder.Folder
	process *process.Process
	client  *wire.Client
	last    atomic.Pointer[string] // line of standard error
	end     context.CancelFunc     // of the heartbeat
	workers sync.WaitGroup
}

// open starts the plugin and shakes hands. Its errors are faults.
func (d *Driver) open(ctx context.Context, dir *folder.Folder, m driver.Machine) (*session, error) {
	s := &session{
		d: d, logger: d.plugins.config.Logger.With("plugin", d.plugin.name, "machine", m.Name), machine: m.Name, folder: dir,
		hidden: secretsOf(d.schema, m.Options), limit: duration(m.Options, flagLimit, defaultLimit),
	}
	config := process.Config{
		Path: d.plugin.path, Dir: dir.Path, Environment: d.environment(dir),
		Line: s.tell(m.Progress), Debug: s.note, Reaper: d.plugins.config.reaper(),
	}
	if d.account != nil {
		config.User = &d.account.User
	}
	var err error
	if s.process, err = process.Start(config); err != nil {
		return nil, d.noPlugin(m.Name, err, nil, "")
	}
	address, err := s.process.First(ctx)
	if err == nil {
		s.client, err = wire.Dial(ctx, strings.TrimSpace(address))
	}
	if err != nil {
		s.process.Stop(0)
		last := ""
		if line := s.last.Load(); line != nil {
			last = *line
		}
		return nil, d.noPlugin(m.Name, err, s.process.Reason(), last)
	}
	beat, end := context.WithCancel(context.WithoutCancel(ctx))
	s.end = end
	s.workers.Go(func() { s.beat(beat) })
	s.workers.Go(func() {
		select {
		case <-s.process.Ended():
			s.client.Close() // whoever waits for an answer waits in vain
		case <-beat.Done():
		}
	})
	return s, nil
}

// note keeps what a plugin says of itself.
func (s *session) note(line string) {
	if line = s.hidden.tidy(line); line != "" {
		s.last.Store(&line)
		s.logger.Debug("says", "line", line)
	}
}

// beat keeps the plugin alive: it ends itself ten seconds after the last heartbeat.
func (s *session) beat(ctx context.Context) {
	ticker := time.NewTicker(s.d.plugins.config.Heartbeat)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			_ = s.client.Do(ctx, "Heartbeat")
		case <-ctx.Done():
			return
		}
	}
}

// close asks the plugin to end, and ends it where it does not, also after ctx has ended. Nothing of it is left then.
func (s *session) close(ctx context.Context) {
	end := time.Now().Add(s.d.plugins.config.Grace)
	ctx, cancel := context.WithDeadline(context.WithoutCancel(ctx), end)
	_ = s.client.Do(ctx, "Close") // whose answer may be lost to its end
	cancel()
	s.leave(time.Until(end))
}

// leave ends the plugin after a grace period.
func (s *session) leave(grace time.Duration) {
	s.end()
	s.process.Stop(grace)
	s.client.Close()
	s.workers.Wait()
}

// within makes one call, bounded by a limit.
func (s *session) within(ctx context.Context, limit time.Duration, method string, call func(ctx context.Context) error) error {
	bounded, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	err := call(bounded)
	if err != nil && bounded.Err() != nil && ctx.Err() == nil {
		s.process.Stop(0) // it would go on otherwise, and nobody would know
		return hangError{method, limit, limit == s.limit}
	}
	return err
}

// do calls a method that may take long. The error is as it came.
func (s *session) do(ctx context.Context, method string) error {
	return s.within(ctx, s.limit, method, func(ctx context.Context) error { return s.client.Do(ctx, method) })
}

// text asks for a text.
func (s *session) text(ctx context.Context, method string) (text string, err error) {
	err = s.within(ctx, min(s.limit, askLimit), method, func(ctx context.Context) (err error) {
		text, err = s.client.Text(ctx, method)
		return err
	})
	return text, err
}

func (s *session) state(ctx context.Context) (state wire.State, err error) {
	err = s.within(ctx, min(s.limit, askLimit), "GetState", func(ctx context.Context) (err error) {
		state, err = s.client.State(ctx)
		return err
	})
	return state, err
}

func (s *session) config(ctx context.Context) (config []byte, err error) {
	err = s.within(ctx, min(s.limit, quickLimit), "GetConfigRaw", func(ctx context.Context) (err error) {
		config, err = s.client.Config(ctx)
		return err
	})
	return config, err
}

// introduce gives the plugin its config and asks for its flags. Its errors are faults.
func (s *session) introduce(ctx context.Context, config []byte) ([]wire.Flag, error) {
	var flags []wire.Flag
	for _, step := range []struct {
		method string
		call   func(ctx context.Context) error
	}{
		{"SetConfigRaw", func(ctx context.Context) error { return s.client.SetConfig(ctx, config) }},
		{"GetMachineName", func(ctx context.Context) error { _, err := s.client.Text(ctx, "GetMachineName"); return err }},
		{"DriverName", func(ctx context.Context) error { _, err := s.client.Text(ctx, "DriverName"); return err }},
		{"GetCreateFlags", func(ctx context.Context) (err error) { flags, err = s.client.Flags(ctx); return err }},
	} {
		if err := s.within(ctx, min(s.limit, quickLimit), step.method, step.call); err != nil {
			return nil, s.trouble(step.method, err)
		}
	}
	return flags, nil
}

// resume gives the plugin back what it told last, and the key that it made.
func (s *session) resume(ctx context.Context, known memory.Memory) error {
	err := s.within(ctx, min(s.limit, quickLimit), "SetConfigRaw", func(ctx context.Context) error { return s.client.SetConfig(ctx, known.ConfigAt(s.folder.Path)) })
	if err != nil {
		return s.trouble("SetConfigRaw", err)
	}
	if known.Key == nil {
		return nil
	}
	path, err := s.text(ctx, "GetSSHKeyPath")
	if err != nil {
		return s.trouble("GetSSHKeyPath", err)
	}
	if name, inside := s.folder.Inside(path); inside {
		err = s.folder.Place(name, known.Key)
	}
	return err
}

// trouble makes a fault of what a call came to.
func (s *session) trouble(method string, err error) error {
	if err == nil {
		return nil
	}
	var reason error
	if errors.Is(err, wire.ErrGone) {
		reason = s.reason()
	}
	return s.d.trouble(method, s.machine, s.hidden, err, reason)
}

// over reports whether the plugin has ended, so that it need not be asked again.
func (s *session) over() bool {
	select {
	case <-s.process.Ended():
		return true
	default:
		return false
	}
}

// reason is why the plugin ended, if it did.
func (s *session) reason() error {
	timer := time.NewTimer(100 * time.Millisecond) // a broken connection is seen before the end that broke it
	defer timer.Stop()
	select {
	case <-s.process.Ended():
	case <-timer.C:
	}
	return s.process.Reason()
}

// tell passes a plugin's lines on to people.
func (s *session) tell(progress driver.Progress) func(line string) {
	told := 0
	return func(line string) {
		switch told++; {
		case told < maxLines:
			if line = s.hidden.tidy(line); line != "" {
				progress(line)
			}
		case told == maxLines:
			progress("The plugin says more than is shown")
		}
	}
}

// kept are the variables of ours that a plugin gets: how to work on this computer, and nothing that says as whom.
var kept = []string{"PATH", "LANG", "TZ", "TMPDIR", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR"}

// own are those that belong to the user that we run as.
var own = []string{"HOME", "USER", "LOGNAME", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME"}

func (d *Driver) environment(dir *folder.Folder) []string {
	names := kept
	environment := []string{
		"MACHINE_PLUGIN_TOKEN=42", "MACHINE_PLUGIN_DRIVER_NAME=" + d.plugin.name, "MACHINE_STORAGE_PATH=" + dir.Path,
	}
	if d.account == nil {
		names = slices.Concat(kept, own)
	} else {
		environment = append(environment, "HOME="+dir.Path, "USER="+d.account.Name)
	}
	for _, name := range names {
		if value, ok := os.LookupEnv(name); ok {
			environment = append(environment, name+"="+value)
		}
	}
	return environment
}

// base is what every driver of docker-machine is told before anything else.
func base(machine, store string) []byte {
	config, _ := json.Marshal(struct { // texts and numbers alone
		IPAddress, MachineName, SSHUser string
		SSHPort                         int
		SSHKeyPath, StorePath           string
		SwarmMaster                     bool
		SwarmHost, SwarmDiscovery       string
	}{MachineName: machine, StorePath: store})
	return config
}
