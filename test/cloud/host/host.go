//go:build linux

// Package host boots the lab's instances as real hosts: systemd-nspawn containers with a whole system, behind a bridge of
// their own, reached by public addresses that this computer translates, and only as the lab's rules allow. It needs root,
// and what test/packages.sh installs.
//
// A host asks http://169.254.169.254/lab/ who it is, as hosts of clouds do: users and keys, which it follows while it is on,
// a startup script, and user data. What it says goes to the console.
package host

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"sync"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"

	"mctl/internal/controller/driver/nspawn/container"
	"mctl/internal/controller/driver/nspawn/network"
	"mctl/internal/controller/driver/nspawn/rootfs"
	"mctl/internal/controller/driver/nspawn/system"
	"mctl/test/cloud/lab"
)

// Shared between all labs of a computer, and with the nspawn driver.
const (
	cacheDir    = "/var/cache/mctl/nspawn"
	networkLock = "/run/mctl-nspawn.lock"
)

// Hosts runs the instances of one lab. It is a lab.Hosts.
type Hosts struct {
	id       string
	dir      string // disks/ID, networks/ID.json
	lock     *os.File
	logger   hclog.Logger
	runner   container.Runner
	cache    rootfs.Cache
	public   network.Network
	metadata *metadata

	mu       sync.Mutex
	outside  netip.Prefix // of the public addresses
	subnets  map[uint64]*subnet
	pretends map[uint64]bool // disks of hosts that never boot, and are said to run
	enforced string
	marks    []string // names of its bridges and containers
	// generation counts how often the way to our chains was put first.
	generation int
}

var _ lab.Hosts = (*Hosts)(nil)

// Parent is where labs keep their state. Its file system must be able to carry overlays.
func Parent() string { return filepath.Join(os.TempDir(), "mctl-cloud-lab") }

// New returns hosts of a lab of its own, and removes what labs whose process was killed have left behind.
func New(ctx context.Context, logger hclog.Logger) (*Hosts, error) {
	if logger == nil {
		logger = hclog.NewNullLogger()
	}
	if err := os.MkdirAll(Parent(), 0o700); err != nil {
		return nil, err
	}
	// One at a time, so that nobody takes a lab that is just being made for one that was left.
	lock, err := system.LockFile(ctx, Parent()+".lock", nil)
	if err != nil {
		return nil, err
	}
	defer lock.Close()
	if err := sweep(ctx); err != nil {
		return nil, fmt.Errorf("remove what an earlier lab left: %w", err)
	}
	var id [4]byte
	_, _ = rand.Read(id[:])
	h, err := open(ctx, hex.EncodeToString(id[:]), logger)
	if err != nil {
		return nil, err
	}
	h.metadata = newMetadata(logger)
	return h, nil
}

// open makes a lab's directory, or takes over that of a lab whose process is gone.
func open(ctx context.Context, id string, logger hclog.Logger) (*Hosts, error) {
	dir := filepath.Join(Parent(), id)
	for _, sub := range []string{"disks", "networks"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			return nil, err
		}
	}
	lock, err := system.LockDir(ctx, dir)
	if err != nil {
		return nil, err
	}
	h := &Hosts{
		id: id, dir: dir, lock: lock, logger: logger, runner: container.NewRunner(logger), cache: rootfs.Cache{Dir: cacheDir, Logger: logger},
		subnets: map[uint64]*subnet{}, pretends: map[uint64]bool{},
	}
	h.public = h.network("public")
	h.mark(h.public.Bridge())
	return h, nil
}

// sweep removes what labs have left whose process was killed.
func sweep(ctx context.Context) error {
	entries, err := os.ReadDir(Parent())
	for _, entry := range entries {
		if !abandoned(filepath.Join(Parent(), entry.Name())) {
			continue
		}
		h, openErr := open(ctx, entry.Name(), hclog.NewNullLogger())
		if openErr == nil {
			openErr = h.Close(ctx)
		}
		err = errors.Join(err, openErr)
	}
	return err
}

// abandoned reports whether nobody has a lab's lock.
func abandoned(dir string) bool {
	file, err := os.Open(dir)
	if err != nil {
		return false
	}
	defer file.Close()
	return unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil
}

// Close removes the hosts, their disks and networks. It may be repeated.
func (h *Hosts) Close(ctx context.Context) error {
	if h.metadata != nil {
		h.metadata.close()
	}
	disks, err := os.ReadDir(filepath.Join(h.dir, "disks"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, disk := range disks {
		err = errors.Join(err, h.eraseNamed(ctx, disk.Name()))
	}
	if err = errors.Join(err, h.removeNetworks(ctx)); err != nil {
		return err
	}
	err = system.RemoveTree(h.dir)
	h.lock.Close()
	return err
}
