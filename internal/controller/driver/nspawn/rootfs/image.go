//go:build linux

// Package rootfs makes the root file systems of hosts: one image for all, and a layer of its own for each.
package rootfs

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"

	"mctl/internal/controller/driver/nspawn/system"
	"mctl/internal/fault"
)

// Flags that faults name.
const (
	flagImage = "nspawn-image"
	flagUser  = "nspawn-ssh-user"
)

const (
	suite = "bookworm"
	// imageStamp changes when the image is built in another way.
	imageStamp = "1"
	packages   = "systemd,systemd-sysv,dbus,udev,openssh-server,sudo,iproute2,iptables,ca-certificates,curl,procps,openssl"
	// building marks what is not complete.
	building = ".building-"
)

// baseName is the directory of the base image. Its name says what is in it, so that another version builds its own.
func baseName() string {
	sum := sha256.Sum256([]byte(imageStamp + " " + packages))
	return fmt.Sprintf("%s-%s-%x", suite, runtime.GOARCH, sum[:4])
}

// Cache holds what all controllers of a computer share: the base image.
type Cache struct {
	Dir    string
	Logger hclog.Logger
}

// Built reports whether the base image is there.
func (c Cache) Built() bool {
	_, err := os.Stat(filepath.Join(c.Dir, baseName()))
	return err == nil
}

// Image returns the directory that a host's root is layered upon: the base image, or the directory or tar file given. It
// makes it first where needed, which takes half a minute and may be cut short and repeated. fault.Invalid for an image that
// would not become a host.
func (c Cache) Image(ctx context.Context, given string, progress func(string)) (string, error) {
	if given == "" {
		return c.cached(ctx, baseName(), progress, "building the base image, once per computer", func(ctx context.Context, dir string, lock *os.File) error {
			return debootstrap(ctx, dir, lock, progress)
		})
	}
	info, err := os.Stat(given)
	if err != nil {
		return "", refuse(flagImage, err, "give a directory or a tar file")
	}
	if info.IsDir() {
		return given, Check(given)
	}
	sum := sha256.Sum256(fmt.Append(nil, given, info.Size(), info.ModTime().UnixNano()))
	dir, err := c.cached(ctx, fmt.Sprintf("tar-%x", sum[:8]), progress, "unpacking the image", func(ctx context.Context, dir string, lock *os.File) error {
		return work(ctx, lock, func(string) {}, "tar", "--extract", "--numeric-owner", "--xattrs", "--xattrs-include=*", "--directory="+dir, "--file="+given)
	})
	if err != nil {
		return "", err
	}
	return dir, Check(dir)
}

// Check refuses what would not become a host.
func Check(dir string) error {
	for what, paths := range map[string][]string{
		"systemd": {"usr/lib/systemd/systemd", "lib/systemd/systemd"}, "sshd": {"usr/sbin/sshd"},
	} {
		if !inside(dir, paths...) {
			return refuse(flagImage, fmt.Errorf("there is no %s in %s", what, dir), "the image needs systemd and an SSH server")
		}
	}
	return nil
}

// inside reports whether an image has one of the paths.
func inside(image string, paths ...string) bool {
	root, err := os.OpenRoot(image)
	if err != nil {
		return false
	}
	defer root.Close()
	for _, path := range paths {
		if _, err := root.Lstat(path); err == nil {
			return true
		}
	}
	return false
}

// cached returns a directory of the cache. One controller at a time fills it, under another name until it is complete.
func (c Cache) cached(ctx context.Context, name string, progress func(string), what string, fill func(context.Context, string, *os.File) error) (string, error) {
	dir := filepath.Join(c.Dir, name)
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	if err := os.MkdirAll(c.Dir, 0o755); err != nil {
		return "", err
	}
	lock, err := system.LockFile(ctx, filepath.Join(c.Dir, "lock"), func() { progress("waiting: another controller is " + what) })
	if err != nil {
		return "", err
	}
	defer lock.Close()
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	if err := c.sweep(); err != nil {
		return "", err
	}
	progress(what + "…")
	start, temporary := time.Now(), filepath.Join(c.Dir, building+name)
	if err := os.Mkdir(temporary, 0o755); err != nil {
		return "", err
	}
	if err := errors.Join(fill(ctx, temporary, lock), ctx.Err()); err != nil {
		return "", errors.Join(err, system.RemoveTree(temporary))
	}
	if err := complete(temporary, dir); err != nil {
		return "", err
	}
	c.Logger.Info("image is ready", "path", dir, "took", time.Since(start).Round(time.Millisecond))
	return dir, nil
}

