package packages

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"mctl/internal/agent/engine/program"
	"mctl/internal/fault"
)

// debian is Debian, Ubuntu and what derives from them.
type debian struct {
	config  Config
	release release
}

const (
	aptSource = "/etc/apt/sources.list.d/docker.list"
	aptKey    = "/etc/apt/keyrings/docker.asc"
)

func (d *debian) RepositoryFiles() []string { return []string{aptSource, aptKey} }

// DistroPackages are docker.io and, where that is a package of its own, the client.
func (d *debian) DistroPackages(ctx context.Context) ([]string, error) {
	if err := d.update(ctx); err != nil {
		return nil, err
	}
	names := []string{"docker.io"}
	policy, err := program.Output(ctx, d.config.Runner, "apt-cache", "policy", "docker-cli")
	if err == nil && strings.Contains(policy, "Candidate:") && !strings.Contains(policy, "Candidate: (none)") {
		names = append(names, "docker-cli")
	}
	return names, nil
}

func (d *debian) AddRepository(ctx context.Context) ([]string, error) {
	names := []string{"docker-ce", "docker-ce-cli", "containerd.io", "docker-buildx-plugin", "docker-compose-plugin"}
	if d.knowsRepository() {
		return names, d.update(ctx)
	}
	distribution := "debian"
	switch {
	case d.release.id == "raspbian":
		distribution = "raspbian"
	case d.release.is("ubuntu"):
		distribution = "ubuntu"
	}
	if d.release.codename == "" {
		return nil, fault.New("packages.AddRepository", fault.Precondition, d.release.id,
			d.release.name+" does not say which release it is, so Docker's repository can't be chosen").WithHint("use --engine-install distro")
	}
	arch, err := program.Output(ctx, d.config.Runner, "dpkg", "--print-architecture")
	if err != nil {
		return nil, explain(err)
	}
	root := d.config.Sources.Docker + "/" + distribution
	key, err := d.config.download(ctx, root+"/gpg")
	if err != nil {
		return nil, err
	}
	source := fmt.Sprintf("deb [arch=%s signed-by=%s] %s %s stable\n", strings.TrimSpace(arch), aptKey, root, d.release.codename)
	if err := d.config.write(aptKey, key); err != nil {
		return nil, err
	}
	if err := d.config.write(aptSource, []byte(source)); err != nil {
		return nil, err
	}
	return names, d.update(ctx)
}

// knowsRepository reports whether somebody has set up Docker's repository already; apt refuses a second entry with
// another key file.
func (d *debian) knowsRepository() bool {
	files, _ := filepath.Glob(filepath.Join(d.config.Root, "/etc/apt/sources.list.d/*"))
	for _, path := range append(files, filepath.Join(d.config.Root, "/etc/apt/sources.list")) {
		content, err := os.ReadFile(path)
		if err == nil && bytes.Contains(content, []byte(d.config.Sources.Docker+"/")) && path != filepath.Join(d.config.Root, aptSource) {
			return true
		}
	}
	return false
}

func (d *debian) update(ctx context.Context) error {
	if err := d.ready(ctx); err != nil {
		return err
	}
	d.config.Progress("reading the package lists")
	// Without Error-Mode apt-get would only warn about repositories that can't be reached, and install what is stale. Nobody
	// reads translated descriptions here, and those that are there stay.
	update := d.apt("update", "-o", "APT::Update::Error-Mode=any", "-o", "Acquire::Languages=none", "-o", "APT::Get::List-Cleanup=false")
	update.Outlives = false
	return d.config.run(ctx, update)
}

// ready waits for others who install, and completes what a killed dpkg left half done.
func (d *debian) ready(ctx context.Context) error {
	err := d.config.awaitLock(ctx, "/var/lib/dpkg/lock-frontend", "/var/lib/dpkg/lock", "/var/lib/apt/lists/lock", "/var/cache/apt/archives/lock")
	if err != nil {
		return err
	}
	if left, _ := filepath.Glob(filepath.Join(d.config.Root, "/var/lib/dpkg/updates/[0-9]*")); len(left) == 0 {
		return nil
	}
	d.config.Progress("completing an interrupted installation")
	return d.config.run(ctx, program.Command{
		Args: []string{"dpkg", "--configure", "-a", "--force-confdef", "--force-confold"}, Env: d.environment(), Line: d.config.shown("dpkg"), Outlives: true,
	})
}

