package packages

import (
	"context"
	"strings"

	"mctl/internal/agent/engine/program"
	"mctl/internal/fault"
)

// suse is openSUSE and SUSE Linux Enterprise.
type suse struct {
	config  Config
	release release
}

func (s *suse) RepositoryFiles() []string { return nil }

func (s *suse) DistroPackages(context.Context) ([]string, error) { return []string{"docker"}, nil }

func (s *suse) AddRepository(context.Context) ([]string, error) {
	return nil, fault.New("packages.AddRepository", fault.Precondition, s.release.id, "Docker has no repository for "+s.release.name).
		WithHint("use --engine-install distro")
}

func (s *suse) Install(ctx context.Context, names []string) error {
	present, err := rpmVersions(ctx, s.config.Runner, names)
	if err != nil {
		return err
	}
	var coming []string
	for _, name := range names {
		if present[name] == "" {
			coming = append(coming, name)
		}
	}
	if len(coming) == 0 {
		return nil
	}
	if err := s.config.Footprint.Package(coming...); err != nil {
		return err
	}
	s.config.Progress("installing " + strings.Join(coming, ", "))
	return s.config.run(ctx, s.zypper(append([]string{"install", "--no-recommends"}, coming...)...))
}

func (s *suse) Upgrade(ctx context.Context, names []string) error {
	return s.config.run(ctx, s.zypper(append([]string{"update"}, names...)...))
}

func (s *suse) Installed(ctx context.Context) (map[string]string, error) {
	return rpmVersions(ctx, s.config.Runner, []string{"docker", "docker-stable", "containerd", "runc", "docker-buildx", "docker-compose"})
}

// zypper waits for its lock itself, as long as it is told.
func (s *suse) zypper(args ...string) program.Command {
	return program.Command{
		Args: append([]string{"zypper", "--non-interactive"}, args...),
		Env:  []string{"ZYPP_LOCK_TIMEOUT=60", "LC_ALL=C"}, Line: s.config.shown("zypper"), Outlives: true,
	}
}
