package output

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	// frameTime is how long one picture of the spinners stands.
	frameTime = 120 * time.Millisecond
	// maxLive bounds the lines that are redrawn: they must fit on the smallest terminal.
	maxLive = 8
	// MinBoard is how many columns a board needs: a line that wraps can't be redrawn.
	MinBoard = 20
)

// Board redraws at the bottom of a terminal what each of several things is doing, with the time that it takes, and leaves
// a line behind for each step that ended.
type Board struct {
	out   io.Writer
	now   func() time.Time
	width int

	mu    sync.Mutex
	live  []*track // those with a step under way, the oldest first
	drawn int      // lines on the screen that are redrawn
	frame int
	stop  chan struct{} // ends the redrawing; nil while nothing is under way
}

// NewBoard makes a board for a terminal of a width in columns, MinBoard at least.
func NewBoard(out io.Writer, now func() time.Time, width int) *Board {
	return &Board{out: out, now: now, width: max(width, MinBoard)}
}

// Track is the place of one thing on the board. Its Done must be called in the end.
func (b *Board) Track() Progress { return &track{board: b} }

type track struct {
	board *Board
	line  string // the present step; empty for none
	began time.Time
}

// Step implements Progress.
func (t *track) Step(line string) {
	b := t.board
	b.mu.Lock()
	defer b.mu.Unlock()
	line = Line(line)
	if line == t.line {
		return
	}
	left := b.end(t, "✓")
	t.line, t.began = line, b.now()
	b.live = append(b.live, t)
	b.draw(left)
	if b.stop == nil {
		b.stop = make(chan struct{})
		go b.spin(b.stop)
	}
}

// Note implements Progress.
func (t *track) Note(line string) {
	t.board.mu.Lock()
	defer t.board.mu.Unlock()
	t.board.draw(Plain(line) + "\n")
}

// Done implements Progress.
func (t *track) Done(err error) {
	b := t.board
	b.mu.Lock()
	defer b.mu.Unlock()
	mark := "✓"
	switch {
	case errors.Is(err, context.Canceled):
		mark = "…"
	case err != nil:
		mark = "✗"
	}
	if left := b.end(t, mark); left != "" {
		b.draw(left)
	}
	if len(b.live) == 0 && b.stop != nil {
		close(b.stop)
		b.stop = nil
	}
}

// end takes a step off the board and returns the line that it leaves behind, if there was one. b.mu is held.
func (b *Board) end(t *track, mark string) string {
	if t.line == "" {
		return ""
	}
	left := b.picture(t, mark) + "\n"
	b.live = slices.DeleteFunc(b.live, func(other *track) bool { return other == t })
	t.line = ""
	return left
}

func (b *Board) spin(stop chan struct{}) {
	tick := time.NewTicker(frameTime)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
			b.mu.Lock()
			if b.stop == stop {
				b.frame++
				b.draw("")
			}
			b.mu.Unlock()
		}
	}
}

// draw replaces what is redrawn, with left above it for good. It is one write, so that nothing flickers. b.mu is held.
func (b *Board) draw(left string) {
	var text strings.Builder
	if b.drawn > 1 {
		fmt.Fprintf(&text, "\x1b[%dA", b.drawn-1)
	}
	if b.drawn > 0 {
		text.WriteString("\r\x1b[J")
	}
	text.WriteString(left)
	frames := []rune("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏")
	var lines []string
	for i, t := range b.live {
		if i == maxLive-1 && len(b.live) > maxLive {
			lines = append(lines, fmt.Sprintf("  … and %d more", len(b.live)-i))
			break
		}
		lines = append(lines, b.picture(t, string(frames[b.frame%len(frames)])))
	}
	text.WriteString(strings.Join(lines, "\n"))
	b.drawn = len(lines)
	_, _ = io.WriteString(b.out, text.String())
}

// picture is a step on one line, the time at its end.
func (b *Board) picture(t *track, mark string) string {
	elapsed := " " + Elapsed(b.now().Sub(t.began))
	line := []rune(t.line)
	if room := b.width - len(elapsed) - 3; len(line) > room {
		line = append(line[:max(room-1, 0)], '…')
	}
	return mark + " " + string(line) + elapsed
}

// Elapsed is a time as people read it at a glance: 0.4s, 59.9s, 1m03s, 2h05m.
func Elapsed(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%.1fs", d.Truncate(100*time.Millisecond).Seconds())
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	}
	return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
}
