// Package download fetches small files over HTTP, with limits and repeated attempts.
package download

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"mctl/internal/fault"
)

const (
	maxSize  = 1 << 20 // Docker's install script has 23 kB, its keys less
	limit    = time.Minute
	attempts = 5
	hops     = 10 // redirections that are followed
)

// errDowngrade ends a redirection that would have somebody on the way choose what this host runs.
var errDowngrade = errors.New("it leads from https to http")

// Config is what downloads need; all must be set.
type Config struct {
	HTTP     *http.Client
	Progress func(string)
	Pause    func(ctx context.Context, d time.Duration) error // waits between attempts
}

// Get returns the content behind an http or https URL; an https one never leads to http. Invalid for another address;
// Precondition when it can't be had.
func Get(ctx context.Context, c Config, address string) ([]byte, error) {
	parsed, err := url.Parse(address)
	if err != nil || parsed.Host == "" || parsed.Scheme != "https" && parsed.Scheme != "http" {
		return nil, fault.New("download.Get", fault.Invalid, "", "the address to download from is no http or https URL").
			WithHint("give --engine-install-url a whole URL")
	}
	for attempt, wait := 1, time.Second; ; attempt, wait = attempt+1, 2*wait {
		content, err := c.get(ctx, parsed)
		if err == nil || !fault.Is(err, fault.Unavailable) || ctx.Err() != nil {
			return content, err
		}
		if attempt == attempts {
			return nil, fault.E("download.Get", fault.Precondition, parsed.Host, err).WithHint(fault.HintOf(err))
		}
		c.Progress(fmt.Sprintf("%s, trying again in %s", err, wait))
		if err := c.Pause(ctx, wait); err != nil {
			return nil, err
		}
	}
}

func (c Config) get(ctx context.Context, address *url.URL) ([]byte, error) {
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	request, err := http.NewRequestWithContext(limited, http.MethodGet, address.String(), nil)
	if err != nil {
		return nil, err
	}
	unreachable := func(cause error) error {
		return fault.E("download.get", fault.Unavailable, address.Host, fmt.Errorf("the host can't download from %s: %w", address.Host, cause)).
			WithHint("check the host's network and the address, or choose another source with --engine-install")
	}
	client := *c.HTTP
	client.CheckRedirect = follow
	response, err := client.Do(request)
	if errors.Is(err, errDowngrade) {
		return nil, fault.E("download.get", fault.Precondition, address.Host, fmt.Errorf("the host can't download from %s: %w", address.Host, errDowngrade)).
			WithHint("check the address")
	}
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
		return nil, fault.E("download.get", fault.Precondition, address.Host, fmt.Errorf("the host can't download from %s: %w", address.Host, err)).
			WithHint("check the address")
	}
	content, err := io.ReadAll(io.LimitReader(response.Body, maxSize+1))
	if err != nil {
		return nil, unreachable(err)
	}
	if len(content) > maxSize || len(content) == 0 {
		return nil, fault.New("download.get", fault.Precondition, address.Host,
			fmt.Sprintf("what %s sends is empty or larger than %d bytes", address.Host, maxSize)).WithHint("check the address")
	}
	return content, nil
}

func follow(next *http.Request, before []*http.Request) error {
	switch {
	case len(before) >= hops:
		return fmt.Errorf("it leads on and on, %d times", hops)
	case before[len(before)-1].URL.Scheme == "https" && next.URL.Scheme != "https":
		return errDowngrade
	}
	return nil
}
