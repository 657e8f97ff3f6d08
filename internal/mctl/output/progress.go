package output

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// Progress shows what is going on. Its methods may be called at any time, also by several at once.
type Progress interface {
	// Step says what is being done from now on.
	Step(line string)
	// Note says something that takes no time.
	Note(line string)
	// Done ends the last step; ok says how. May be repeated.
	Done(ok bool)
}

// Lines prints each step and note as a line, for pipes and logs.
type Lines struct {
	mu  sync.Mutex
	Out io.Writer
}

// Step implements Progress.
func (l *Lines) Step(line string) { l.Note(line) }

// Note implements Progress.
func (l *Lines) Note(line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	fmt.Fprintln(l.Out, line)
}

// Done implements Progress.
func (*Lines) Done(bool) {}

// Silent shows nothing.
type Silent struct{}

// Step implements Progress.
func (Silent) Step(string) {}

// Note implements Progress.
func (Silent) Note(string) {}

// Done implements Progress.
func (Silent) Done(bool) {}

// frameTime is how long one picture of the spinner stands.
const frameTime = 120 * time.Millisecond

// Spinner redraws the present step on a terminal with the time that it takes, and leaves a line behind for each one.
type Spinner struct {
	out   io.Writer
	now   func() time.Time
	width int

	mu    sync.Mutex
	line  string // the present step; empty for none
	began time.Time
	frame int
	stop  chan struct{}
}

// NewSpinner makes a spinner for a terminal of a width in columns. Done must be called at the end.
func NewSpinner(out io.Writer, now func() time.Time, width int) *Spinner {
	return &Spinner{out: out, now: now, width: max(width, 20)}
}

// Step implements Progress.
func (s *Spinner) Step(line string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if line == s.line {
		return
	}
	s.finish("✓")
	s.line, s.began = line, s.now()
	s.draw()
	if s.stop == nil {
		s.stop = make(chan struct{})
		go s.spin(s.stop)
	}
}

// Note implements Progress.
func (s *Spinner) Note(line string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clear()
	fmt.Fprintln(s.out, line)
	s.draw()
}

// Done implements Progress.
func (s *Spinner) Done(ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	mark := "✓"
	if !ok {
		mark = "✗"
	}
	s.finish(mark)
	if s.stop != nil {
		close(s.stop)
		s.stop = nil
	}
}

func (s *Spinner) spin(stop chan struct{}) {
	tick := time.NewTicker(frameTime)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
			s.mu.Lock()
			s.frame++
			if s.stop == stop {
				s.draw()
			}
			s.mu.Unlock()
		}
	}
}

func (s *Spinner) draw() {
	if s.line == "" {
		return
	}
	frames := []rune("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏")
	s.print(string(frames[s.frame%len(frames)]))
}

func (s *Spinner) finish(mark string) {
	if s.line == "" {
		return
	}
	s.print(mark)
	fmt.Fprintln(s.out)
	s.line = ""
}

func (s *Spinner) print(mark string) {
	elapsed := fmt.Sprintf(" %.1fs", s.now().Sub(s.began).Seconds())
	line := []rune(s.line)
	if room := s.width - len(elapsed) - 3; len(line) > room {
		line = append(line[:room-1], '…')
	}
	fmt.Fprintf(s.out, "\r\x1b[K%s %s%s", mark, string(line), elapsed)
}

func (s *Spinner) clear() {
	if s.line != "" {
		fmt.Fprint(s.out, "\r\x1b[K")
	}
}
