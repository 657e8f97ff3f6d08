package output

import (
	"strings"
	"unicode"
)

// Plain makes text fit for a terminal: what hosts, clouds and other users wrote must not move the cursor, set the title or
// hide what follows. Lines and tabs stay.
func Plain(text string) string {
	if isPlain(text) {
		return text
	}
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return r
		case steers(r):
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
}

// steers reports whether a terminal does something else with a rune than to show it. No such rune is beyond U+FFFF.
func steers(r rune) bool { return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) }

// Line is Plain on one line, with single spaces.
func Line(text string) string {
	if isPlain(text) && !strings.ContainsAny(text, " \t\n") {
		return text
	}
	return strings.Join(strings.Fields(Plain(text)), " ")
}

// isPlain spares what is nearly always the case the walk over its runes.
func isPlain(text string) bool {
	for i := range len(text) {
		if c := text[i]; (c < ' ' && c != '\n' && c != '\t') || c > '~' {
			return false
		}
	}
	return true
}
