package host

import (
	"strings"
	"unicode"
)

// MaxLine is how many bytes a line of a host's has at most.
const MaxLine = 1000

// Line makes a text from a host, which may be hostile, fit for one line of a log or a terminal.
func Line(text string) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) {
			return ' '
		}
		return r
	}, text[:min(len(text), MaxLine)])
	return strings.ToValidUTF8(text, "?")
}
