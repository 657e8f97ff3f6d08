//go:build linux

package rootfs

import (
	"errors"
	"io/fs"
	"os"
)

// bootDir, in a host, holds what it runs as it boots.
const bootDir = "etc/mctl-boot"

// bootUnit runs it. It is done again as long as it fails: the network or the controller may come later.
const bootUnit = `[Unit]
Description=Join the controller that made this host
Wants=network-online.target
After=network-online.target
StartLimitIntervalSec=0

[Service]
Type=oneshot
ExecStart=/bin/sh /etc/mctl-boot/script
StandardInput=file:/etc/mctl-boot/values
StandardOutput=journal+console
Restart=on-failure
RestartSec=5s
`

// WriteUserData has a host that is off run a script as it boots, with values as its standard input. The host may have been on
// before, and its root may have put links there, which must not lead out.
func WriteUserData(upper, script string, values []byte) error {
	root, err := os.OpenRoot(upper)
	if err != nil {
		return err
	}
	defer root.Close()
	for _, dir := range []string{"etc", "etc/systemd", "etc/systemd/system", "etc/systemd/system/multi-user.target.wants"} {
		if err := root.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	if err := root.Mkdir(bootDir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	const unit = "etc/systemd/system/mctl-boot.service"
	for _, file := range []struct {
		path    string
		content []byte
		mode    fs.FileMode
	}{{bootDir + "/script", []byte(script), 0o600}, {bootDir + "/values", values, 0o600}, {unit, []byte(bootUnit), 0o644}} {
		if err := root.Remove(file.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := root.WriteFile(file.path, file.content, file.mode); err != nil {
			return err
		}
	}
	const wanted = "etc/systemd/system/multi-user.target.wants/mctl-boot.service"
	if err := root.Remove(wanted); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return root.Symlink("/"+unit, wanted)
}
