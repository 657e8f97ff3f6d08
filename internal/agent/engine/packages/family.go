// Package packages installs and upgrades Docker by a host's package manager, one file per distribution family, or by an
// install script.
package packages

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"

	"mctl/internal/agent/engine/program"
	"mctl/internal/fault"
)

// Family is how one family of distributions handles Docker's packages. Each method may be repeated.
type Family interface {
	// DistroPackages are the distribution's own packages of Docker. Precondition when it has none.
	DistroPackages(ctx context.Context) ([]string, error)
	// AddRepository sets up Docker's own repository and returns the packages to take from there.
	AddRepository(ctx context.Context) ([]string, error)
	// Install installs packages with what they need. Everything that comes new is in the footprint before it comes.
	Install(ctx context.Context, names []string) error
	// Installed returns the versions of those Docker packages that are there, whatever their source.
	Installed(ctx context.Context) (map[string]string, error)
	// Upgrade brings installed packages to the newest version.
	Upgrade(ctx context.Context, names []string) error
	// Remove takes packages away, configuration included, as long as nothing else needs one of them; else all stay and kept
	// says why. Those that are gone already are passed over.
	Remove(ctx context.Context, names []string) (kept string, err error)
	// RepositoryFiles are where an install script puts Docker's repository.
	RepositoryFiles() []string
}

// Footprint learns what is about to be put on the host, so that it can be taken away again.
type Footprint interface {
	File(path string) error
	Package(names ...string) error
	Written(path string) error
}

// Config is what families need of their surroundings.
type Config struct {
	Logger    hclog.Logger
	Root      string // in front of every path, for tests
	Runner    program.Runner
	Progress  func(string)
	Footprint Footprint
	HTTP      *http.Client
	Sources   Sources
	// LockWait is how long another package manager may hold its lock; the caller tries again later.
	LockWait time.Duration
	// Pause waits between attempts; nil for a timer.
	Pause func(ctx context.Context, d time.Duration) error
}

// release is what os-release says.
type release struct {
	id, version, codename, name string
	like                        []string
}

// is reports whether the distribution is one of those named, or like one.
func (r release) is(names ...string) bool {
	return slices.ContainsFunc(append([]string{r.id}, r.like...), func(id string) bool { return slices.Contains(names, id) })
}

// Detect finds the family of this host. Precondition when it is unknown.
func Detect(config Config) (Family, error) {
	if config.Pause == nil {
		config.Pause = pause
	}
	r, err := readRelease(config.Root)
	if err != nil {
		return nil, fault.E("packages.Detect", fault.Precondition, "", fmt.Errorf("the distribution is unknown: %w", err)).
			WithHint(unknownHint)
	}
	switch {
	case r.is("debian", "ubuntu"):
		return &debian{config: config, release: r}, nil
	case r.is("fedora", "rhel", "centos", "amzn"):
		return &redhat{config: config, release: r}, nil
	case r.is("suse", "opensuse", "opensuse-leap", "opensuse-tumbleweed", "sles"):
		return &suse{config: config, release: r}, nil
	}
	return nil, fault.New("packages.Detect", fault.Precondition, r.id,
		fmt.Sprintf("mctl does not know how to install Docker on %s", r.name)).WithHint(unknownHint)
}

const unknownHint = "install Docker by hand, then run create with --engine-install none, or give --engine-install-url"

func readRelease(root string) (release, error) {
	file, err := os.Open(filepath.Join(root, "/etc/os-release"))
	if err != nil {
		return release{}, err
	}
	defer file.Close()
	values := map[string]string{}
	for scanner := bufio.NewScanner(file); scanner.Scan(); {
		if name, value, found := strings.Cut(scanner.Text(), "="); found {
			values[strings.TrimSpace(name)] = strings.Trim(strings.TrimSpace(value), `"'`)
		}
	}
	r := release{
		id: values["ID"], version: values["VERSION_ID"], codename: values["VERSION_CODENAME"], name: values["PRETTY_NAME"],
		like: strings.Fields(values["ID_LIKE"]),
	}
	if r.name == "" {
		r.name = r.id
	}
	// A derivative of Ubuntu or Debian has its parent's packages, under its parent's name.
	if parent := values["UBUNTU_CODENAME"]; parent != "" {
		r.codename = parent
	} else if parent := values["DEBIAN_CODENAME"]; parent != "" {
		r.codename = parent
	}
	return r, nil
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