// sweep removes what others left half built. The lock is ours, so nobody is building.
func (c Cache) sweep() error {
	entries, err := os.ReadDir(c.Dir)
	for _, entry := range entries {
		if strings.HasPrefix(entry.Name(), building) {
			err = errors.Join(err, system.RemoveTree(filepath.Join(c.Dir, entry.Name())))
		}
	}
	return err
}

// complete gives a directory its name once all of it is on disk.
func complete(temporary, dir string) error {
	parent, err := os.Open(filepath.Dir(dir))
	if err != nil {
		return err
	}
	defer parent.Close()
	if err := unix.Syncfs(int(parent.Fd())); err != nil {
		return err
	}
	if err := os.Rename(temporary, dir); err != nil {
		return err
	}
	return parent.Sync()
}

// debootstrap builds the base image. Nothing that must be unique to a host stays in it.
func debootstrap(ctx context.Context, dir string, lock *os.File, progress func(string)) error {
	err := work(ctx, lock, func(line string) {
		if step, ok := strings.CutPrefix(line, "I: "); ok {
			progress("building the base image: " + strings.TrimSuffix(step, "..."))
		}
	}, "mmdebstrap", "--variant=minbase", "--include="+packages, suite, dir)
	if err != nil {
		return err
	}
	keys, err := filepath.Glob(filepath.Join(dir, "etc/ssh/ssh_host_*"))
	if err != nil {
		return err
	}
	for _, name := range append(keys, filepath.Join(dir, "etc/machine-id"), filepath.Join(dir, "etc/hostname")) {
		if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// work runs a tool that takes its time, and passes on the lines it says. It inherits the lock: should the controller die
// meanwhile, nobody touches the directory before the tool has ended too.
func work(ctx context.Context, lock *os.File, line func(string), tool string, args ...string) error {
	path, err := system.Find(tool)
	if err != nil {
		return err
	}
	said := &lines{each: line}
	// The modes in an image must not depend on the umask of whoever started the controller.
	command := exec.CommandContext(ctx, "/bin/sh", append([]string{"-c", `umask 022 && exec "$@"`, "sh", path}, args...)...)
	command.Env, command.Stderr, command.ExtraFiles = system.Environment(), said, []*os.File{lock}
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	command.Cancel = func() error { return syscall.Kill(-command.Process.Pid, syscall.SIGKILL) }
	command.WaitDelay = 10 * time.Second
	if err := command.Run(); err != nil {
		failed := system.Complaint(ctx, tool, &said.Tail, err)
		if failed.Kind == fault.Internal {
			failed.Kind = fault.Precondition // a mirror that cannot be reached, a disk that is full: somebody must act
			return failed.WithHint("see why " + tool + " failed, then `mctl retry` it")
		}
		return failed
	}
	return nil
}

// lines hands each complete line on and keeps the last ones.
type lines struct {
	system.Tail
	each func(string)
	rest string
}

func (l *lines) Write(p []byte) (int, error) {
	_, _ = l.Tail.Write(p)
	l.rest += string(p)
	for {
		line, rest, ok := strings.Cut(l.rest, "\n")
		if !ok {
			l.rest = l.rest[max(0, len(l.rest)-1024):]
			return len(p), nil
		}
		l.each(strings.TrimSpace(line))
		l.rest = rest
	}
}

func refuse(flag string, err error, hint string) error {
	return fault.E("rootfs", fault.Invalid, flag, fmt.Errorf("--%s: %w", flag, err)).WithHint(hint).WithReason(fault.ReasonUsage)
}
