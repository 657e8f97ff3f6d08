// Package output writes what commands have to say: tables, templates, JSON documents and progress.
package output

import (
	"bufio"
	"io"
	"iter"
	"strings"
	"text/tabwriter"
)

// tabWriter aligns columns as docker-machine did.
func tabWriter(out io.Writer) *tabwriter.Writer { return tabwriter.NewWriter(out, 5, 1, 3, ' ', 0) }

// Table writes a header and rows in aligned columns. A row has as many cells as the header; each cell is one line.
func Table(out io.Writer, header []string, rows [][]string) error {
	return Columns(out, func(yield func(string) bool) {
		for _, row := range append([][]string{header}, rows...) {
			for i, cell := range row {
				row[i] = Line(cell)
			}
			if !yield(strings.Join(row, "\t")) {
				return
			}
		}
	})
}

// Columns writes rows in aligned columns. The cells of a row have tabs between them.
func Columns(out io.Writer, rows iter.Seq[string]) error {
	text := bufio.NewWriter(out)
	w := tabWriter(text)
	for row := range rows {
		if _, err := io.WriteString(w, row+"\n"); err != nil {
			return err
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return text.Flush()
}

// Rows writes rows as they are, each on its line.
func Rows(out io.Writer, rows iter.Seq[string]) error {
	text := bufio.NewWriter(out)
	for row := range rows {
		if _, err := text.WriteString(row + "\n"); err != nil {
			return err
		}
	}
	return text.Flush()
}
