package packages

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"mctl/internal/agent/engine/program"
	"mctl/internal/agent/engine/tree"
	"mctl/internal/fault"
)

const (
	maxDownload   = 1 << 20 // Docker's install script has 23 kB
	downloadLimit = time.Minute
)

// Script downloads an install script and runs it by sh, from a file of its own in folder. repository names the files where
// such scripts put Docker's repository; which packages came, the caller sees by comparing Installed.
func Script(ctx context.Context, config Config, repository []string, address, folder string) error {
	if config.Pause == nil {
		config.Pause = pause
	}
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
		Env:  []string{"DEBIAN_FRONTEND=noninteractive", "NEEDRESTART_MODE=l", "LC_ALL=C"}, Line: config.shown("script"),
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

// download fetches a small file over HTTP.
func (c Config) download(ctx context.Context, address string) ([]byte, error) {
	parsed, err := url.Parse(address)
	if err != nil || parsed.Host == "" || parsed.Scheme != "https" && parsed.Scheme != "http" {
		return nil, fault.New("packages.download", fault.Invalid, "", "the address to download from is no http or https URL").
			WithHint("give --engine-install-url a whole URL")
	}
	for attempt, wait := 1, time.Second; ; attempt, wait = attempt+1, 2*wait {
		content, err := c.get(ctx, parsed)
		if err == nil || !fault.Is(err, fault.Unavailable) || ctx.Err() != nil {
			return content, err
		}
		if attempt == attempts {
			return nil, fault.E("packages.download", fault.Precondition, parsed.Host, err).WithHint(fault.HintOf(err))
		}
		c.Progress(fmt.Sprintf("%s, trying again in %s", err, wait))
		if err := c.Pause(ctx, wait); err != nil {
			return nil, err
		}
	}
}

func (c Config) get(ctx context.Context, address *url.URL) ([]byte, error) {
	limited, cancel := context.WithTimeout(ctx, downloadLimit)
	defer cancel()
	request, err := http.NewRequestWithContext(limited, http.MethodGet, address.String(), nil)
	if err != nil {
		return nil, err
	}
	unreachable := func(cause error) error {
		return fault.E("packages.get", fault.Unavailable, address.Host, fmt.Errorf("the host can't download from %s: %w", address.Host, cause)).
			WithHint("check the host's network and the address, or choose another source with --engine-install")
	}
	response, err := c.HTTP.Do(request)
	if err != nil {
		// The error of net/http repeats the whole address, which may hold a password.
		var wrapped *url.Error
		if errors.As(err, &wrapped) {
			err = wrapped.Err
		}
		return nil, unreachable(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		err := fmt.Errorf("it answers %s", response.Status)
		if response.StatusCode >= 500 || response.StatusCode == http.StatusTooManyRequests {
			return nil, unreachable(err)
		}
		return nil, fault.E("packages.get", fault.Precondition, address.Host, fmt.Errorf("the host can't download from %s: %w", address.Host, err)).
			WithHint("check the address")
	}
	content, err := io.ReadAll(io.LimitReader(response.Body, maxDownload+1))
	if err != nil {
		return nil, unreachable(err)
	}
	if len(content) > maxDownload || len(content) == 0 {
		return nil, fault.New("packages.get", fault.Precondition, address.Host,
			fmt.Sprintf("what %s sends is empty or larger than %d bytes", address.Host, maxDownload)).WithHint("check the address")
	}
	return content, nil
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
