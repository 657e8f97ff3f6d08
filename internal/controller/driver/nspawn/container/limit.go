//go:build linux

package container

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"mctl/internal/fault"
)

// limit is one bound on a host.
type limit struct {
	what     string
	optional bool        // kernels need not account for it
	knobs    [][2]string // file in the cgroup and what belongs in it, for version 2 and version 1
}

// limits are what a host is bound by. The swap's comes after the memory's, since on version 1 it includes that.
func (b Boot) limits() []limit {
	var all []limit
	if b.Memory > 0 {
		value := strconv.FormatInt(b.Memory, 10)
		all = append(all,
			limit{what: "memory", knobs: [][2]string{{"memory.max", value}, {"memory.limit_in_bytes", value}}},
			limit{what: "swap", optional: true, knobs: [][2]string{{"memory.swap.max", "0"}, {"memory.memsw.limit_in_bytes", value}}},
		)
	}
	if b.CPUs > 0 {
		quota := strconv.Itoa(int(math.Round(b.CPUs * cpuPeriod)))
		all = append(all, limit{what: "cpu", knobs: [][2]string{{"cpu.max", fmt.Sprintf("%s %d", quota, cpuPeriod)}, {"cpu.cfs_quota_us", quota}}})
	}
	return all
}

// bites reports whether one of the cgroups of a host has the limit.
func (l limit) bites(dirs []string) bool {
	for _, dir := range dirs {
		for _, knob := range l.knobs {
			content, err := os.ReadFile(filepath.Join(dir, knob[0]))
			if err != nil {
				continue
			}
			now, err := strconv.ParseInt(first(string(content)), 10, 64) // "max" is no number
			want, _ := strconv.ParseInt(first(knob[1]), 10, 64)
			return err == nil && now > 0 && now <= want // the kernel rounds down
		}
	}
	return false
}

func first(text string) string {
	word, _, _ := strings.Cut(strings.TrimSpace(text), " ")
	return word
}

func (l limit) impossible() error {
	return fault.E("container.limit", fault.Precondition, l.what, fmt.Errorf("this computer cannot limit %s: the cgroup controller is missing", l.what)).
		WithHint("leave the limit out, or enable the controller in the kernel")
}
