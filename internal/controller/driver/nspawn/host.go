//go:build linux

package nspawn

import (
	"context"
	"crypto/sha256"
	"encoding/base32"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/google/renameio/v2"
	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"

	"mctl/internal/controller/driver"
	"mctl/internal/fault"
)

// host is the directory of one host:
//
//	label.json    whose it is; there from the start to the very end
//	base          link to the image below it
//	upper, work   what it changed, for the overlay
//	root          where the overlay is mounted, in the launcher's own mount namespace only
//	docker, containerd  bound over /var/lib: an engine cannot keep images on an overlay
//	ready         the upper layer is complete
//	address       what it has while it is on
//	host0.network the same for systemd-networkd, bound into /run
//	launcher.json the process that it hangs on
type host struct {
	id  string // unique on this computer: nspawn's name for it, the cgroup's, the unit's
	dir string
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

// shortName is a name for links and cgroups: interface names end after 15 characters.
func shortName(length int, parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "/")))
	return "mctl-" + strings.ToLower(base32.StdEncoding.EncodeToString(sum[:]))[:length]
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
		id: shortName(7, m.ControllerID, m.UID), dir: filepath.Join(d.config.StateDir, "hosts", m.UID),
		label: label{Controller: m.ControllerID, UID: m.UID, Name: m.Name},
	}, nil
}

func (h *host) path(name string) string { return filepath.Join(h.dir, name) }

func (h *host) write(name string, content []byte) error {
	// The directory keeps others out. Inside the host, networkd reads its file as a user of its own.
	return renameio.WriteFile(h.path(name), content, 0o644, renameio.IgnoreUmask())
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
	file, err := lockDir(ctx, h.dir)
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
		file, err := lockDir(ctx, h.dir)
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
		if err := removeTree(h.path(entry.Name())); err != nil {
			return err
		}
	}
	return removeTree(h.dir)
}

// removeTree deletes a directory, and never what somebody mounted below it.
func removeTree(dir string) error {
	mounts, err := mountPoints()
	if err != nil {
		return err
	}
	for _, mount := range slices.Backward(mounts) {
		if mount == dir || strings.HasPrefix(mount, dir+"/") {
			if err := unix.Unmount(mount, unix.MNT_DETACH); err != nil {
				return fmt.Errorf("unmount %s: %w", mount, err)
			}
		}
	}
	return os.RemoveAll(dir)
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
		h.id = shortName(7, h.Controller, h.UID)
		found = append(found, h)
	}
	return found, err
}

// hostKeys reads sshd's public keys out of the host's root. They are the host's word about itself, so they are checked
// and bounded; paths cannot lead out.
func (h *host) hostKeys() []string {
	root, err := os.OpenRoot(h.path("upper"))
	if err != nil {
		return nil
	}
	defer root.Close()
	var keys []string
	for _, kind := range hostKeyKinds {
		file, err := root.OpenFile("etc/ssh/ssh_host_"+kind+"_key.pub", os.O_RDONLY|unix.O_NONBLOCK, 0)
		if err != nil {
			continue
		}
		content, err := io.ReadAll(io.LimitReader(file, 4096))
		file.Close()
		if err != nil {
			continue
		}
		if key, _, _, _, err := ssh.ParseAuthorizedKey(content); err == nil {
			keys = append(keys, strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key))))
		}
	}
	return keys
}
