package cli

import (
	"os"

	"golang.org/x/term"
)

// terminalWidth is the width of the terminal behind a file in columns; zero where there is none.
func terminalWidth(file *os.File) int {
	fd := int(file.Fd())
	if !term.IsTerminal(fd) {
		return 0
	}
	width, _, err := term.GetSize(fd)
	if err != nil || width <= 0 {
		return 80
	}
	return width
}
