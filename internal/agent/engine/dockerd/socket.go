package dockerd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"
)

const (
	maxAnswer = 4 << 20 // /info grows with plugins and registries
	retryPing = 100 * time.Millisecond
)

// socket talks to dockerd over its unix socket, without any version in the path, so that it works with each.
type socket struct{ client *http.Client }

func newSocket(path string) *socket {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}
	return &socket{client: &http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}}
}

// Info is what we read of /info.
type Info struct {
	ServerVersion      string
	Driver             string
	LiveRestoreEnabled bool // its containers go on while it is restarted
	Swarm              struct{ LocalNodeState string }
}

// InSwarm reports whether the engine is a member of a swarm, or on its way into one or out of it.
func (i Info) InSwarm() bool {
	return i.Swarm.LocalNodeState != "" && i.Swarm.LocalNodeState != "inactive"
}

// get opens a path of the API; the caller closes the body.
func (s *socket) get(ctx context.Context, path string) (io.ReadCloser, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://docker"+path, nil)
	if err != nil {
		return nil, err
	}
	response, err := s.client.Do(request)
	if err != nil {
		var wrapped *url.Error
		if errors.As(err, &wrapped) {
			err = wrapped.Err
		}
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		response.Body.Close()
		return nil, fmt.Errorf("dockerd answers %s", response.Status)
	}
	return response.Body, nil
}

func (s *socket) info(ctx context.Context) (Info, error) {
	body, err := s.get(ctx, "/info")
	if err != nil {
		return Info{}, err
	}
	defer body.Close()
	var answer Info
	err = json.NewDecoder(io.LimitReader(body, maxAnswer)).Decode(&answer)
	return answer, err
}

// await asks until dockerd answers or the context ends.
func (s *socket) await(ctx context.Context) (Info, error) {
	ticker := time.NewTicker(retryPing)
	defer ticker.Stop()
	var last error
	for {
		answer, err := s.info(ctx)
		if err == nil {
			return answer, nil
		}
		if ctx.Err() == nil {
			last = err
		}
		select {
		case <-ctx.Done():
			return Info{}, fmt.Errorf("dockerd does not answer: %w", errors.Join(last, ctx.Err()))
		case <-ticker.C:
		}
	}
}

// reloads follows dockerd's own reload events; one comes for each SIGHUP that it could follow.
func (s *socket) reloads(ctx context.Context) (io.ReadCloser, error) {
	filters := url.QueryEscape(`{"type":["daemon"],"event":["reload"]}`)
	return s.get(ctx, "/events?filters="+filters)
}