// Install asks apt first what would come, so that the footprint has it before it comes, and downloads it meanwhile: apt
// takes about as long to think as to download. --no-remove: nothing that is there may go for it.
func (d *debian) Install(ctx context.Context, names []string) error {
	if err := d.ready(ctx); err != nil {
		return err
	}
	what := append([]string{"--no-install-recommends", "--no-remove"}, names...)
	d.config.Progress("downloading " + names[0])
	var download errgroup.Group
	download.Go(func() error {
		command := d.apt(append([]string{"install", "--download-only"}, what...)...)
		command.Outlives = false
		return d.config.run(ctx, command)
	})
	coming, err := d.coming(ctx, what)
	if failed := download.Wait(); err == nil {
		err = failed
	}
	if err != nil {
		return err
	}
	if len(coming) > 0 {
		if err := d.config.Footprint.Package(coming...); err != nil {
			return err
		}
		d.config.Progress(fmt.Sprintf("installing %s and %d more packages", names[0], max(0, len(coming)-1)))
	}
	return d.config.run(ctx, d.apt(append([]string{"install"}, what...)...))
}

// coming returns the packages that are not there yet and that apt would install.
func (d *debian) coming(ctx context.Context, what []string) ([]string, error) {
	var coming []string
	simulation := d.apt(append([]string{"install", "--simulate"}, what...)...)
	simulation.Outlives = false
	simulation.Line = func(line string) {
		if rest, found := strings.CutPrefix(line, "Inst "); found {
			// "Inst NAME (NEW …" is new, "Inst NAME [OLD] (NEW …" an upgrade.
			name, rest, _ := strings.Cut(rest, " ")
			if !strings.HasPrefix(rest, "[") {
				coming = append(coming, name)
			}
		}
	}
	err := d.config.run(ctx, simulation)
	return coming, err
}

func (d *debian) Upgrade(ctx context.Context, names []string) error {
	if err := d.update(ctx); err != nil {
		return err
	}
	return d.config.run(ctx, d.apt(append([]string{"install", "--only-upgrade", "--no-install-recommends", "--no-remove"}, names...)...))
}

func (d *debian) Installed(ctx context.Context) (map[string]string, error) {
	known := []string{"docker.io", "docker-cli", "docker-ce", "docker-ce-cli", "docker-ce-rootless-extras", "containerd", "containerd.io",
		"runc", "docker-buildx", "docker-compose", "docker-buildx-plugin", "docker-compose-plugin", "docker-model-plugin", "moby-engine", "moby-cli",
		"moby-containerd", "moby-runc", "moby-buildx", "moby-compose"}
	output, err := program.Output(ctx, d.config.Runner, append([]string{"dpkg-query", "-W", "-f",
		"${db:Status-Status} ${Package} ${Version}\n"}, known...)...)
	// dpkg-query fails when one of the names is unknown, and lists the others all the same.
	if exit := new(program.ExitError); err != nil && !errors.As(err, &exit) {
		return nil, err
	}
	versions := map[string]string{}
	for line := range strings.Lines(output) {
		if fields := strings.Fields(line); len(fields) == 3 && fields[0] == "installed" && slices.Contains(known, fields[1]) {
			versions[fields[1]] = fields[2]
		}
	}
	return versions, nil
}

func (d *debian) apt(args ...string) program.Command {
	fixed := []string{"apt-get", "-y", "-q", "-o", "DPkg::Lock::Timeout=30", "-o", "Dpkg::Use-Pty=0", "-o", "Acquire::Retries=2",
		"-o", "Dpkg::Options::=--force-confdef", "-o", "Dpkg::Options::=--force-confold"}
	return program.Command{Args: append(fixed, args...), Env: d.environment(), Line: d.config.shown("apt"), Outlives: true}
}

func (d *debian) environment() []string {
	return []string{"DEBIAN_FRONTEND=noninteractive", "NEEDRESTART_MODE=l", "UCF_FORCE_CONFFOLD=1", "LC_ALL=C"}
}
