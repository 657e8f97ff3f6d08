//go:build linux

package nspawn

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

	"golang.org/x/sys/unix"

	"mctl/internal/controller/driver"
	"mctl/internal/fault"
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

// image returns the directory that a host's root is layered upon, and makes it first where needed.
func (d *Driver) image(ctx context.Context, given string, progress driver.Progress) (string, error) {
	if given == "" {
		return d.cached(ctx, baseName(), progress, "building the base image, once per computer", func(ctx context.Context, dir string, lock *os.File) error {
			return debootstrap(ctx, dir, lock, progress)
		})
	}
	info, err := os.Stat(given)
	if err != nil {
		return "", refuse(flagImage, err, "give a directory or a tar file")
	}
	if info.IsDir() {
		return given, checkImage(given)
	}
	sum := sha256.Sum256(fmt.Append(nil, given, info.Size(), info.ModTime().UnixNano()))
	dir, err := d.cached(ctx, fmt.Sprintf("tar-%x", sum[:8]), progress, "unpacking the image", func(ctx context.Context, dir string, lock *os.File) error {
		return work(ctx, lock, func(string) {}, "tar", "--extract", "--numeric-owner", "--xattrs", "--xattrs-include=*", "--directory="+dir, "--file="+given)
	})
	if err != nil {
		return "", err
	}
	return dir, checkImage(dir)
}

// checkImage refuses what would not become a host.
func checkImage(dir string) error {
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
func (d *Driver) cached(ctx context.Context, name string, progress driver.Progress, what string, fill func(context.Context, string, *os.File) error) (string, error) {
	dir := filepath.Join(d.config.CacheDir, name)
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	if err := os.MkdirAll(d.config.CacheDir, 0o755); err != nil {
		return "", err
	}
	lock, err := lockFile(ctx, filepath.Join(d.config.CacheDir, "lock"), func() { progress("waiting: another controller is " + what) })
	if err != nil {
		return "", err
	}
	defer lock.Close()
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	if err := d.sweepCache(); err != nil {
		return "", err
	}
	progress(what + "…")
	start, temporary := time.Now(), filepath.Join(d.config.CacheDir, building+name)
	if err := os.Mkdir(temporary, 0o755); err != nil {
		return "", err
	}
	if err := errors.Join(fill(ctx, temporary, lock), ctx.Err()); err != nil {
		return "", errors.Join(err, removeTree(temporary))
	}
	if err := complete(temporary, dir); err != nil {
		return "", err
	}
	d.config.Logger.Info("image is ready", "path", dir, "took", time.Since(start).Round(time.Millisecond))
	return dir, nil
}

// sweepCache removes what others left half built. The lock is ours, so nobody is building.
func (d *Driver) sweepCache() error {
	entries, err := os.ReadDir(d.config.CacheDir)
	for _, entry := range entries {
		if strings.HasPrefix(entry.Name(), building) {
			err = errors.Join(err, removeTree(filepath.Join(d.config.CacheDir, entry.Name())))
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
func debootstrap(ctx context.Context, dir string, lock *os.File, progress driver.Progress) error {
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
	path, err := find(tool)
	if err != nil {
		return err
	}
	said := &lines{each: line}
	// The modes in an image must not depend on the umask of whoever started the controller.
	command := exec.CommandContext(ctx, "/bin/sh", append([]string{"-c", `umask 022 && exec "$@"`, "sh", path}, args...)...)
	command.Env, command.Stderr, command.ExtraFiles = environment(), said, []*os.File{lock}
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	command.Cancel = func() error { return syscall.Kill(-command.Process.Pid, syscall.SIGKILL) }
	command.WaitDelay = 10 * time.Second
	if err := command.Run(); err != nil {
		failed := complaint(ctx, tool, &said.tail, err)
		if f := (*fault.Error)(nil); errors.As(failed, &f) && f.Kind == fault.Internal {
			f.Kind = fault.Precondition // a mirror that cannot be reached, a disk that is full: somebody must act
			return f.WithHint("see why " + tool + " failed, then mctl retry")
		}
		return failed
	}
	return nil
}

// lines hands each complete line on and keeps the last ones.
type lines struct {
	tail
	each func(string)
	rest string
}

func (l *lines) Write(p []byte) (int, error) {
	_, _ = l.tail.Write(p)
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
