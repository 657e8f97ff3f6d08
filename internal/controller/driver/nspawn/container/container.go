//go:build linux

// Package container runs a directory as a host of its own: a booted systemd-nspawn container that outlives whoever
// started it, with limits, and that can be found, shut down and killed by anybody later.
package container

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/hashicorp/go-hclog"

	"mctl/internal/fault"
)

// Container is a host to run. Its directory holds:
//
//	base               a link to the image
//	upper, work        what the host changed, for the overlay
//	root               where the overlay is mounted, in the launcher's own mount namespace only
//	docker, containerd bound over /var/lib: an engine cannot keep images on an overlay
//	host0.network      its address, for systemd-networkd, bound into /run
//
// and while it runs launch.sh, launcher.json and nspawn.log.
type Container struct {
	ID       string // unique on this computer: nspawn's name for it, the cgroup's, the unit's; at most 12 characters
	Dir      string // absolute
	Hostname string
}

// Boot is how to run it.
type Boot struct {
	Bridge string  // what its network link is attached to
	CPUs   float64 // zero for all
	Memory int64   // bytes; zero for all
}

// propagation is where nspawn makes a directory for each container, to mount things into it later.
const propagation = "/run/systemd/nspawn/propagate"

// Runner starts and stops containers.
type Runner struct{ keeper keeper }

// keeper keeps a host's processes apart from the controller's, so that they outlive it.
type keeper interface {
	// start has the host run. It returns once that is certain, even should the controller die; not once it has booted.
	start(ctx context.Context, c Container, b Boot) error
	// main is the process that ends when the host is off; nil when it is off.
	main(ctx context.Context, c Container) (*process, error)
	// end kills what is left of a host, and removes its cgroups or unit. A host without any is success.
	end(ctx context.Context, c Container) error
}

// NewRunner returns a runner that uses systemd where that is process 1, else sessions and cgroups of its own.
func NewRunner(logger hclog.Logger) Runner {
	if _, err := os.Stat("/run/systemd/system"); err == nil {
		return Runner{units{}}
	}
	return Runner{sessions{logger: logger}}
}

// Running reports whether the host is on.
func (r Runner) Running(ctx context.Context, c Container) (bool, error) {
	main, err := r.keeper.main(ctx, c)
	main.close()
	return main != nil, err
}

// Start turns the host on, which must be off. It does not wait until it has booted. fault.Precondition says why it could
// not be started.
func (r Runner) Start(ctx context.Context, c Container, b Boot) error {
	return r.keeper.start(ctx, c, b)
}

// Stop turns the host off, and returns when it is off: friendly at first unless forced. It may be repeated, and also ends
// what a start that was cut short has left.
func (r Runner) Stop(ctx context.Context, c Container, force bool) error {
	main, err := r.keeper.main(ctx, c)
	if err != nil {
		return err
	}
	if main != nil {
		defer main.close()
		if !force {
			if err := ask(ctx, main); err != nil {
				return err
			}
		}
		if err := cut(ctx, main); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, killLimit)
	defer cancel()
	if err := r.keeper.end(ctx, c); err != nil {
		return err
	}
	// nspawn removes it itself, unless it was killed.
	if err := os.Remove(filepath.Join(propagation, c.ID)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func (c Container) path(name string) string { return filepath.Join(c.Dir, name) }

// arguments is the command line of nspawn. A host is no boundary against its root: engines need every capability.
func (c Container) arguments(bridge string) []string {
	colon := strings.NewReplacer(`\`, `\\`, `:`, `\:`)
	return []string{
		"--quiet", "--register=no", "--keep-unit", "--settings=no", "--link-journal=no", "--resolv-conf=off", "--timezone=off",
		"-M", c.ID, "--hostname=" + c.Hostname, "-D", c.path("root"), "--network-bridge=" + bridge,
		"--capability=all", "--system-call-filter=add_key keyctl bpf",
		"--bind=" + colon.Replace(c.path("docker")) + ":/var/lib/docker",
		"--bind=" + colon.Replace(c.path("containerd")) + ":/var/lib/containerd",
		"--bind-ro=" + colon.Replace(c.path("host0.network")) + ":/run/systemd/network/10-mctl.network",
		"--boot",
	}
}

// launch writes the launcher's script, which is the same for all, and returns the command that runs it in a mount
// namespace of its own, where it still sees what is unmounted outside.
func (c Container) launch(script string, b Boot) ([]string, error) {
	if err := os.WriteFile(c.path("launch.sh"), []byte(script), 0o600); err != nil {
		return nil, fmt.Errorf("launcher: %w", err)
	}
	return append([]string{"--mount", "--propagation", "slave", "--", "/bin/sh", "launch.sh"}, c.arguments(b.Bridge)...), nil
}

func failed(kind fault.Kind, c Container, err error) *fault.Error {
	return fault.E("container.Start", kind, c.Hostname, fmt.Errorf("the host did not start: %w", err)).WithHint("see " + c.path("nspawn.log"))
}
