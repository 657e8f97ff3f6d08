// Package dockerd looks at the running Docker through systemd, and starts, restarts and reloads it. It never wakes a Docker
// that somebody stopped: the socket is used only where the unit runs.
package dockerd

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"mctl/internal/agent/engine/daemon"
	"mctl/internal/agent/engine/program"
	"mctl/internal/agent/engine/tree"
	"mctl/internal/agent/engine/unit"
	"mctl/internal/fault"
)

// Names on the host.
const (
	Unit   = "docker.service"
	DropIn = "/etc/systemd/system/docker.service.d/20-mctl.conf" // ours
	// MachineDropIn is docker-machine's.
	MachineDropIn = "/etc/systemd/system/docker.service.d/10-machine.conf"
	socketPath    = "/var/run/docker.sock"
	documentPath  = "/etc/docker/daemon.json"
)

// systemdLimit bounds each call of systemctl that does not wait for dockerd.
const systemdLimit = 30 * time.Second

// Service is docker.service as systemd and its processes have it.
type Service struct {
	Loaded  bool   // there is such a unit
	Masked  bool   // and nobody may start it
	Enabled bool   // it starts at boot
	State   string // ActiveState
	PID     int    // of dockerd; 0 when it does not run
	// Invocation is systemd's name for this life of the unit; empty when it never ran.
	Invocation string
	Unit       unit.Unit
	Variables  map[string]string // what the unit's environment gives to its command line
	Later      string            // a drop-in that sets the command after ours would; empty when there is none
	Setter     string            // the file that sets the command last, ours left out
	Held       []daemon.Option   // flags of the unit, without our drop-in
	Running    []daemon.Option   // flags of the process; nil when it does not run
	Flags      []daemon.Option   // both
	Document   string            // path of daemon.json
}

// Alive reports whether dockerd runs, so that its socket may be used.
func (s Service) Alive() bool { return s.PID > 0 && s.State == "active" }

// Inspect asks systemd. It never touches the engine's socket, which might start the engine.
func (d *Daemon) Inspect(ctx context.Context) (Service, error) {
	limited, cancel := context.WithTimeout(ctx, systemdLimit)
	defer cancel()
	output, err := program.Output(limited, d.config.Runner, "systemctl", "show", Unit,
		"-p", "LoadState,ActiveState,UnitFileState,MainPID,InvocationID,FragmentPath,DropInPaths")
	if err != nil {
		return Service{}, fault.E("dockerd.inspect", fault.Precondition, Unit, fmt.Errorf("systemd can't be asked for %s: %w", Unit, err)).
			WithHint("mctl needs hosts that systemd runs")
	}
	property := map[string]string{}
	for line := range strings.Lines(output) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		property[name] = value
	}
	s := Service{
		Loaded: property["LoadState"] == "loaded", Masked: property["LoadState"] == "masked",
		Enabled: strings.HasPrefix(property["UnitFileState"], "enabled"), State: property["ActiveState"], Document: documentPath,
	}
	s.PID, _ = strconv.Atoi(property["MainPID"])
	s.Invocation = property["InvocationID"]
	if strings.Contains(property["FragmentPath"], "/systemd/generator") {
		s.Loaded = false // made of an init script that a removed package left behind
	}
	if !s.Loaded {
		return s, nil
	}
	for _, path := range append([]string{property["FragmentPath"]}, strings.Fields(property["DropInPaths"])...) {
		if path == "" || path == DropIn {
			continue
		}
		content, err := d.tree.Read(path)
		if err != nil {
			return s, err
		}
		if content == nil {
			continue
		}
		command := s.Unit.Command
		s.Unit.Read(string(*content))
		var own unit.Unit
		if own.Read(string(*content)); own.Command != "" {
			s.Setter = path
		}
		// Whatever their folders, drop-ins are read in the order of their names.
		if s.Unit.Command != command && path != property["FragmentPath"] && filepath.Base(path) > filepath.Base(DropIn) {
			s.Later = path
		}
	}
	s.Variables = d.variables(s.Unit)
	arguments := s.Unit.Arguments(s.Variables)
	if len(arguments) > 0 && s.PID == 0 && filepath.IsAbs(arguments[0]) && !d.tree.Exists(arguments[0]) {
		s.Loaded = false // a unit that a removed Docker left behind
		return s, nil
	}
	s.Held = daemon.ParseArguments(arguments)
	s.Flags = s.Held
	if s.PID > 0 {
		s.Running = d.running(s.PID)
		s.Flags = slices.Concat(s.Held, s.Running)
	}
	for _, flag := range s.Flags {
		if flag.Flag == "config-file" && filepath.IsAbs(flag.Value) {
			s.Document = flag.Value
		}
	}
	return s, nil
}

// variables are what the unit's environment gives to its command line.
func (d *Daemon) variables(u unit.Unit) map[string]string {
	values := map[string]string{}
	set := func(assignments []string) {
		for _, a := range assignments {
			if name, value, found := strings.Cut(a, "="); found {
				values[strings.TrimSpace(name)] = value
			}
		}
	}
	set(u.Environment)
	for _, path := range u.EnvironmentFiles {
		content, err := d.tree.Read(strings.TrimPrefix(path, "-"))
		if err != nil || content == nil {
			continue
		}
		for line := range strings.Lines(string(*content)) {
			line = strings.TrimSpace(line)
			if name, value, found := strings.Cut(line, "="); found && !strings.HasPrefix(line, "#") {
				set([]string{name + "=" + strings.Join(unit.Split(value), " ")})
			}
		}
	}
	return values
}

// running returns the flags of the process.
func (d *Daemon) running(pid int) []daemon.Option {
	content, err := os.ReadFile(d.tree.Path("/proc/" + strconv.Itoa(pid) + "/cmdline"))
	if err != nil || len(content) == 0 {
		return nil
	}
	return daemon.ParseArguments(strings.Split(strings.TrimSuffix(string(content), "\x00"), "\x00")[1:])
}

// Foreign refuses an engine that we must not touch.
func (d *Daemon) Foreign(ctx context.Context, s Service) error {
	if s.Masked {
		return fault.New("dockerd.foreign", fault.Precondition, Unit, "docker.service is masked on the host").
			WithHint("run `systemctl unmask docker` on the host")
	}
	if !s.Loaded {
		if conn, err := new(net.Dialer).DialContext(ctx, "unix", d.tree.Path(socketPath)); err == nil {
			conn.Close()
			return fault.New("dockerd.foreign", fault.Precondition, socketPath,
				"an engine that docker.service does not run serves "+socketPath).
				WithHint("remove it (snap, podman-docker or a dockerd started by hand), or have docker.service run it")
		}
		return nil
	}
	content, err := d.tree.Read(s.Document)
	if err == nil {
		_, err = ParseDocument(s.Document, tree.Bytes(content))
	}
	return err
}

// ParseDocument reads daemon.json. Precondition when dockerd could not.
func ParseDocument(path string, content []byte) (daemon.Document, error) {
	d, err := daemon.ParseDocument(content)
	if err != nil {
		return d, fault.E("dockerd.ParseDocument", fault.Precondition, path, fmt.Errorf("%s is no valid JSON: %w", path, err)).
			WithHint("repair it on the host; dockerd can't read it either")
	}
	return d, nil
}
