package dockerd

import (
	"context"
	"fmt"
	"time"

	"mctl/internal/agent/engine/program"
	"mctl/internal/agent/engine/tree"
	"mctl/internal/fault"
)

// Config is what a Daemon needs.
type Config struct {
	Tree       tree.Tree
	Runner     program.Runner
	StartLimit time.Duration // how long dockerd may take until it answers
}

// Daemon is docker.service.
type Daemon struct {
	config Config
	tree   tree.Tree
	socket *socket
}

// New returns a Daemon. It touches nothing.
func New(config Config) *Daemon {
	return &Daemon{config: config, tree: config.Tree, socket: newSocket(config.Tree.Path(socketPath))}
}

// Info waits until dockerd answers, within the start limit. Only for a service that is alive. Precondition when it doesn't.
func (d *Daemon) Info(ctx context.Context) (Info, error) {
	limited, cancel := context.WithTimeout(ctx, d.config.StartLimit)
	defer cancel()
	info, err := d.socket.await(limited)
	if err != nil && ctx.Err() == nil {
		return Info{}, fault.E("dockerd.Info", fault.Precondition, Unit, err).WithHint("look at `journalctl -u docker` on the host")
	}
	return info, err
}

// Version returns what the program on disk says of itself.
func (d *Daemon) Version(ctx context.Context) (string, error) {
	output, err := program.Output(ctx, d.config.Runner, "dockerd", "--version")
	if err != nil {
		return "", fault.E("dockerd.Version", fault.Precondition, Unit, err)
	}
	return output, nil
}

// Systemctl runs a command of systemd that does not wait for dockerd.
func (d *Daemon) Systemctl(ctx context.Context, args ...string) error {
	limited, cancel := context.WithTimeout(ctx, systemdLimit)
	defer cancel()
	_, err := program.Output(limited, d.config.Runner, append([]string{"systemctl"}, args...)...)
	if err != nil && ctx.Err() == nil {
		return fault.E("dockerd.systemctl", fault.Precondition, Unit, fmt.Errorf("systemctl %s: %w", args[0], err))
	}
	return err
}
