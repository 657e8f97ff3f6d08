// Package system reads what the kernel says of a host: processors, memory, file systems.
package system

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"mctl/internal/host"
)

// userHZ is the unit of times in /proc; Linux shows 100 everywhere.
const userHZ = 100

// Ticks are the processors' times since boot, or a container's share of them.
type Ticks struct{ busy, total uint64 }

// PercentSince is the share of busy time, of all processors together.
func (t Ticks) PercentSince(before Ticks) float64 {
	// Ticks can run backwards a little, as idle time is corrected afterwards.
	if t.total <= before.total || t.busy < before.busy {
		return 0
	}
	return min(100, 100*float64(t.busy-before.busy)/float64(t.total-before.total))
}

// Root is in front of every path; empty but in tests.
type Root string

// Read returns processors, load, memory, disks and boot time. The share of busy time is the caller's to compute. Nothing
// waits: file systems over a network are left out.
func (r Root) Read() (host.Health, Ticks, error) {
	var h host.Health
	var cpu Ticks
	var booted int64
	err := r.lines("/proc/stat", func(fields []string) error {
		switch fields[0] {
		case "cpu":
			for i, field := range fields[1:min(len(fields), 9)] { // guest times are in user time already
				n, err := strconv.ParseUint(field, 10, 64)
				if err != nil {
					return err
				}
				cpu.total += n
				if i != 3 && i != 4 { // idle, waiting for disks
					cpu.busy += n
				}
			}
		case "btime":
			n, err := strconv.ParseInt(second(fields), 10, 64)
			booted = n
			return err
		}
		return nil
	})
	if err == nil {
		err = r.lines("/proc/loadavg", func(fields []string) (err error) {
			h.Load1, err = strconv.ParseFloat(fields[0], 64)
			return err
		})
	}
	if err == nil {
		err = r.lines("/proc/meminfo", func(fields []string) (err error) {
			switch fields[0] {
			case "MemTotal:":
				h.MemoryTotal, err = kilobytes(fields)
			case "MemAvailable:":
				h.MemoryAvailable, err = kilobytes(fields)
			}
			return err
		})
	}
	r.ofContainer(&h, &cpu)
	h.Disks = r.disks()
	h.BootTime = time.Unix(booted, 0).Add(r.firstProcess())
	return h, cpu, err
}

// firstProcess is how long after the kernel's boot process 1 began: nothing on a machine, more where the host is a
// container on one.
func (r Root) firstProcess() time.Duration {
	content, err := os.ReadFile(filepath.Join(string(r), "/proc/1/stat"))
	if err != nil {
		return 0
	}
	// The name in parentheses may hold blanks.
	fields := strings.Fields(string(content[strings.LastIndexByte(string(content), ')')+1:]))
	if len(fields) < 20 {
		return 0
	}
	ticks, err := strconv.ParseInt(fields[19], 10, 64)
	if err != nil {
		return 0
	}
	return time.Duration(ticks) * time.Second / userHZ
}

// lines hands on the fields of each line that has any.
func (r Root) lines(path string, each func(fields []string) error) error {
	file, err := os.Open(filepath.Join(string(r), path))
	if err != nil {
		return err
	}
	defer file.Close()
	scanner := bufio.NewScanner(file)
	// The line of interrupts in /proc/stat is long on large machines.
	scanner.Buffer(make([]byte, 0, 4096), 1<<20)
	for scanner.Scan() {
		if fields := strings.Fields(scanner.Text()); len(fields) > 0 {
			if err := each(fields); err != nil {
				return fmt.Errorf("%s: %w", path, err)
			}
		}
	}
	return scanner.Err()
}

func kilobytes(fields []string) (uint64, error) {
	n, err := strconv.ParseUint(second(fields), 10, 64)
	return n * 1024, err
}

func second(fields []string) string {
	if len(fields) < 2 {
		return ""
	}
	return fields[1]
}
