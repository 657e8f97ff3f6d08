package engine

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"mctl/internal/agent/engine/dockerd"
	"mctl/internal/agent/engine/packages"
	"mctl/internal/fault"
	"mctl/internal/host"
)

// existing is the source of a Docker that was there before us.
const existing = "existing"

// source decides where a Docker that is not there shall come from.
func source(want host.Engine) (host.Install, error) {
	switch want.Install {
	case host.InstallAuto, "":
		switch {
		case want.InstallURL != "":
			return host.InstallScript, nil
		case want.RepositoryReachable:
			return host.InstallDocker, nil
		}
		return host.InstallDistro, nil
	case host.InstallDocker, host.InstallDistro:
		return want.Install, nil
	case host.InstallScript:
		if want.InstallURL == "" {
			return "", fault.New("engine.source", fault.Invalid, "", "--engine-install script needs --engine-install-url")
		}
		return want.Install, nil
	case host.InstallNone:
		return "", fault.New("engine.source", fault.Precondition, "", "Docker is not on the host, and --engine-install none installs nothing").
			WithHint("install Docker on the host, or choose another --engine-install")
	}
	return "", fault.New("engine.source", fault.Invalid, "", fmt.Sprintf("%q is no source of Docker", want.Install)).
		WithHint("--engine-install takes auto, docker, distro, script or none")
}

func (e *Engine) packages() packages.Config {
	return packages.Config{
		Logger: e.config.Logger, Root: e.config.Root, Runner: e.config.Runner, Progress: e.config.Progress,
		Footprint: e.config.Footprint, HTTP: e.config.HTTP, Sources: e.config.Sources, LockWait: e.config.LockWait,
	}
}

// install sees to it that there is a Docker. A Docker that is there is taken, whatever its source.
func (e *Engine) install(ctx context.Context, want host.Engine, m *memory, s dockerd.Service) (dockerd.Service, error) {
	if s.Loaded && !m.Installing {
		if m.Source == "" {
			m.Source = existing
		}
		return s, nil
	}
	from, err := source(want)
	if err != nil {
		return s, err
	}
	config := e.packages()
	family, err := packages.Detect(config)
	if err != nil && from != host.InstallScript {
		return s, err
	}
	if err := packages.AwaitBoot(ctx, config); err != nil {
		return s, err
	}
	if !m.Installing {
		if m.Before, err = installed(ctx, family); err != nil {
			return s, err
		}
		// A Docker that vanished is a new one: what we knew of the old is void.
		m.Installing, m.First = true, true
	}
	m.Source = string(from)
	if err := e.save(m); err != nil {
		return s, err
	}
	e.config.Progress("installing Docker (" + describe(from) + ")")
	began := e.config.Now()
	if err := e.fetch(ctx, want, from, config, family); err != nil {
		return s, err
	}
	if err := e.tellNew(ctx, family, m); err != nil {
		return s, err
	}
	if s, err = e.daemon.Inspect(ctx); err != nil {
		return s, err
	}
	if !s.Loaded {
		return s, fault.New("engine.install", fault.Precondition, dockerd.Unit, "there is no docker.service after Docker was installed").
			WithHint("look at the agent's journal on the host")
	}
	if !s.Enabled {
		if err := e.daemon.Systemctl(ctx, "enable", dockerd.Unit); err != nil {
			return s, err
		}
	}
	e.config.Logger.Info("installed", "source", from, "took", e.config.Now().Sub(began).Round(time.Millisecond))
	m.Installing, m.Before = false, nil
	return s, e.save(m)
}

func (e *Engine) fetch(ctx context.Context, want host.Engine, from host.Install, config packages.Config, family packages.Family) error {
	var names []string
	var err error
	switch from {
	case host.InstallScript:
		var repository []string
		if family != nil {
			repository = family.RepositoryFiles()
		}
		return packages.Script(ctx, config, repository, want.InstallURL, stateFolder)
	case host.InstallDocker:
		names, err = family.AddRepository(ctx)
	default:
		names, err = family.DistroPackages(ctx)
	}
	if err != nil {
		return err
	}
	return family.Install(ctx, names)
}

// tellNew puts those packages in the footprint that a script brought; a second mention changes nothing.
func (e *Engine) tellNew(ctx context.Context, family packages.Family, m *memory) error {
	after, err := installed(ctx, family)
	if err != nil {
		return err
	}
	var names []string
	for name := range after {
		if m.Before[name] == "" {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return nil
	}
	slices.Sort(names)
	return e.config.Footprint.Package(names...)
}

func installed(ctx context.Context, family packages.Family) (map[string]string, error) {
	if family == nil {
		return nil, nil
	}
	return family.Installed(ctx)
}

func describe(from host.Install) string {
	switch from {
	case host.InstallDocker:
		return "from Docker's repository"
	case host.InstallScript:
		return "by the install script"
	case existing:
		return "was there already"
	}
	return "the distribution's package"
}

// upgrade brings Docker's packages to the newest version when want asks for it again.
func (e *Engine) upgrade(ctx context.Context, want host.Engine, m *memory, s dockerd.Service) (dockerd.Service, error) {
	if m.First || m.Upgrade == want.Upgrade {
		return s, nil
	}
	family, err := packages.Detect(e.packages())
	if err != nil {
		return s, err
	}
	present, err := family.Installed(ctx)
	if err != nil {
		return s, err
	}
	if len(present) == 0 {
		return s, fault.New("engine.upgrade", fault.Precondition, "", "no package of the host holds Docker, so it can't be upgraded").
			WithHint("upgrade it the way it was installed")
	}
	var names []string
	for name := range present {
		names = append(names, name)
	}
	slices.Sort(names)
	e.config.Progress("upgrading " + strings.Join(names, ", "))
	if err := family.Upgrade(ctx, names); err != nil {
		return s, err
	}
	if s, err = e.daemon.Inspect(ctx); err != nil || !s.Alive() {
		return s, err
	}
	return e.restartIfReplaced(ctx, s)
}

// restartIfReplaced restarts dockerd when its program on disk is another version. Some packages do that themselves.
func (e *Engine) restartIfReplaced(ctx context.Context, s dockerd.Service) (dockerd.Service, error) {
	binary, err := e.daemon.Version(ctx)
	if err != nil {
		return s, err
	}
	running, err := e.daemon.Info(ctx)
	if err == nil && strings.Contains(binary, " "+running.ServerVersion+",") {
		return s, nil
	}
	e.config.Progress("restarting docker with its new version")
	if err := e.daemon.Restart(ctx, 0); err != nil {
		return s, err
	}
	return e.daemon.Inspect(ctx)
}
