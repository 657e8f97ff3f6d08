//go:build linux

package host

import (
	"embed"
	"errors"
	"os"
	"path/filepath"
)

//go:embed guest
var guestFiles embed.FS

// installGuest puts into a new disk what asks who the host is, and what passes its journal on as its console.
func installGuest(upper string) error {
	for name, to := range map[string]string{
		"lab-guest": "usr/local/lib/lab/lab-guest", "lab-guest.service": "etc/systemd/system/lab-guest.service",
		"lab-console.service": "etc/systemd/system/lab-console.service",
	} {
		content, err := guestFiles.ReadFile("guest/" + name)
		if err != nil {
			return err
		}
		path := filepath.Join(upper, to)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, content, 0o755)); err != nil { //nolint:gosec // systemd reads it
			return err
		}
	}
	const wants = "etc/systemd/system/multi-user.target.wants/"
	for _, unit := range []string{"lab-guest.service", "lab-console.service"} {
		if err := os.Symlink("/etc/systemd/system/"+unit, filepath.Join(upper, wants, unit)); err != nil {
			return err
		}
	}
	return nil
}
