package agent

import (
	"context"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"

	"mctl/internal/agent/engine/program"
	"mctl/internal/host"
)

// Pauses before an engine that systemd gave up is started again. systemd restarts one that dies now and then by itself.
const (
	firstRevival = 5 * time.Second
	lastRevival  = 5 * time.Minute
)

// reviver starts dockerd again after it died so often that systemd gave up. One that somebody stopped stays stopped:
// systemd calls that inactive, and not failed.
type reviver struct {
	logger hclog.Logger
	runner program.Runner
	emit   func(host.Event)
	down   chan struct{} // holds one token when the engine went down
}

func newReviver(logger hclog.Logger, emit func(host.Event)) *reviver {
	r := &reviver{logger: logger, runner: program.Local{}, emit: emit, down: make(chan struct{}, 1)}
	r.down <- struct{}{} // it may have died with an earlier agent, which could not see the end of it
	return r
}

// see is told of every event.
func (r *reviver) see(e host.Event) {
	if e.Type == host.EventEngineDown {
		select {
		case r.down <- struct{}{}:
		default:
		}
	}
}

// run revives until ctx ends. The pause grows with each revival and is short again after a long quiet.
func (r *reviver) run(ctx context.Context) error {
	pause, last := firstRevival, time.Time{}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-r.down:
		}
		if time.Since(last) > 2*lastRevival {
			pause = firstRevival
		}
		for settled := false; !settled && r.wait(ctx, pause); {
			switch r.state(ctx) {
			case "failed":
				last = time.Now()
				r.revive(ctx)
				pause = min(2*pause, lastRevival)
			case "activating", "deactivating", "reloading": // systemd has not given up yet
			default:
				settled = true
			}
		}
	}
}

func (r *reviver) wait(ctx context.Context, pause time.Duration) bool {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// state is systemd's word for what docker does; "" when it can't be asked. One that took too long to stop when somebody
// stopped it counts as inactive, although systemd calls it failed, too: it was never started anew.
func (r *reviver) state(ctx context.Context) string {
	output, err := program.Output(ctx, r.runner, "systemctl", "show", "--property=ActiveState,Result,NRestarts", "docker.service")
	if err != nil {
		return ""
	}
	property := map[string]string{}
	for line := range strings.Lines(output) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		property[name] = value
	}
	if property["Result"] == "timeout" && property["NRestarts"] == "0" {
		return "inactive"
	}
	return property["ActiveState"]
}

func (r *reviver) revive(ctx context.Context) {
	r.emit(host.Event{Type: host.EventProgress, Time: time.Now(), Message: "docker died so often that systemd gave it up; starting it again"})
	for _, act := range []string{"reset-failed", "start"} {
		if _, err := program.Output(ctx, r.runner, "systemctl", act, "docker.socket", "docker.service"); err != nil {
			r.logger.Info("docker does not come back", "error", err)
			return
		}
	}
}
