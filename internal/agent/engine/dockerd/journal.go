package dockerd

import (
	"context"
	"regexp"
	"slices"
	"strconv"
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

// words returns what the last line after a place says that holds the best of the needles; empty when there is none.
func (d *Daemon) words(ctx context.Context, place string, needles ...string) string {
	lines := d.said(ctx, place)
	for _, needle := range needles {
		for _, line := range lines {
			if strings.Contains(line, needle) {
				return message(line)
			}
		}
	}
	return ""
}

// last is what dockerd itself said last after a place, but for notices; empty when there is nothing.
func (d *Daemon) last(ctx context.Context, place string) string {
	for _, line := range d.said(ctx, place, "_TRANSPORT=stdout") {
		if line = strings.TrimSpace(line); line != "" && !notice.MatchString(line) {
			return message(line)
		}
	}
	return ""
}

// notice is a line that is no complaint.
var notice = regexp.MustCompile(`\blevel=(debug|info|warning)\b`)

// said are the journal's lines after a place, the last one first.
func (d *Daemon) said(ctx context.Context, place string, matches ...string) []string {
	args := append([]string{"-n", "100"}, matches...)
	if place != "" {
		args = append(args, "--after-cursor", place)
	}
	output, err := d.journal(ctx, args...)
	if err != nil {
		return nil
	}
	lines := strings.Split(output, "\n")
	slices.Reverse(lines)
	return lines
}

// logged is the message of a line as dockerd's logger writes it, a quoted text.
var logged = regexp.MustCompile(`\bmsg=("(?:[^"\\]|\\.)*")`)

// message is what a line says to people, of bounded length.
func message(line string) string {
	if match := logged.FindStringSubmatch(line); match != nil {
		if text, err := strconv.Unquote(match[1]); err == nil {
			line = text
		}
	}
	if len(line) > maxReason {
		line = strings.ToValidUTF8(line[:maxReason], "") + "…"
	}
	return strings.TrimSpace(line)
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
			if said := d.last(ctx, place); said != "" {
				return said
			}
			if otherwise == nil {
				return "its journal does not say why"
			}
			return otherwise.Error()
		case <-ticker.C:
		}
	}
}
