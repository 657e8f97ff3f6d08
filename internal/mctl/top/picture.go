package top

import (
	"fmt"
	"strings"
	"time"

	"mctl/internal/mctl/figure"
	"mctl/internal/mctl/output"
)

// wide is from how many columns on memory and disk also say of how much.
const wide = 110

const (
	inverse = "\x1b[7m"
	dim     = "\x1b[2m"
	plain   = "\x1b[0m"
)

const help = "q quit  ←→ sort  r reverse  ↑↓ scroll"

// view is what the picture shows, besides the fleet.
type view struct {
	order         order
	offset        int // rows scrolled past
	width, height int
	now           time.Time
}

// cell is one column of the picture.
type cell struct {
	title  string
	width  int // zero for as much as is there
	weight int // those of the least weight go first where there is no room
	text   func(*row) string
}

// cells are the columns for a width.
func (v view) cells(rows []*row) []cell {
	share := func(s figure.Share) string {
		if v.width >= wide {
			return s.Of()
		}
		return s.String()
	}
	size, containers := 7, 11
	if v.width >= wide {
		size, containers = 14, 16
	}
	name := len("NAME") + 1
	for _, r := range rows {
		name = max(name, output.Width(r.name))
	}
	all := []cell{
		{"NAME", min(name, 28), 9, func(r *row) string { return r.name }},
		{"STATE", 8, 3, func(r *row) string { return r.state }},
		{"CPU", 5, 8, func(r *row) string {
			if !r.reported {
				return figure.Unknown
			}
			return figure.Percent(r.cpu)
		}},
		{"MEMORY", size, 7, func(r *row) string { return share(r.memory) }},
		{"DISK", size, 6, func(r *row) string { return share(r.disk) }},
		{"CONTAINERS", containers, 5, func(r *row) string { return r.containers }},
		{"AGE", 4, 4, func(r *row) string {
			if r.at.IsZero() {
				return figure.Unknown
			}
			return figure.Age(v.now.Sub(r.at))
		}},
		{"ERRORS", 0, 2, func(r *row) string { return r.trouble }},
	}
	return v.narrowed(all)
}

const (
	gap        = 2
	leastError = 10 // columns below which errors are no help
)

// narrowed leaves out what there is no room for. A name alone is cut instead.
func (v view) narrowed(cells []cell) []cell {
	for len(cells) > 1 {
		taken, least := -gap, 0
		for i, c := range cells {
			taken += gap + c.width
			if c.width == 0 {
				taken += leastError
			}
			if c.weight < cells[least].weight {
				least = i
			}
		}
		if taken <= v.width {
			break
		}
		cells = append(cells[:least:least], cells[least+1:]...)
	}
	return cells
}

// body is how many rows have a place.
func (v view) body() int {
	rows := v.height - 2
	if v.height >= 6 {
		rows-- // for the help
	}
	return max(rows, 0)
}

// lines is the picture, a line each; none is wider than the terminal, and there are no more than it has.
func (v view) lines(rows []*row, synced bool, broken error) []string {
	if v.width <= 0 || v.height <= 0 {
		return nil
	}
	lines := []string{output.Fit(summary(rows, synced, broken), v.width)}
	shown := rows[min(v.offset, len(rows)):min(v.offset+v.body(), len(rows))]
	cells := v.cells(rows)
	lines = append(lines, inverse+output.Fit(v.header(cells), v.width)+plain)
	for _, r := range shown {
		line := output.Fit(v.line(cells, func(c cell) string { return c.text(r) }), v.width)
		if !r.connected {
			line = dim + line + plain
		}
		lines = append(lines, line)
	}
	if len(rows) == 0 && synced && v.body() > 0 {
		lines = append(lines, output.Fit("No machines. `mctl create` makes one.", v.width))
	}
	if v.height >= 6 {
		for len(lines) < v.height-1 {
			lines = append(lines, output.Fit("", v.width))
		}
		lines = append(lines, dim+output.Fit(help, v.width)+plain)
	}
	return lines[:min(len(lines), v.height)]
}

func (v view) header(cells []cell) string {
	by := columns()[v.order.by]
	return v.line(cells, func(c cell) string {
		switch {
		case c.title != by.title:
			return c.title
		case v.order.reversed != (by.name == "name"): // the least on top
			return c.title + "↑"
		}
		return c.title + "↓"
	})
}

func (v view) line(cells []cell, text func(cell) string) string {
	var line strings.Builder
	for i, c := range cells {
		if i > 0 {
			line.WriteString(strings.Repeat(" ", gap))
		}
		if c.width == 0 {
			line.WriteString(text(c))
			continue
		}
		line.WriteString(output.Fit(text(c), c.width))
	}
	return line.String()
}

func summary(rows []*row, synced bool, broken error) string {
	if broken != nil {
		return "trying again: " + output.Line(broken.Error())
	}
	if !synced {
		return "waiting for the controller …"
	}
	connected, troubled := 0, 0
	for _, r := range rows {
		if r.connected {
			connected++
		}
		if r.trouble != "" {
			troubled++
		}
	}
	machines := "machines"
	if len(rows) == 1 {
		machines = "machine"
	}
	text := fmt.Sprintf("%d %s, %d connected", len(rows), machines, connected)
	if troubled > 0 {
		text += fmt.Sprintf(", %d with errors", troubled)
	}
	return text
}
