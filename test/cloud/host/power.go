//go:build linux

package host

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"mctl/internal/controller/driver/nspawn/container"
	"mctl/internal/controller/driver/nspawn/network"
	"mctl/internal/controller/driver/nspawn/rootfs"
	"mctl/internal/controller/driver/nspawn/system"
	"mctl/test/cloud/lab"
)

// container is a disk as something to run.
func (h *Hosts) container(disk, hostname string) container.Container {
	return container.Container{ID: system.ShortName(7, h.id, disk), Dir: filepath.Join(h.dir, "disks", disk), Hostname: hostname}
}

func diskName(disk uint64) string { return strconv.FormatUint(disk, 10) }

// Start turns a host on.
func (h *Hosts) Start(ctx context.Context, host lab.Host) error {
	c := h.container(diskName(host.Disk), host.Guest.Hostname)
	h.mu.Lock()
	h.pretends[host.Disk] = host.Boot == lab.NeverBoots
	h.mark(c.ID)
	h.mu.Unlock()
	if host.Boot == lab.NeverBoots {
		return nil
	}
	if on, err := h.runner.Running(ctx, c); on || err != nil {
		return err
	}
	if err := h.outfit(ctx, c); err != nil {
		return err
	}
	if err := h.mask(c, host.Boot == lab.NoSSH); err != nil {
		return err
	}
	bridge, err := h.plug(ctx, c, host)
	if err != nil {
		return err
	}
	h.metadata.inform(host, true)
	return h.runner.Start(ctx, c, container.Boot{Bridge: bridge})
}

// outfit fills a disk that is new. A crash leaves one that is not ready, and is filled anew.
func (h *Hosts) outfit(ctx context.Context, c container.Container) error {
	if _, err := os.Stat(filepath.Join(c.Dir, "ready")); err == nil {
		return rootfs.RefreshResolver(filepath.Join(c.Dir, "upper"))
	}
	image, err := h.cache.Image(ctx, "", func(line string) { h.logger.Info("image", "progress", line) })
	if err != nil {
		return err
	}
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return err
	}
	if err := (rootfs.Host{Name: c.Hostname, User: "root"}).Outfit(c.Dir, image); err != nil {
		return err
	}
	if err := installGuest(filepath.Join(c.Dir, "upper")); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(c.Dir, "ready"), nil, 0o600)
}

// mask keeps sshd from starting, or lets it.
func (h *Hosts) mask(c container.Container, masked bool) error {
	root, err := os.OpenRoot(filepath.Join(c.Dir, "upper"))
	if err != nil {
		return err
	}
	defer root.Close()
	const unit = "etc/systemd/system/ssh.service"
	if err := root.Remove(unit); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if masked {
		return root.Symlink("/dev/null", unit)
	}
	return nil
}

// plug gives a host its address, and returns the bridge that it is to be attached to. A host reaches its neighbours by way
// of this computer, so that nothing passes by the rules.
func (h *Hosts) plug(ctx context.Context, c container.Container, host lab.Host) (bridge string, err error) {
	s, err := h.bringUp(ctx, host.Subnet)
	if err != nil {
		return "", err
	}
	if err := s.join(ctx, host.Address); err != nil {
		return "", err
	}
	networkd := fmt.Sprintf("[Match]\nName=host0\n\n[Network]\nAddress=%s/32\nLinkLocalAddressing=no\nIPv6AcceptRA=no\n\n[Route]\nGateway=%s\nGatewayOnLink=yes\n",
		host.Address, network.Gateway(host.Range))
	return s.network.Bridge(), os.WriteFile(filepath.Join(c.Dir, "host0.network"), []byte(networkd), 0o644)
}

// Stop turns a host off.
func (h *Hosts) Stop(ctx context.Context, host lab.Host, force bool) error {
	h.mu.Lock()
	pretended := h.pretends[host.Disk]
	delete(h.pretends, host.Disk)
	h.mu.Unlock()
	if pretended {
		return nil
	}
	return h.stop(ctx, diskName(host.Disk), force)
}

func (h *Hosts) stop(ctx context.Context, disk string, force bool) error {
	c := h.container(disk, "")
	if _, err := os.Stat(c.Dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return h.runner.Stop(ctx, c, force)
}

// Running reports whether a host is on.
func (h *Hosts) Running(ctx context.Context, host lab.Host) (bool, error) {
	h.mu.Lock()
	pretended := h.pretends[host.Disk]
	h.mu.Unlock()
	if pretended {
		return true, nil
	}
	return h.runner.Running(ctx, h.container(diskName(host.Disk), ""))
}

// Inform tells a host what has changed.
func (h *Hosts) Inform(host lab.Host) { h.metadata.inform(host, false) }

// Console returns what a host has said since it was started.
func (h *Hosts) Console(instance uint64) string { return h.metadata.console(instance) }

// Erase removes a disk.
func (h *Hosts) Erase(ctx context.Context, disk uint64) error {
	return h.eraseNamed(ctx, diskName(disk))
}

func (h *Hosts) eraseNamed(ctx context.Context, disk string) error {
	if err := h.stop(ctx, disk, true); err != nil {
		return err
	}
	return system.RemoveTree(filepath.Join(h.dir, "disks", disk))
}
