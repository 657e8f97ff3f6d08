// Package screen is a terminal while a command has all of it: the screen, and the keyboard where there is one.
package screen

import (
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"

	"mctl/internal/fault"
)

// What a terminal is told. A screen of its own leaves the user's as it was; without wrapping nothing scrolls.
const (
	enter = "\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J"
	leave = "\x1b[?7h\x1b[?25h\x1b[?1049l"
)

// Screen is a terminal. Leave must be called in the end, and one goroutine uses it at a time.
type Screen struct {
	Out      *os.File
	Keyboard *os.File // nil where keys come from elsewhere, or nowhere

	before  *term.State
	entered bool
	drawn   []string // what the screen shows
}

// Enter takes the screen and the keys, each as it comes. May be repeated: somebody may have changed their modes.
func (s *Screen) Enter() error {
	if s.Keyboard != nil {
		before, err := term.MakeRaw(int(s.Keyboard.Fd()))
		if err != nil {
			return fault.E("screen.Enter", fault.Internal, "", err)
		}
		if s.before == nil {
			s.before = before
		}
	}
	s.entered = true
	return s.write(enter)
}

// Leave gives everything back as it was. May be repeated.
func (s *Screen) Leave() {
	if s.entered {
		_ = s.write(leave)
	}
	if s.before != nil {
		_ = term.Restore(int(s.Keyboard.Fd()), s.before)
	}
	s.entered, s.before, s.drawn = false, nil, nil
}

// Size is the screen's, in columns and rows; that of the first terminals where it has never been said.
func (s *Screen) Size() (width, height int) {
	width, height, err := term.GetSize(int(s.Out.Fd()))
	if err != nil || width <= 0 || height <= 0 {
		return 80, 24
	}
	return width, height
}

// Forget has the next picture drawn whole.
func (s *Screen) Forget() { s.drawn = nil }

// Entered reports whether the terminal is ours.
func (s *Screen) Entered() bool { return s.entered }

// Draw writes the lines that are not there yet, at once.
func (s *Screen) Draw(lines []string) error {
	var text strings.Builder
	if s.drawn == nil {
		text.WriteString("\x1b[2J")
	}
	for i := range max(len(lines), len(s.drawn)) {
		line, was := "", ""
		if i < len(lines) {
			line = lines[i]
		}
		if i < len(s.drawn) {
			was = s.drawn[i]
		}
		if line != was {
			fmt.Fprintf(&text, "\x1b[%d;1H\x1b[2K%s", i+1, line)
		}
	}
	s.drawn = append(make([]string, 0, len(lines)), lines...)
	if text.Len() == 0 {
		return nil
	}
	return s.write(text.String())
}

func (s *Screen) write(text string) error {
	_, err := io.WriteString(s.Out, text)
	return err
}
