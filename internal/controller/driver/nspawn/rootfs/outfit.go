//go:build linux

package rootfs

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/crypto/ssh"

	"mctl/internal/controller/driver/nspawn/system"
)

// hostKeyKinds are the kinds of host keys that a host gets. RSA would cost a second.
var hostKeyKinds = [...]string{"ed25519", "ecdsa"}

// remountUnit lets container engines make cgroups where there are version 1 controllers, which nspawn mounts read-only.
const remountUnit = `[Unit]
Description=Make cgroup controllers writable for container engines
DefaultDependencies=no
Before=sysinit.target
ConditionPathIsDirectory=/sys/fs/cgroup/memory

[Service]
Type=oneshot
ExecStart=/bin/sh -c 'for dir in /sys/fs/cgroup/*; do mount -o remount,bind,rw "$$dir" || true; done'
`

const sshdConfig = `PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
UseDNS no
`

// Host is who a host shall be.
type Host struct {
	Name       string
	User       string   // who may log in
	PublicKeys []string // authorized_keys lines
}

// Outfit makes a host's directory complete out of an image: an upper layer with who it is, who may log in and what starts.
// The host has never been on, so the layer is made anew each time, and nobody can have put links into it.
func (h Host) Outfit(dir, image string) error {
	for _, name := range []string{"upper", "work", "root", "docker", "containerd"} {
		if err := system.RemoveTree(filepath.Join(dir, name)); err != nil {
			return err
		}
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			return err
		}
	}
	if err := errors.Join(os.RemoveAll(filepath.Join(dir, "base")), os.Symlink(image, filepath.Join(dir, "base"))); err != nil {
		return err
	}
	t := &tree{root: filepath.Join(dir, "upper")}
	t.dir("", 0o755)
	t.dir("var", 0o755)
	t.dir("var/lib", 0o755)
	t.dir("var/lib/docker", 0o710)
	t.dir("var/lib/containerd", 0o711)
	h.identity(t)
	h.units(t, image)
	if err := h.login(t, image); err != nil {
		return err
	}
	return t.err
}

// identity writes names, the machine id and the host keys.
func (h Host) identity(t *tree) {
	var id [16]byte
	_, _ = rand.Read(id[:])
	t.dir("etc", 0o755)
	t.file("etc/machine-id", 0o444, hex.EncodeToString(id[:])+"\n")
	t.file("etc/hostname", 0o644, h.Name+"\n")
	t.file("etc/hosts", 0o644, "127.0.0.1 localhost\n127.0.1.1 "+h.Name+"\n::1 localhost ip6-localhost ip6-loopback\n")
	t.file("etc/resolv.conf", 0o644, resolvConf())
	t.dir("etc/ssh", 0o755)
	t.dir("etc/ssh/sshd_config.d", 0o755)
	t.file("etc/ssh/sshd_config.d/00-mctl.conf", 0o644, sshdConfig)
	for _, kind := range hostKeyKinds {
		private, public, err := hostKey(kind)
		t.fail(err)
		t.file("etc/ssh/ssh_host_"+kind+"_key", 0o600, private)
		t.file("etc/ssh/ssh_host_"+kind+"_key.pub", 0o644, public)
	}
}

// units has the network and sshd start, and keeps away what would get in the way.
func (h Host) units(t *tree, image string) {
	const system = "etc/systemd/system/"
	t.dir("etc/systemd", 0o755)
	t.dir(system, 0o755)
	t.dir(system+"multi-user.target.wants", 0o755)
	t.dir(system+"sysinit.target.wants", 0o755)
	t.dir(system+"network-online.target.wants", 0o755)
	t.file(system+"mctl-cgroups.service", 0o644, remountUnit)
	t.link(system+"sysinit.target.wants/mctl-cgroups.service", "/etc/systemd/system/mctl-cgroups.service")
	wants := map[string]string{
		"systemd-networkd.service": "multi-user.target.wants/", "ssh.service": "multi-user.target.wants/",
		"sshd.service": "multi-user.target.wants/", "systemd-networkd-wait-online.service": "network-online.target.wants/",
	}
	for unit, target := range wants {
		for _, dir := range []string{"usr/lib/systemd/system/", "lib/systemd/system/"} {
			if inside(image, dir+unit) {
				t.link(system+target+unit, "/"+dir+unit)
				break
			}
		}
	}
	// A fresh host shall not hold the package manager's lock, and there is nobody at its console.
	for _, unit := range []string{"apt-daily.timer", "apt-daily-upgrade.timer", "console-getty.service"} {
		t.link(system+unit, "/dev/null")
	}
}

// login lets the keys in, as root or as a user who may sudo.
func (h Host) login(t *tree, image string) error {
	a, err := h.account(t, image)
	if err != nil {
		return err
	}
	for dir := range parents(a.home) {
		if dir != a.home {
			t.dir(dir, 0o755)
		}
	}
	if t.dir(a.home, 0o700); a.uid != 0 {
		t.dir(a.home, 0o755)
	}
	t.dir(a.home+"/.ssh", 0o700)
	var keys strings.Builder
	for _, key := range h.PublicKeys {
		keys.WriteString(strings.ReplaceAll(strings.TrimSpace(key), "\n", " ") + "\n")
	}
	t.file(a.home+"/.ssh/authorized_keys", 0o600, keys.String())
	for _, path := range []string{a.home, a.home + "/.ssh", a.home + "/.ssh/authorized_keys"} {
		t.own(path, a.uid, a.gid)
	}
	return nil
}

// parents yields a relative path's directories, outermost first, the path itself last.
func parents(path string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for i := range path {
			if path[i] == '/' && !yield(path[:i]) {
				return
			}
		}
		yield(path)
	}
}

// hostKey makes a host key: private in OpenSSH's format, public as sshd keeps it.
func hostKey(kind string) (private, public string, err error) {
	var key crypto.PrivateKey
	var signer crypto.Signer
	if kind == "ecdsa" {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return "", "", err
		}
		key, signer = k, k
	} else {
		_, k, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			return "", "", err
		}
		key, signer = k, k
	}
	block, err := ssh.MarshalPrivateKey(key, "")
	if err != nil {
		return "", "", err
	}
	sshKey, err := ssh.NewPublicKey(signer.Public())
	if err != nil {
		return "", "", err
	}
	return string(pem.EncodeToMemory(block)), string(ssh.MarshalAuthorizedKey(sshKey)), nil
}

// tree writes files below a root that nobody else can write to. It keeps the first error.
type tree struct {
	root string
	err  error
}

func (t *tree) fail(err error) {
	if t.err == nil {
		t.err = err
	}
}

// dir makes a directory; the umask has no say. Names merge with the image's, modes replace it.
func (t *tree) dir(path string, mode os.FileMode) {
	full := filepath.Join(t.root, path)
	if err := os.Mkdir(full, mode); err != nil && !errors.Is(err, os.ErrExist) {
		t.fail(err)
		return
	}
	t.fail(os.Chmod(full, mode))
}

func (t *tree) file(path string, mode os.FileMode, content string) {
	full := filepath.Join(t.root, path)
	t.fail(os.WriteFile(full, []byte(content), 0o600))
	t.fail(os.Chmod(full, mode))
}

func (t *tree) link(path, target string) {
	if err := os.Symlink(target, filepath.Join(t.root, path)); err != nil {
		t.fail(fmt.Errorf("link: %w", err))
	}
}

func (t *tree) own(path string, uid, gid int) {
	t.fail(os.Lchown(filepath.Join(t.root, path), uid, gid))
}
