package agent

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"mctl/internal/agent/engine/program"
	"mctl/internal/host"
)

// units pretends to be systemctl for docker's units.
type units struct {
	mu     sync.Mutex
	state  string
	starts int
	stays  bool // a start does not help
}

func (u *units) Run(_ context.Context, c program.Command) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	switch line := fmt.Sprint(c); {
	case strings.Contains(line, "show"):
		if c.Line != nil {
			c.Line(u.state)
		}
		if u.state == "activating" { // systemd tries once more, and then gives up
			u.state = "failed"
		}
	case strings.Contains(line, "reset-failed"):
	case strings.Contains(line, "start"):
		u.starts++
		if !u.stays {
			u.state = "active"
		}
	}
	return nil
}

func TestOnlyAnEngineThatSystemdGaveUpIsRevived(t *testing.T) {
	for name, c := range map[string]struct {
		state       string
		stays       bool
		least, most int
	}{
		"given up":               {"failed", false, 1, 1},
		"given up later":         {"activating", false, 1, 1},
		"stopped by somebody":    {"inactive", false, 0, 0},
		"restarted by systemd":   {"active", false, 0, 0},
		"does not come back yet": {"failed", true, 5, 20},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				u := &units{state: c.state, stays: c.stays}
				r := newReviver(hclog.NewNullLogger(), func(host.Event) {})
				r.runner = u
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan error, 1)
				go func() { done <- r.run(ctx) }()
				r.see(host.Event{Type: host.EventEngineDown})
				time.Sleep(30 * time.Minute) //nolint:forbidigo // fake time
				synctest.Wait()
				cancel()
				if err := <-done; err != nil {
					t.Error(err)
				}
				if u.starts < c.least || u.starts > c.most {
					t.Errorf("%d starts, want %d to %d", u.starts, c.least, c.most)
				}
			})
		})
	}
}
