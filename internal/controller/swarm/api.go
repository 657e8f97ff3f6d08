package swarm

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"mctl/internal/fault"
	"mctl/internal/host"
)

// maxAnswer is how much of an engine's answer is read, in bytes: hosts may be anybody's.
const maxAnswer = 8 << 20

// info is what we read of /info.
type info struct {
	Swarm struct {
		NodeID, NodeAddr, LocalNodeState, Error string
		ControlAvailable                        bool
		RemoteManagers                          []struct{ NodeID, Addr string }
		Cluster                                 *struct{ ID string }
	}
}

// node is what we read of a node, and all of its spec, since an update replaces it whole.
type node struct {
	ID            string
	Version       struct{ Index uint64 }
	Spec          map[string]any
	Description   struct{ Hostname string }
	Status        struct{ State string }
	ManagerStatus *struct {
		Leader       bool
		Reachability string
	}
}

// membership is the body of a request to make or join a swarm.
type membership struct {
	ListenAddr    string
	AdvertiseAddr string
	RemoteAddrs   []string  `json:",omitempty"`
	JoinToken     string    `json:",omitempty"` // a secret
	Spec          *struct{} `json:",omitempty"`
}

// call asks a machine's engine. What it answers comes into answer, unless that is nil.
func (c *Client) call(ctx context.Context, machine, method, path string, query url.Values, body, answer any) error {
	const op = "swarm.call"
	ctx, cancel := context.WithTimeout(ctx, c.limit)
	defer cancel()
	var text io.Reader
	if body != nil {
		encoded, err := json.Marshal(body)
		if err != nil {
			return fault.E(op, fault.Internal, machine, err)
		}
		text = bytes.NewReader(encoded)
	}
	request, err := http.NewRequestWithContext(ctx, method, "http://docker"+path, text)
	if err != nil {
		return fault.E(op, fault.Internal, machine, err)
	}
	request.URL.RawQuery = query.Encode()
	request.Header.Set("Content-Type", "application/json")
	transport := &http.Transport{DisableKeepAlives: true, DialContext: c.dialer(machine)}
	defer transport.CloseIdleConnections()
	response, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		return unreached(machine, err)
	}
	defer response.Body.Close()
	content, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return unreached(machine, err)
	}
	if response.StatusCode >= http.StatusBadRequest {
		return refused(machine, response.StatusCode, content)
	}
	if answer == nil {
		return nil
	}
	if err := json.Unmarshal(content, answer); err != nil {
		return fault.E(op, fault.Unavailable, machine, fmt.Errorf("the engine of %q answers what can't be read", machine))
	}
	return nil
}

// unreached is the fault for an engine that can't be asked; why the tunnel did not come about says more than what HTTP made of it.
func unreached(machine string, err error) error {
	return fault.E("swarm.call", fault.Unavailable, machine, fmt.Errorf("the engine of %q can't be asked: %w", machine, innermost(err)))
}

func innermost(err error) error {
	for {
		wrapped, ok := err.(*url.Error) //nolint:errorlint // only this one is taken off
		if !ok {
			return err
		}
		err = wrapped.Err
	}
}

// refused is the fault for what an engine refuses, in its own words on one line. What may pass is Unavailable.
func refused(machine string, status int, content []byte) error {
	var said struct{ Message string }
	if json.Unmarshal(content, &said) != nil || said.Message == "" {
		said.Message = "status " + strconv.Itoa(status)
	}
	kind := fault.Precondition
	switch {
	case status == http.StatusNotFound:
		kind = fault.NotFound
	case status == http.StatusConflict:
		kind = fault.Conflict
	case strings.Contains(said.Message, "live-restore"):
		// It comes as a failure of the server, and passes when somebody acts.
	case status >= http.StatusInternalServerError:
		kind = fault.Unavailable
	}
	return fault.E("swarm.call", kind, machine, fmt.Errorf("the engine of %q says: %s", machine, plain(said.Message)))
}

// plain is what an engine says, on one line and without how it was told so itself.
func plain(said string) string {
	message := strings.TrimPrefix(strings.Join(strings.Fields(host.Line(said)), " "), "rpc error: ")
	if code, desc, ok := strings.Cut(message, " desc = "); ok && strings.HasPrefix(code, "code = ") {
		return desc
	}
	return message
}
