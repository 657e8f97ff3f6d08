// Package figure says what the newest report of a host's health comes to, as people read it.
package figure

import (
	"fmt"
	"strconv"
	"time"

	controllerv1 "mctl/proto/mctl/controller/v1"
)

// Unknown stands where there is no report, or where it does not say.
const Unknown = "-"

// Share is a part of a whole, from 0 to 1; known is false where there is no whole.
type Share struct {
	Part  float64
	Total uint64 // bytes
	Known bool
}

// Memory is how much of its memory a host uses.
func Memory(h *controllerv1.Health) Share {
	return used(h.GetMemoryTotalBytes(), h.GetMemoryAvailableBytes())
}

// Disk is how much of its fullest file system a host uses.
func Disk(h *controllerv1.Health) Share {
	var fullest Share
	for _, d := range h.GetDisks() {
		if s := used(d.GetTotalBytes(), d.GetAvailableBytes()); s.Known && (!fullest.Known || s.Part > fullest.Part) {
			fullest = s
		}
	}
	return fullest
}

func used(total, available uint64) Share {
	if total == 0 {
		return Share{}
	}
	return Share{Part: 1 - float64(min(available, total))/float64(total), Total: total, Known: true}
}

// String is the share alone: 31%.
func (s Share) String() string {
	if !s.Known {
		return Unknown
	}
	return Percent(100 * s.Part)
}

// Of is the share and the whole: 31% of 4.1 GB.
func (s Share) Of() string {
	if !s.Known {
		return Unknown
	}
	return s.String() + " of " + Bytes(s.Total)
}

// CPU is how much of all its processors a host uses: 12%.
func CPU(h *controllerv1.Health) string {
	if h == nil {
		return Unknown
	}
	return Percent(h.GetCpuPercent())
}

// Percent is a number of hundredths without a fraction.
func Percent(p float64) string { return strconv.FormatFloat(p, 'f', 0, 64) + "%" }

// Containers is how many run, and how many of them badly: 3, or 3 (1 unhealthy).
func Containers(h *controllerv1.Health) string {
	switch {
	case h == nil || !h.GetEngineUp():
		return Unknown
	case h.GetContainersUnhealthy() > 0:
		return fmt.Sprintf("%d (%d unhealthy)", h.GetContainersRunning(), h.GetContainersUnhealthy())
	}
	return strconv.FormatUint(uint64(h.GetContainersRunning()), 10)
}

// Age is a time that has passed, in its largest unit: 5s, 3m, 2h, 41d. One that lies ahead, by a clock that goes wrong, is 0s.
func Age(d time.Duration) string {
	switch d = max(d, 0); {
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}

// AgeOf is how long ago a report came.
func AgeOf(h *controllerv1.Health, now time.Time) string {
	if h.GetTime() == nil {
		return Unknown
	}
	return Age(now.Sub(h.GetTime().AsTime()))
}

// Bytes is a size in powers of a thousand with two or three digits: 512 MB, 4.1 GB.
func Bytes(n uint64) string {
	units := []string{"B", "kB", "MB", "GB", "TB", "PB", "EB"}
	size, unit := float64(n), 0
	for ; size >= 999.5 && unit < len(units)-1; unit++ {
		size /= 1000
	}
	if size < 9.95 && unit > 0 {
		return fmt.Sprintf("%.1f %s", size, units[unit])
	}
	return fmt.Sprintf("%.0f %s", size, units[unit])
}
