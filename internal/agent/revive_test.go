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
	result string
}

func (u *units) Run(_ context.Context, c program.Command) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	switch line := fmt.Sprint(c); {
	case strings.Contains(line, "show"):
		for _, line := range []string{"NRestarts=0", "Result=" + u.result, "ActiveState=" + u.state} {
			c.Line(line)
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
		state, result string
		stays         bool
		least, most   int
	}{
		"given up":                         {"failed", "exit-code", false, 1, 1},
		"given up later":                   {"activating", "exit-code", false, 1, 1},
		"stopped by somebody":              {"inactive", "success", false, 0, 0},
		"stopped by somebody, with a kill": {"failed", "timeout", false, 0, 0},
		"restarted by systemd":             {"active", "success", false, 0, 0},
		"does not come back yet":           {"failed", "signal", true, 5, 20},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				u := &units{state: c.state, result: c.result, stays: c.stays}
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
