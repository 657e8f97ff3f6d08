package dockerd

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"mctl/internal/agent/engine/program"
	"mctl/internal/fault"
)

const (
	reloadLimit = 10 * time.Second
	// maxReason bounds what is shown of dockerd's journal.
	maxReason = 300
)

// Restart starts dockerd anew. Earlier failures are forgotten first: systemd counts them and would refuse.
func (d *Daemon) Restart(ctx context.Context) error {
	since := d.config.Now().Add(-time.Second)
	_ = d.Systemctl(ctx, "reset-failed", Unit) // fails when there is nothing to forget
	err := d.systemctl(ctx, d.config.StartLimit+systemdLimit, "restart", Unit)
	if err == nil {
		limited, cancel := context.WithTimeout(ctx, d.config.StartLimit)
		defer cancel()
		_, err = d.socket.await(limited)
	}
	if err == nil || ctx.Err() != nil {
		return err
	}
	return fault.E("dockerd.restart", fault.Precondition, Unit, fmt.Errorf("docker does not start: %s", d.reason(ctx, since, err))).
		WithHint("look at `journalctl -u docker` on the host")
}

// Reload sends SIGHUP and waits for dockerd's word that it followed.
func (d *Daemon) Reload(ctx context.Context) error {
	limited, cancel := context.WithTimeout(ctx, reloadLimit)
	defer cancel()
	since := d.config.Now().Add(-time.Second)
	events, err := d.socket.reloads(limited)
	if err != nil {
		return fault.E("dockerd.reload", fault.Precondition, Unit, fmt.Errorf("docker does not answer: %w", err))
	}
	defer events.Close()
	if err := d.Systemctl(ctx, "kill", "-s", "HUP", "--kill-who=main", Unit); err != nil {
		return err
	}
	var event struct{ Action string }
	for decoder := json.NewDecoder(events); event.Action != "reload"; {
		if err := decoder.Decode(&event); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return fault.E("dockerd.reload", fault.Precondition, Unit,
				fmt.Errorf("docker does not take its configuration: %s", d.reason(ctx, since, err)))
		}
	}
	return nil
}

// reason finds dockerd's own words in the journal.
func (d *Daemon) reason(ctx context.Context, since time.Time, otherwise error) string {
	limited, cancel := context.WithTimeout(ctx, systemdLimit)
	defer cancel()
	output, err := program.Output(limited, d.config.Runner, "journalctl", "-u", Unit, "--no-pager", "-o", "cat", "-n", "100",
		"--since", since.UTC().Format("2006-01-02 15:04:05")+" UTC")
	if err != nil {
		return otherwise.Error()
	}
	found := ""
	for line := range strings.Lines(output) {
		for _, needle := range []string{"failed to start daemon", "unable to configure the Docker daemon", "level=fatal", "unknown flag",
			"invalid argument", "failed to load listeners", "Status: ", "econfigur", "level=error"} {
			if strings.Contains(line, needle) && !(needle == "level=error" && found != "") && !strings.Contains(line, "Got signal to reload") {
				found = strings.TrimSpace(line)
				break
			}
		}
	}
	if found == "" {
		return otherwise.Error()
	}
	if len(found) > maxReason {
		found = strings.ToValidUTF8(found[:maxReason], "") + "…"
	}
	return found
}
