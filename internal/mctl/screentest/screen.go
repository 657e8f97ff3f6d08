// Package screentest is a terminal for tests: it takes what a program writes and tells what a user sees.
package screentest

import (
	"fmt"
	"strings"
	"sync"
	"unicode/utf8"

	"mctl/internal/mctl/output"
)

// Screen is a terminal. What it does not know is a complaint: a program may write only what all terminals understand. It is
// safe for use at the same time.
type Screen struct {
	mu            sync.Mutex
	width, height int
	cells         [][]string // of the screen in use; a wide character leaves "" in its second
	other         [][]string
	row, column   int
	rest          []byte // of an unfinished sequence or character
	alternate     bool
	hidden        bool
	noWrap        bool
	styled        bool
	complaints    []string
}

// New makes an empty one.
func New(width, height int) *Screen {
	s := &Screen{width: width, height: height}
	s.cells, s.other = s.blank(), s.blank()
	return s
}

// Resize empties it and gives it another size, as terminals may. Nothing is written between that and tell, which tells the program.
func (s *Screen) Resize(width, height int, tell func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer tell()
	s.width, s.height, s.row, s.column = width, height, 0, 0
	s.cells, s.other = s.blank(), s.blank()
}

func (s *Screen) blank() [][]string {
	cells := make([][]string, s.height)
	for i := range cells {
		cells[i] = strings.Split(strings.Repeat(" ", s.width), "")
	}
	return cells
}

// String is what is seen, in a frame.
func (s *Screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	edge := "+" + strings.Repeat("-", s.width) + "+\n"
	var picture strings.Builder
	picture.WriteString(edge)
	for _, line := range s.cells {
		picture.WriteString("|" + strings.Join(line, "") + "|\n")
	}
	return picture.String() + edge
}

// Restored says what a program that has ended left behind; empty when everything is as it was.
func (s *Screen) Restored() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var left []string
	for what, is := range map[string]bool{"the alternate screen": s.alternate, "no cursor": s.hidden, "no wrapping": s.noWrap, "a style": s.styled, "half a sequence": len(s.rest) > 0} {
		if is {
			left = append(left, what)
		}
	}
	return strings.Join(append(left, s.complaints...), ", ")
}

// Write implements io.Writer.
func (s *Screen) Write(text []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rest = append(s.rest, text...)
	for len(s.rest) > 0 {
		taken := s.take(s.rest)
		if taken == 0 {
			break
		}
		s.rest = s.rest[taken:]
	}
	return len(text), nil
}

// take does what the first character or sequence says; zero when it is not whole.
func (s *Screen) take(text []byte) int {
	switch c := text[0]; {
	case c == 0x1b:
		return s.escape(text)
	case c == '\r':
		s.column = 0
		return 1
	case c == '\n':
		s.row = min(s.row+1, s.height-1)
		return 1
	case c < ' ' || c == 0x7f:
		s.complain(text[:1])
		return 1
	case !utf8.FullRune(text):
		return 0
	}
	r, size := utf8.DecodeRune(text)
	s.put(string(r))
	return size
}

func (s *Screen) put(text string) {
	switch wide := output.Width(text); {
	case wide == 0 && s.column > 0:
		s.cells[s.row][s.column-1] += text
	case s.column+wide > s.width: // a program that counts columns never gets here
		s.complain([]byte(fmt.Sprintf("%s in column %d", text, s.column+1)))
	default:
		s.cells[s.row][s.column] = text
		for i := 1; i < wide; i++ {
			s.cells[s.row][s.column+i] = ""
		}
		s.column += wide
	}
}

func (s *Screen) complain(text []byte) { s.complaints = append(s.complaints, fmt.Sprintf("%q", text)) }

// escape does what ESC [ … says.
func (s *Screen) escape(text []byte) int {
	end := 2
	for end < len(text) && (text[end] < '@' || text[end] > '~') {
		end++
	}
	if end >= len(text) {
		return 0
	}
	parameters := string(text[2:end])
	var row, column int
	switch final := text[end]; {
	case text[1] != '[':
		s.complain(text[:end+1])
	case final == 'm':
		s.styled = parameters != "0"
	case final == 'H':
		if _, err := fmt.Sscanf(parameters, "%d;%d", &row, &column); err != nil || row < 1 || row > s.height || column < 1 || column > s.width {
			s.complain(text[:end+1])
			break
		}
		s.row, s.column = row-1, column-1
	case final == 'J' && parameters == "2":
		s.cells = s.blank()
	case final == 'K' && parameters == "2":
		s.cells[s.row] = s.blank()[s.row]
	case final == 'h' || final == 'l':
		s.mode(parameters, final == 'h', text[:end+1])
	default:
		s.complain(text[:end+1])
	}
	return end + 1
}

func (s *Screen) mode(name string, on bool, text []byte) {
	switch name {
	case "?1049":
		if s.alternate != on {
			s.cells, s.other = s.other, s.cells
		}
		s.alternate = on
	case "?25":
		s.hidden = !on
	case "?7":
		s.noWrap = !on
	default:
		s.complain(text)
	}
}
