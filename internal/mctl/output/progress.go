package output

import (
	"fmt"
	"io"
	"sync"
)

// Progress shows what is going on with one thing. Its methods may be called at any time, also by several at once.
type Progress interface {
	// Step says what is being done from now on.
	Step(line string)
	// Note says something that takes no time.
	Note(line string)
	// Done ends the last step, as err says: well, badly, or, with context.Canceled, left to itself. May be repeated.
	Done(err error)
}

// Lines prints each step and note as a line, for pipes and logs. Several things may share it.
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
	fmt.Fprintln(l.Out, Plain(line))
}

// Done implements Progress.
func (*Lines) Done(error) {}

// Silent shows nothing.
type Silent struct{}

// Step implements Progress.
func (Silent) Step(string) {}

// Note implements Progress.
func (Silent) Note(string) {}

// Done implements Progress.
func (Silent) Done(error) {}
