package top

import (
	"fmt"
	"testing"
	"time"

	"mctl/internal/mctl/output"
	controllerv1 "mctl/proto/mctl/controller/v1"
)

func TestRowsStayByNameHoweverTheyCome(t *testing.T) {
	var rows []*row
	for _, name := range []string{"web10", "web2", "web02", "a", "Web2", "web2", "z"} {
		rows = place(rows, &row{name: name})
	}
	rows = remove(remove(rows, "a"), "nosuch")
	var got string
	for _, r := range rows {
		got += r.name + " "
	}
	if got != "Web2 web02 web2 web10 z " {
		t.Errorf("%q", got)
	}
}

func TestNoPictureIsWiderOrHigherThanTheTerminal(t *testing.T) {
	rows := []*row{{name: "a-name-that-is-longer-than-any-column-has-room-for.example.com", state: "Running", trouble: "世界世界世界世界世界世界世界世界世界世界", connected: true, containers: "1 (1 unhealthy)"}, {name: "b", trouble: "x"}}
	for width := range 130 {
		for height := range 8 {
			v := view{width: width, height: height, order: order{by: 1}}
			lines := v.lines(rows, true, nil)
			if len(lines) > height {
				t.Fatalf("%d lines at %dx%d", len(lines), width, height)
			}
			for _, line := range lines {
				for _, style := range []string{inverse, dim, plain} {
					line = trim(line, style)
				}
				if output.Width(line) != width {
					t.Fatalf("%q at %dx%d is %d wide", line, width, height, output.Width(line))
				}
			}
		}
	}
}

func trim(line, style string) string {
	for i := 0; i+len(style) <= len(line); {
		if line[i:i+len(style)] == style {
			line = line[:i] + line[i+len(style):]
			continue
		}
		i++
	}
	return line
}

// BenchmarkTenThousand is a report of each of ten thousand machines and a picture: what five seconds bring, but for four more
// pictures a second.
func BenchmarkTenThousand(b *testing.B) {
	f := newFleet(nil, nil)
	machines := make([]*controllerv1.Machine, 10_000)
	for i := range machines {
		machines[i] = &controllerv1.Machine{Name: fmt.Sprintf("machine-%d", i), Status: &controllerv1.MachineStatus{
			State: "Running", Link: &controllerv1.LinkStatus{Connected: true}, Health: &controllerv1.Health{CpuPercent: float64(i % 7), MemoryTotalBytes: 1000, EngineUp: true},
		}}
	}
	var rows []*row
	v := view{width: 80, height: 24, order: order{by: 1}, now: time.Now()}
	b.ReportAllocs()
	b.Run("reports", func(b *testing.B) {
		for b.Loop() {
			for _, m := range machines {
				f.update(func() { f.rows = place(f.rows, rowOf(m)) })
			}
		}
	})
	b.Run("picture", func(b *testing.B) {
		for b.Loop() {
			rows, _, _ = f.shown(rows, v.order)
			v.lines(rows, true, nil)
		}
	})
}
