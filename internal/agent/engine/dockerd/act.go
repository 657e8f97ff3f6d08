package dockerd

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"mctl/internal/agent/engine/program"
	"mctl/internal/fault"
)

const (
	reloadLimit = 10 * time.Second
	// journalCheck is how often the journal is read while dockerd should say something.
	journalCheck = 500 * time.Millisecond
	// journalDelay is how long dockerd's last words may take into the journal.
	journalDelay = 2 * time.Second
)

// Restart starts dockerd anew and waits until it answers. Earlier failures are forgotten first: systemd counts them and
// would refuse. Precondition with dockerd's own reason when it does not start within the limit; zero is the start limit, and
// what stopping may take.
func (d *Daemon) Restart(ctx context.Context, limit time.Duration) error {
	place := d.place(ctx)
	_ = d.Systemctl(ctx, "reset-failed", Unit) // fails when there is nothing to forget
	if limit == 0 {
		limit = d.config.StartLimit + systemdLimit
	}
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	_, err := program.Output(limited, d.config.Runner, "systemctl", "restart", Unit)
	if err == nil {
		_, err = d.socket.await(limited)
	} else {
		err = fmt.Errorf("systemctl restart: %w", err)
	}
	if err == nil || ctx.Err() != nil {
		return err
	}
	return fault.E("dockerd.Restart", fault.Precondition, Unit, fmt.Errorf("docker does not start: %s", d.reason(ctx, place, err))).
		WithHint("look at `journalctl -u docker` on the host")
}

// Reload sends SIGHUP and waits for dockerd's word that it followed. Precondition with dockerd's own reason when it did not.
func (d *Daemon) Reload(ctx context.Context) error {
	limited, cancel := context.WithTimeout(ctx, reloadLimit)
	defer cancel()
	place := d.place(ctx)
	events, err := d.socket.reloads(limited)
	if err != nil {
		return fault.E("dockerd.Reload", fault.Precondition, Unit, fmt.Errorf("docker does not answer: %w", err))
	}
	followed, ended := make(chan error, 1), make(chan struct{})
	go func() {
		defer close(ended)
		followed <- untilReload(events)
	}()
	// The reader ends with the context and its body, before this function does.
	defer func() {
		cancel()
		events.Close()
		<-ended
	}()
	if err := d.Systemctl(ctx, "kill", "-s", "HUP", "--kill-who=main", Unit); err != nil {
		return err
	}
	ticker := time.NewTicker(journalCheck)
	defer ticker.Stop()
	for {
		select {
		case err = <-followed:
			if err == nil || ctx.Err() != nil {
				return err
			}
		case <-ticker.C:
			if d.words(ctx, place, refusals()...) == "" {
				continue
			}
		}
		return fault.E("dockerd.Reload", fault.Precondition, Unit,
			fmt.Errorf("docker does not take its configuration: %s", d.reason(ctx, place, err)))
	}
}

// untilReload reads events until one tells of a reload.
func untilReload(events io.Reader) error {
	var event struct{ Action string }
	for decoder := json.NewDecoder(events); event.Action != "reload"; {
		if err := decoder.Decode(&event); err != nil {
			return fmt.Errorf("it did not tell of a reload: %w", err)
		}
	}
	return nil
}
