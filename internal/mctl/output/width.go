package output

import (
	"strings"
	"unicode"

	"golang.org/x/text/width"
)

// Width is how many columns of a terminal a plain line takes.
func Width(line string) int {
	columns := 0
	for _, r := range line {
		columns += columnsOf(r)
	}
	return columns
}

// Fit cuts or fills a plain line to a number of columns. A cut shows as an ellipsis.
func Fit(line string, columns int) string {
	if columns <= 0 {
		return ""
	}
	taken := Width(line)
	if taken <= columns {
		return line + strings.Repeat(" ", columns-taken)
	}
	taken = 0
	for i, r := range line {
		if taken+columnsOf(r) > columns-1 {
			return line[:i] + "…" + strings.Repeat(" ", columns-1-taken)
		}
		taken += columnsOf(r)
	}
	return line
}

func columnsOf(r rune) int {
	switch {
	case r < 0x7f:
		return 1
	case unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf):
		return 0
	}
	switch width.LookupRune(r).Kind() {
	case width.EastAsianWide, width.EastAsianFullwidth:
		return 2
	case width.Neutral, width.EastAsianAmbiguous, width.EastAsianNarrow, width.EastAsianHalfwidth:
	}
	return 1
}
