package dockerd

import (
	"context"
	"slices"
	"strings"
	"time"

	"mctl/internal/agent/engine/program"
)

// maxReason bounds what is shown of dockerd's journal, in bytes.
const maxReason = 300

// place is where dockerd's journal ends now; empty when that can't be known.
func (d *Daemon) place(ctx context.Context) string {
	output, err := d.journal(ctx, "-n", "0", "--show-cursor")
	if err != nil {
		return ""
	}
	for line := range strings.Lines(output) {
		if cursor, found := strings.CutPrefix(strings.TrimSpace(line), "-- cursor: "); found {
			return cursor
		}
	}
	return ""
}

func (d *Daemon) journal(ctx context.Context, args ...string) (string, error) {
	limited, cancel := context.WithTimeout(ctx, systemdLimit)
	defer cancel()
	return program.Output(limited, d.config.Runner, append([]string{"journalctl", "-u", Unit, "--no-pager", "-o", "cat"}, args...)...)
}

// refusals are in what dockerd says when it does not take a configuration.
func refusals() []string {
	return []string{"econfiguring the daemon", "unable to configure the Docker daemon"}
}

// fatal are in what dockerd says when it does not start, best first.
func fatal() []string {
	return append(refusals(), "failed to start daemon", "unknown flag", "invalid argument", "failed to load listeners", "level=fatal", "level=error")
}

// words returns the last line after a place that holds the best of the needles; empty when there is none.
func (d *Daemon) words(ctx context.Context, place string, needles ...string) string {
	args := []string{"-n", "100"}
	if place != "" {
		args = append(args, "--after-cursor", place)
	}
	output, err := d.journal(ctx, args...)
	if err != nil {
		return ""
	}
	lines := strings.Split(output, "\n")
	slices.Reverse(lines)
	for _, needle := range needles {
		for _, line := range lines {
			if !strings.Contains(line, needle) {
				continue
			}
			if len(line) > maxReason {
				line = strings.ToValidUTF8(line[:maxReason], "") + "…"
			}
			return strings.TrimSpace(line)
		}
	}
	return ""
}

// reason finds dockerd's own words for a failure, which take a while into the journal; else the failure itself.
func (d *Daemon) reason(ctx context.Context, place string, otherwise error) string {
	limited, cancel := context.WithTimeout(ctx, journalDelay)
	defer cancel()
	ticker := time.NewTicker(journalCheck)
	defer ticker.Stop()
	for {
		if said := d.words(ctx, place, fatal()...); said != "" {
			return said
		}
		select {
		case <-limited.Done():
			if otherwise == nil {
				return "its journal does not say why"
			}
			return otherwise.Error()
		case <-ticker.C:
		}
	}
}
