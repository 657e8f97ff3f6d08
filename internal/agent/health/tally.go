package health

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// tally is the state of each container, by its id.
type tally struct {
	containers map[string]condition
	restarting map[string]bool
	recent     []change // while a list is read, so that what it misses can be counted on top
	listing    bool
}

// change is one event.
type change struct{ id, action, detail string }

type condition struct{ running, unhealthy bool }

// apply counts one event and reports whether it changed anything.
func (t *tally) apply(id, action, detail string) (changed bool) {
	if t.containers == nil {
		t.containers = map[string]condition{}
	}
	if t.listing {
		t.recent = append(t.recent, change{id, action, detail})
	}
	c := t.containers[id]
	switch action {
	case "create", "die":
		c = condition{}
	case "start":
		c = condition{running: true}
		delete(t.restarting, id)
	case "health_status":
		c.unhealthy = detail == "unhealthy"
	case "destroy":
		delete(t.containers, id)
		delete(t.restarting, id)
		return true
	default:
		return false
	}
	t.containers[id] = c
	return true
}

// count returns how many there are of each; one that waits for its restart is neither running nor stopped.
func (t *tally) count() (running, stopped, unhealthy, restarting uint32) {
	for id, c := range t.containers {
		switch {
		case t.restarting[id]:
			restarting++
		case c.running:
			running++
		default:
			stopped++
		}
		if c.running && c.unhealthy {
			unhealthy++
		}
	}
	return running, stopped, unhealthy, restarting
}

// listed is what we read of a container in a list.
type listed struct{ ID, State, Status string }

// list counts all containers anew.
func (w *Watcher) list(ctx context.Context, client *http.Client) error {
	fresh := tally{containers: map[string]condition{}, restarting: map[string]bool{}}
	w.mu.Lock()
	w.tally.listing = true
	w.mu.Unlock()
	err := containers(ctx, client, url.Values{"all": {"1"}}, func(c listed) {
		fresh.containers[c.ID] = condition{
			running:   c.State == "running" || c.State == "paused",
			unhealthy: strings.Contains(c.Status, "(unhealthy)"),
		}
		if c.State == "restarting" {
			fresh.restarting[c.ID] = true
		}
	})
	w.mu.Lock()
	defer w.mu.Unlock()
	missed := w.tally.recent
	w.tally.recent, w.tally.listing = nil, false
	if err != nil {
		return err
	}
	for _, m := range missed {
		fresh.apply(m.id, m.action, m.detail)
	}
	w.tally = fresh
	return nil
}

// restarting counts those anew that wait for their restart, which no event tells.
func (w *Watcher) restarting(ctx context.Context, client *http.Client) (bool, error) {
	waiting := map[string]bool{}
	err := containers(ctx, client, url.Values{"all": {"1"}, "filters": {`{"status":["restarting"]}`}}, func(c listed) { waiting[c.ID] = true })
	if err == nil {
		w.mu.Lock()
		w.tally.restarting = waiting
		w.mu.Unlock()
	}
	return len(waiting) > 0, err
}

// containers reads a list one by one, so that thousands need no memory.
func containers(ctx context.Context, client *http.Client, query url.Values, each func(listed)) error {
	limited, cancel := context.WithTimeout(ctx, listLimit)
	defer cancel()
	body, err := get(limited, client, "/containers/json?"+query.Encode())
	if err != nil {
		return err
	}
	defer body.Close()
	decoder := json.NewDecoder(io.LimitReader(body, maxList))
	if _, err := decoder.Token(); err != nil {
		return err
	}
	for decoder.More() {
		var c listed
		if err := decoder.Decode(&c); err != nil {
			return err
		}
		each(c)
	}
	return nil
}
