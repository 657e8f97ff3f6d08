package packages

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"mctl/internal/agent/engine/program"
	"mctl/internal/fault"
)

// redhat is Fedora, the rebuilds of Red Hat Enterprise Linux, and Amazon Linux.
type redhat struct {
	config  Config
	release release
}

const yumSource = "/etc/yum.repos.d/docker-ce.repo"

func (r *redhat) RepositoryFiles() []string { return []string{yumSource} }

func (r *redhat) DistroPackages(context.Context) ([]string, error) {
	switch r.release.id {
	case "fedora":
		return []string{"moby-engine", "docker-cli"}, nil
	case "amzn":
		return []string{"docker"}, nil
	}
	return nil, fault.New("packages.DistroPackages", fault.Precondition, r.release.id, r.release.name+" has no package of Docker").
		WithHint("use --engine-install docker, which takes Docker's own repository, or --engine-install-url")
}

func (r *redhat) AddRepository(ctx context.Context) ([]string, error) {
	distribution := "centos" // what the rebuilds take
	switch r.release.id {
	case "fedora", "rhel":
		distribution = r.release.id
	case "amzn":
		return nil, fault.New("packages.AddRepository", fault.Precondition, r.release.id, "Docker has no repository for "+r.release.name).
			WithHint("use --engine-install distro")
	}
	names := []string{"docker-ce", "docker-ce-cli", "containerd.io", "docker-buildx-plugin", "docker-compose-plugin"}
	if content, err := os.ReadFile(filepath.Join(r.config.Root, yumSource)); err == nil && strings.Contains(string(content), "docker-ce-stable") {
		return names, ctx.Err()
	}
	root := r.config.Sources.Docker + "/" + distribution
	content := fmt.Sprintf("[docker-ce-stable]\nname=Docker CE Stable - $basearch\nbaseurl=%s/$releasever/$basearch/stable\n"+
		"enabled=1\ngpgcheck=1\ngpgkey=%s/gpg\n", root, root)
	return names, r.config.write(yumSource, []byte(content))
}

// Install records what is asked for and not there; dnf takes unused dependencies away by itself.
func (r *redhat) Install(ctx context.Context, names []string) error {
	if err := r.ready(ctx); err != nil {
		return err
	}
	present, err := r.versions(ctx, names)
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
	if err := r.config.Footprint.Package(coming...); err != nil {
		return err
	}
	r.config.Progress("installing " + strings.Join(coming, ", "))
	return r.config.run(ctx, r.dnf(append([]string{"install"}, coming...)...))
}

func (r *redhat) Upgrade(ctx context.Context, names []string) error {
	if err := r.ready(ctx); err != nil {
		return err
	}
	return r.config.run(ctx, r.dnf(append([]string{"upgrade"}, names...)...))
}

func (r *redhat) Installed(ctx context.Context) (map[string]string, error) {
	return r.versions(ctx, []string{"docker", "docker-cli", "docker-ce", "docker-ce-cli", "docker-ce-rootless-extras", "containerd",
		"containerd.io", "runc", "moby-engine", "docker-buildx-plugin", "docker-compose-plugin", "docker-model-plugin", "docker-buildx", "docker-compose"})
}

func (r *redhat) versions(ctx context.Context, names []string) (map[string]string, error) {
	return rpmVersions(ctx, r.config.Runner, names)
}

func rpmVersions(ctx context.Context, runner program.Runner, names []string) (map[string]string, error) {
	output, err := program.Output(ctx, runner, append([]string{"rpm", "-q", "--qf", `%{NAME} %{VERSION}-%{RELEASE}\n`}, names...)...)
	// rpm fails when one of the names is unknown, and lists the others all the same.
	if exit := new(program.ExitError); err != nil && !errors.As(err, &exit) {
		return nil, err
	}
	versions := map[string]string{}
	for line := range strings.Lines(output) {
		if fields := strings.Fields(line); len(fields) == 2 && slices.Contains(names, fields[0]) {
			versions[fields[0]] = fields[1]
		}
	}
	return versions, nil
}

func (r *redhat) ready(ctx context.Context) error {
	return r.config.awaitLock(ctx, "/usr/lib/sysimage/rpm/.rpm.lock", "/var/lib/rpm/.rpm.lock")
}

// dnf is yum on hosts that have no dnf.
func (r *redhat) dnf(args ...string) program.Command {
	name := "dnf"
	if _, err := os.Stat(filepath.Join(r.config.Root, "/usr/bin/dnf")); err != nil {
		name = "yum"
	}
	fixed := []string{name, "-y"}
	if name == "dnf" {
		fixed = append(fixed, "--setopt=install_weak_deps=False")
	}
	return program.Command{Args: append(fixed, args...), Env: []string{"LC_ALL=C"}, Line: r.config.shown(name), Outlives: true}
}
