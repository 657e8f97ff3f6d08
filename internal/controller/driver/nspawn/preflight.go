//go:build linux

package nspawn

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"mctl/internal/controller/driver"
	"mctl/internal/controller/driver/nspawn/rootfs"
	"mctl/internal/controller/driver/nspawn/system"
	"mctl/internal/fault"
)

// Room that must be free, in bytes: for a base image and what building it takes, and for a host with an engine.
const (
	roomToBuild = 1500 << 20
	roomForHost = 1 << 30
)

// Preflight says whether Create could work: root, tools, file system, room, network. It makes nothing.
func (d *Driver) Preflight(ctx context.Context, m driver.Machine) error {
	s, err := parse(m.Options)
	if err != nil {
		return err
	}
	h, err := d.host(m)
	if err != nil {
		return err
	}
	if err := d.equipped(s); err != nil {
		return err
	}
	if s.image != "" {
		info, err := os.Stat(s.image)
		if err != nil {
			return refuse(flagImage, err, "give a directory or a tar file")
		}
		if info.IsDir() {
			if err := rootfs.Check(s.image); err != nil {
				return err
			}
		}
	}
	if err := d.room(s); err != nil {
		return err
	}
	return d.network.Check(ctx, s.wish(), d.taken(h))
}

// equipped says why the driver cannot work on this computer, if so.
func (d *Driver) equipped(s settings) error {
	if os.Geteuid() != 0 {
		return fault.New("nspawn", fault.Precondition, "", "the nspawn driver needs root").
			WithHint("run mctl as root, or choose another driver")
	}
	tools := []string{"systemd-nspawn", "ip", "iptables", "unshare", "mount"}
	switch {
	case s.image != "":
		tools = append(tools, "tar")
	case !d.cache.Built():
		tools = append(tools, "mmdebstrap")
	}
	var lacking []string
	for _, tool := range tools {
		if _, err := system.Find(tool); err != nil {
			lacking = append(lacking, tool)
		}
	}
	if len(lacking) > 0 {
		return fault.E("nspawn", fault.Precondition, "", fmt.Errorf("the nspawn driver needs %s", strings.Join(lacking, ", "))).WithHint(system.Install)
	}
	return nil
}

// room checks the file systems and the memory.
func (d *Driver) room(s settings) error {
	state, err := statfs(d.config.StateDir)
	if err != nil {
		return err
	}
	if state.Type == unix.OVERLAYFS_SUPER_MAGIC {
		return fault.E("nspawn.room", fault.Precondition, "", fmt.Errorf("hosts cannot be kept in %s, which is on an overlay", d.config.StateDir)).
			WithHint("put the state directory on a disk or a volume")
	}
	if err := enough(d.config.StateDir, state, roomForHost); err != nil {
		return err
	}
	if s.image == "" && !d.cache.Built() {
		cache, err := statfs(d.config.CacheDir)
		if err != nil {
			return err
		}
		if err := enough(d.config.CacheDir, cache, roomToBuild); err != nil {
			return err
		}
	}
	var system unix.Sysinfo_t
	if err := unix.Sysinfo(&system); err != nil {
		return err
	}
	if total := int64(system.Totalram) * int64(system.Unit); s.memory > total {
		return fault.E("nspawn.room", fault.Precondition, flagMemory, fmt.Errorf("the host shall have %d MB of memory, this computer has %d", s.memory>>20, total>>20)).
			WithHint("give less with --" + flagMemory)
	}
	return nil
}

// statfs asks for the file system that a directory is on, or will be.
func statfs(dir string) (unix.Statfs_t, error) {
	var stat unix.Statfs_t
	for {
		err := unix.Statfs(dir, &stat)
		if !errors.Is(err, unix.ENOENT) || dir == filepath.Dir(dir) {
			return stat, err
		}
		dir = filepath.Dir(dir)
	}
}

func enough(dir string, stat unix.Statfs_t, need uint64) error {
	if free := stat.Bavail * uint64(stat.Bsize); free < need { //nolint:gosec // block sizes are positive
		return fault.E("nspawn.room", fault.Precondition, "", fmt.Errorf("%s has room for %d MB, %d are needed", dir, free>>20, need>>20)).
			WithHint("free some disk space")
	}
	return nil
}
