package packages

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net/url"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"mctl/internal/agent/engine/download"
	"mctl/internal/agent/engine/program"
	"mctl/internal/agent/engine/tree"
	"mctl/internal/fault"
)

// Script downloads an install script and runs it by sh, from a file of its own in folder. repository names the files where
// such scripts put Docker's repository; which packages came, the caller sees by comparing Installed.
func Script(ctx context.Context, config Config, repository []string, address, folder string) error {
	if config.Pause == nil {
		config.Pause = pause
	}
	lock, err := config.alone(folder)
	if err != nil {
		return err
	}
	defer lock.Close()
	content, err := config.download(ctx, address)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(content)
	path := filepath.Join(folder, fmt.Sprintf("install-%x.sh", sum[:8]))
	if err := config.tree().Put(path, &content, 0o700); err != nil {
		return err
	}
	defer os.Remove(config.tree().Path(path))
	config.Progress(fmt.Sprintf("running the install script of %s (sha256 %x)", host(address), sum))
	for _, file := range repository {
		if err := config.Footprint.File(file); err != nil {
			return err
		}
	}
	err = config.run(ctx, program.Command{
		Args: []string{"sh", config.tree().Path(path)},
		Env:  []string{"DEBIAN_FRONTEND=noninteractive", "NEEDRESTART_MODE=l", "LC_ALL=C"}, Line: config.shown("script"), Outlives: true, Keep: lock,
	})
	if err != nil {
		return err
	}
	for _, file := range repository {
		if config.tree().Exists(file) {
			if err := config.Footprint.Written(file); err != nil {
				return err
			}
		}
	}
	return nil
}

// alone takes a lock that a script keeps until its end. Unavailable while one runs that an earlier agent began.
func (c Config) alone(folder string) (*os.File, error) {
	path := c.tree().Path(filepath.Join(folder, "script.lock"))
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fault.E("packages.alone", fault.Precondition, path, err)
	}
	lock, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fault.E("packages.alone", fault.Precondition, path, err)
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		lock.Close()
		return nil, fault.E("packages.alone", fault.Unavailable, path, fmt.Errorf("the install script that began earlier still runs: %w", err)).
			WithHint("it is tried again; end that script on the host if it hangs")
	}
	return lock, nil
}

// download fetches a small file over HTTP.
func (c Config) download(ctx context.Context, address string) ([]byte, error) {
	return download.Get(ctx, download.Config{HTTP: c.HTTP, Progress: c.Progress, Pause: c.Pause}, address)
}

func host(address string) string {
	parsed, err := url.Parse(address)
	if err != nil {
		return "an unknown host"
	}
	return parsed.Host
}

// write puts a file on the host, known to the footprint before and after.
func (c Config) write(path string, content []byte) error {
	if err := c.Footprint.File(path); err != nil {
		return err
	}
	if err := c.tree().Put(path, &content, 0o644); err != nil {
		return err
	}
	return c.Footprint.Written(path)
}

func (c Config) tree() tree.Tree { return tree.Tree(c.Root) }
