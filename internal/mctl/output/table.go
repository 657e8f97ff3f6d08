// Package output writes what commands have to say: tables, templates, JSON documents and progress.
package output

import (
	"bytes"
	"io"
	"strings"
	"text/tabwriter"
)

// tabWriter aligns columns as docker-machine did.
func tabWriter(out io.Writer) *tabwriter.Writer { return tabwriter.NewWriter(out, 5, 1, 3, ' ', 0) }

// Table writes a header and rows in aligned columns. A row has as many cells as the header; each cell is one line.
func Table(out io.Writer, header []string, rows [][]string) error {
	var text bytes.Buffer
	w := tabWriter(&text)
	for _, row := range append([][]string{header}, rows...) {
		for i, cell := range row {
			if strings.ContainsAny(cell, "\t\n") || !isPlain(cell) {
				row[i] = Line(cell)
			}
		}
		if _, err := io.WriteString(w, strings.Join(row, "\t")+"\n"); err != nil {
			return err
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	_, err := out.Write(text.Bytes())
	return err
}
