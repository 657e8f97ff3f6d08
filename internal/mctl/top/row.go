package top

import (
	"cmp"
	"slices"
	"time"

	"mctl/internal/mctl/figure"
	"mctl/internal/mctl/output"
	controllerv1 "mctl/proto/mctl/controller/v1"
)

// row is what is shown of a machine. It is never changed, only replaced, and holds no message: there may be ten thousand.
type row struct {
	name, state, trouble string
	connected            bool // else the figures are old
	reported             bool
	at                   time.Time // of the figures
	cpu                  float64   // percent
	memory, disk         figure.Share
	running              uint32
	containers           string
}

func rowOf(m *controllerv1.Machine) *row {
	status := m.GetStatus()
	h := status.GetHealth()
	r := &row{
		name: output.Line(m.GetName()), state: output.Line(status.GetState()), trouble: output.Line(status.GetError()),
		connected: status.GetLink().GetConnected(), reported: h != nil, cpu: h.GetCpuPercent(),
		memory: figure.Memory(h), disk: figure.Disk(h), running: h.GetContainersRunning(), containers: figure.Containers(h),
	}
	if h.GetTime() != nil {
		r.at = h.GetTime().AsTime()
	}
	return r
}

// column is something that rows are sorted by.
type column struct {
	name, title string // of the flag --sort, of the table
	letter      byte
	known       func(*row) bool // those of which it is not known come last
	compare     func(a, b *row) int
}

func columns() []column {
	live := func(r *row) bool { return r.connected && r.reported }
	return []column{
		{"name", "NAME", 'n', func(*row) bool { return true }, func(*row, *row) int { return 0 }}, // rows are in that order anyway
		{"cpu", "CPU", 'c', live, func(a, b *row) int { return cmp.Compare(b.cpu, a.cpu) }},
		{"memory", "MEMORY", 'm', live, func(a, b *row) int { return cmp.Compare(b.memory.Part, a.memory.Part) }},
		{"disk", "DISK", 'd', live, func(a, b *row) int { return cmp.Compare(b.disk.Part, a.disk.Part) }},
		{"containers", "CONTAINERS", 't', live, func(a, b *row) int { return cmp.Compare(b.running, a.running) }},
		{"age", "AGE", 'a', func(r *row) bool { return !r.at.IsZero() }, func(a, b *row) int { return a.at.Compare(b.at) }},
	}
}

// order is how rows are sorted: the largest first, or names from the first on, unless it is reversed.
type order struct {
	by       int // in columns
	reversed bool
}

// sort sorts rows that are in the order of their names.
func (o order) sort(rows []*row) {
	by := columns()[o.by]
	if o.reversed {
		slices.Reverse(rows)
	}
	slices.SortStableFunc(rows, func(a, b *row) int {
		switch known := by.known(a); {
		case known != by.known(b) && known:
			return -1
		case known != by.known(b):
			return 1
		case !known:
			return 0
		}
		if o.reversed {
			return by.compare(b, a)
		}
		return by.compare(a, b)
	})
}
