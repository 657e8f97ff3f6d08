//go:build linux

package nspawn

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/google/renameio/v2"

	"mctl/internal/controller/driver"
	"mctl/internal/controller/driver/nspawn/container"
	"mctl/internal/controller/driver/nspawn/system"
	"mctl/internal/fault"
)

// host is the directory of one host:
//
//	label.json whose it is; there from the start to the very end
//	ready      the upper layer is complete
//	address    what it has while it is on
//
// and what container.Container says.
type host struct {
	id    string // unique on this computer: nspawn's name for it, the cgroup's, the unit's
	dir   string
	stays bool // the address that it gets is its own from then on
	label
}

// label tells whose a host is, without anybody's records.
type label struct {
	Controller string `json:"mctl-controller"`
	UID        string `json:"mctl-machine"`
	Name       string `json:"name"`
	Pinned     string `json:"pinned,omitempty"` // address that no other host may take
	User       string `json:"user"`
}

// host finds the place of a machine's host, whether it is there or not.
func (d *Driver) host(m driver.Machine) (*host, error) {
	if m.ControllerID != d.config.ControllerID {
		return nil, fault.E("nspawn", fault.Internal, m.Name, fmt.Errorf("%s belongs to controller %q, not to %q", m.Name, m.ControllerID, d.config.ControllerID))
	}
	if !regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$`).MatchString(m.UID) {
		return nil, fault.E("nspawn", fault.Internal, m.Name, fmt.Errorf("%q cannot name a directory", m.UID))
	}
	return &host{
		id: hostID(m.ControllerID, m.UID), dir: filepath.Join(d.config.StateDir, "hosts", m.UID),
		stays: m.Swarm.Member, // the others look for it where it was when it joined
		label: label{Controller: m.ControllerID, UID: m.UID, Name: m.Name},
	}, nil
}

// hostID is what the host is called on this computer. Its network link is called that too, after "vb-", which makes 15.
func hostID(controllerID, uid string) string { return system.ShortName(7, controllerID, uid) }

// container is the host as something to run.
func (h *host) container() container.Container {
	return container.Container{ID: h.id, Dir: h.dir, Hostname: h.Name}
}

func (h *host) path(name string) string { return filepath.Join(h.dir, name) }

func (h *host) write(name string, content []byte) error {
	// The directory keeps others out. Inside the host, networkd reads its file as a user of its own.
	return renameio.WriteFile(h.path(name), content, 0o644, renameio.WithTempDir(h.dir), renameio.IgnoreUmask())
}

func (h *host) read(name string) string {
	content, _ := os.ReadFile(h.path(name))
	return strings.TrimSpace(string(content))
}

func (h *host) has(name string) bool {
	_, err := os.Lstat(h.path(name))
	return err == nil
}

func (h *host) saveLabel() error {
	content, err := json.Marshal(h.label)
	if err != nil {
		return err
	}
	return h.write("label.json", content)
}

// lock locks the host; fault.NotFound when it is not there.
func (h *host) lock(ctx context.Context) (*os.File, error) {
	file, err := system.LockDir(ctx, h.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.E("nspawn", fault.NotFound, h.Name, fmt.Errorf("the host of %q is gone", h.Name))
	}
	return file, err
}

// lockNew locks the host and makes its directory where there is none.
func (h *host) lockNew(ctx context.Context) (*os.File, error) {
	for {
		if err := os.MkdirAll(h.dir, 0o700); err != nil {
			return nil, err
		}
		file, err := system.LockDir(ctx, h.dir)
		if !errors.Is(err, fs.ErrNotExist) {
			return file, err
		}
	}
}

// load reads the label; fault.NotFound when there is no complete host.
func (h *host) load() error {
	if !h.has("ready") {
		return fault.E("nspawn", fault.NotFound, h.Name, fmt.Errorf("the host of %q is gone", h.Name))
	}
	return h.loadLabel()
}

func (h *host) loadLabel() error {
	content, err := os.ReadFile(h.path("label.json"))
	if err == nil {
		err = json.Unmarshal(content, &h.label)
	}
	if err != nil {
		return fault.E("nspawn", fault.Internal, h.Name, fmt.Errorf("label of the host: %w", err))
	}
	return nil
}

// take notes the address that the host gets.
func (h *host) take(address netip.Addr) error {
	if h.stays && h.Pinned == "" {
		h.Pinned = address.String()
		if err := h.saveLabel(); err != nil {
			return err
		}
	}
	return h.write("address", []byte(address.String()+"\n"))
}

// address is what the host has while it is on.
func (h *host) address() netip.Addr {
	address, _ := netip.ParseAddr(h.read("address"))
	return address
}

// remove deletes the directory, its label last, so that what a crash leaves can still be told.
func (h *host) remove() error {
	entries, err := os.ReadDir(h.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if entry.Name() == "label.json" {
			continue
		}
		if err := system.RemoveTree(h.path(entry.Name())); err != nil {
			return err
		}
	}
	return system.RemoveTree(h.dir)
}

// hosts lists this controller's hosts, complete or not.
func (d *Driver) hosts() ([]*host, error) {
	dir := filepath.Join(d.config.StateDir, "hosts")
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var found []*host
	for _, entry := range entries {
		h := &host{dir: filepath.Join(dir, entry.Name()), label: label{Controller: d.config.ControllerID, UID: entry.Name(), Name: entry.Name()}}
		_ = h.loadLabel() // one that was killed before its label was there is ours by its place
		h.id = hostID(h.Controller, h.UID)
		found = append(found, h)
	}
	return found, err
}
