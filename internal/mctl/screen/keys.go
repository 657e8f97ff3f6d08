package screen

import "io"

// Key is what somebody pressed: a letter, a control character, or one of those below.
type Key int

// Keys that send a sequence.
const (
	Up Key = 0x100 + iota
	Down
	Left
	Right
	PageUp
	PageDown
	Home
	End
)

// Keys that are signals, or commands, on other terminals.
const (
	Interrupt Key = 0x03
	Suspend   Key = 0x1a
	Redraw    Key = 0x0c
)

// ReadKeys sends what is pressed until the reader ends, or nobody wants it any more.
func ReadKeys(in io.Reader, keys chan<- Key, done <-chan struct{}) {
	var p parser
	buffer := make([]byte, 64)
	for {
		n, err := in.Read(buffer)
		for _, b := range buffer[:n] {
			k, ok := p.take(b)
			if !ok {
				continue
			}
			select {
			case keys <- k:
			case <-done:
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// parser puts the bytes of a key together: ESC [ or ESC O, parameters, and a last byte that says which.
type parser struct {
	state     byte // what the present sequence began with; zero outside of one
	parameter byte // its first
}

func (p *parser) take(b byte) (Key, bool) {
	const escape = 0x1b
	switch {
	case b == escape:
		*p = parser{state: escape}
		return 0, false
	case p.state == 0:
		return Key(b), b < 0x80
	case p.state == escape && (b == '[' || b == 'O'):
		p.state = b
		return 0, false
	case p.state == escape: // Alt and a letter
		*p = parser{}
		return 0, false
	case b >= '0' && b <= '?': // parameters
		if p.parameter == 0 {
			p.parameter = b
		}
		return 0, false
	}
	parameter := p.parameter
	*p = parser{}
	if b == '~' {
		k, ok := map[byte]Key{'1': Home, '4': End, '5': PageUp, '6': PageDown, '7': Home, '8': End}[parameter]
		return k, ok
	}
	k, ok := map[byte]Key{'A': Up, 'B': Down, 'C': Right, 'D': Left, 'H': Home, 'F': End}[b]
	return k, ok
}
