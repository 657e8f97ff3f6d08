package health

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"mctl/internal/host"
)

const (
	maxEvent = 1 << 20  // of one event; labels are in it
	maxList  = 64 << 20 // of one list of containers, read piece by piece
	// listLimit bounds one list; dockerd takes long for thousands.
	listLimit = time.Minute
	// settle is how long after a death containers are asked for that restart, and how long after a list the next may come.
	settle = 2 * time.Second
	// overtaken is by how much one event may overtake another in dockerd.
	overtaken = 5 * time.Second
	// resync is how often all containers are listed anew, should an event have been lost.
	resync = 10 * time.Minute
)

// sink hands on events one after the other.
type sink struct {
	mu   sync.Mutex
	emit func(host.Event)
}

func (s *sink) send(e host.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.emit(e)
}

// message is what we read of one of dockerd's events.
type message struct {
	Type, Action string
	Actor        struct {
		ID         string
		Attributes map[string]string
	}
	TimeNano int64 `json:"timeNano"`
}

// cursor is the place in dockerd's events up to which they were reported.
type cursor struct {
	nano   int64
	at     map[string]bool // what was reported of that very moment
	killed map[string]bool // containers that somebody ended, by a signal through dockerd
}

// follow reads events from where the last connection ended, and keeps the tally.
func (w *Watcher) follow(ctx context.Context, p *process, out *sink) error {
	transport := &http.Transport{
		DisableKeepAlives: true,
		DialContext:       func(ctx context.Context, _, _ string) (net.Conn, error) { return w.dial(ctx, p) },
	}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	query := url.Values{"filters": {`{"type":["container"]}`}}
	w.mu.Lock()
	if w.cursor.nano == 0 {
		w.cursor.nano = w.config.Now().UnixNano() // what was before us is not news
	}
	since := w.cursor.nano
	query.Set("since", fmt.Sprintf("%d.%09d", since/int64(time.Second), since%int64(time.Second)))
	w.mu.Unlock()
	connection, end := context.WithCancel(ctx)
	defer end()
	// Events first, then the list: what happens in between is counted twice rather than not at all.
	body, err := get(connection, client, "/events?"+query.Encode())
	if err != nil {
		return err
	}
	defer body.Close()
	if err := w.list(connection, client); err != nil {
		return err
	}
	died := make(chan struct{}, 1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.relist(connection, client, died)
	}()
	defer func() { end(); <-done }()
	limited := &io.LimitedReader{R: body}
	for decoder := json.NewDecoder(limited); ; {
		limited.N = maxEvent
		var m message
		if err := decoder.Decode(&m); err != nil {
			return err
		}
		if m.Type == "container" && w.apply(m, out) {
			select {
			case died <- struct{}{}:
			default:
			}
		}
	}
}

// relist asks for containers that restart, some time after one died and as long as there are any, and for all of them now
// and then.
func (w *Watcher) relist(ctx context.Context, client *http.Client, died <-chan struct{}) {
	all := time.NewTicker(resync)
	defer all.Stop()
	soon := time.NewTimer(settle)
	defer soon.Stop()
	for waiting := true; ; {
		var err error
		select {
		case <-ctx.Done():
			return
		case <-died:
			// Not anew when it runs: a container that dies again and again would put it off for ever.
			if !waiting {
				soon.Reset(settle)
				waiting = true
			}
			continue
		case <-soon.C:
			if waiting, err = w.restarting(ctx, client); waiting {
				soon.Reset(settle)
			}
		case <-all.C:
			err = w.list(ctx, client)
		}
		if err != nil && ctx.Err() == nil {
			w.config.Logger.Debug("containers can't be listed", "error", err)
		}
	}
}

// apply counts one event and reports it when it matters; died tells that a container ended.
func (w *Watcher) apply(m message, out *sink) (died bool) {
	w.mu.Lock()
	if !w.cursor.advance(m) {
		w.mu.Unlock()
		return false
	}
	action, detail, _ := strings.Cut(m.Action, ":")
	asked := w.cursor.asked(m.Actor.ID, action, m.Actor.Attributes["signal"])
	changed := w.tally.apply(m.Actor.ID, action, strings.TrimSpace(detail))
	w.mu.Unlock()
	if changed && w.config.Changed != nil {
		w.config.Changed()
	}
	name := m.Actor.Attributes["name"]
	event := host.Event{Time: time.Unix(0, m.TimeNano), Attributes: map[string]string{
		"container": m.Actor.ID, "name": name, "image": m.Actor.Attributes["image"],
	}}
	switch {
	case action == "die" && !asked:
		code := m.Actor.Attributes["exitCode"]
		event.Attributes["exit_code"] = code
		event.Type, event.Message = host.EventContainerDied, fmt.Sprintf("container %s ended with exit code %s", name, code)
	case action == "oom":
		event.Type, event.Message = host.EventContainerOOM, fmt.Sprintf("container %s ran out of memory", name)
	case action == "health_status" && strings.TrimSpace(detail) == "unhealthy":
		event.Type, event.Message = host.EventContainerUnhealthy, fmt.Sprintf("container %s is unhealthy", name)
	default:
		return action == "die"
	}
	out.send(event)
	return action == "die"
}

// advance reports whether a message is new. dockerd tells none from before the place that it was asked for, so one that seems to
// be is of a clock that was set back, or was overtaken by another.
func (c *cursor) advance(m message) bool {
	key := m.Actor.ID + m.Action
	switch later := time.Duration(m.TimeNano - c.nano); {
	case later == 0 && c.at[key]:
		return false
	case later > 0, later < -overtaken, c.at == nil:
		c.nano, c.at = m.TimeNano, map[string]bool{key: true}
	case later == 0:
		c.at[key] = true
	}
	return true
}

// asked reports whether a container that dies was ended by somebody: dockerd tells of the signal first. Signals that
// programs take as a message do not count.
func (c *cursor) asked(id, action, signal string) bool {
	switch action {
	case "kill":
		number, err := strconv.Atoi(signal)
		if message := err == nil && (number == 1 || number == 10 || number == 12 || number == 18); !message {
			if c.killed == nil {
				c.killed = map[string]bool{}
			}
			c.killed[id] = true
		}
	case "die":
		was := c.killed[id]
		delete(c.killed, id)
		return was
	case "start", "destroy":
		delete(c.killed, id)
	}
	return false
}

// get asks dockerd; the caller closes the body.
func get(ctx context.Context, client *http.Client, path string) (io.ReadCloser, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://docker"+path, nil)
	if err != nil {
		return nil, err
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		response.Body.Close()
		return nil, fmt.Errorf("%s: %s", path, response.Status)
	}
	return response.Body, nil
}
