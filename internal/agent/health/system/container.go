package system

import (
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"mctl/internal/host"
)

// groups is where the kernel counts what belongs to a host that is a container. Version 2 has all in this folder, version 1
// one below it for each kind.
const groups = "/sys/fs/cgroup/"

// ofContainer puts a container's own figures in place of those of the machine that it is on, which /proc tells: each host
// on one machine would be as busy as all of them. What the kernel does not count stays as it is.
func (r Root) ofContainer(h *host.Health, cpu *Ticks) {
	if _, err := os.Stat(filepath.Join(string(r), "/run/systemd/container")); err != nil {
		return
	}
	if ticks, ok := r.containerTicks(); ok {
		*cpu = ticks
	}
	used, ok := r.count("memory.current", "memory/memory.usage_in_bytes")
	if !ok {
		return
	}
	// As elsewhere, files that the kernel keeps in memory and would give up at once are not in use.
	if files, ok := r.stat("memory.stat", "inactive_file"); ok {
		used -= min(files, used)
	} else if files, ok := r.stat("memory/memory.stat", "total_inactive_file"); ok {
		used -= min(files, used)
	}
	if bound, ok := r.count("memory.max", "memory/memory.limit_in_bytes"); ok { // enormous where there is none, in version 1
		h.MemoryTotal = min(h.MemoryTotal, bound)
	}
	h.MemoryAvailable = h.MemoryTotal - min(used, h.MemoryTotal)
}

// containerTicks are in microseconds, of the processors' time that the container may take.
func (r Root) containerTicks() (Ticks, bool) {
	used, ok := r.stat("cpu.stat", "usage_usec")
	if !ok {
		if used, ok = r.count("cpuacct/cpuacct.usage"); !ok {
			return Ticks{}, false
		}
		used /= 1000
	}
	uptime, _, _ := strings.Cut(r.read("/proc/uptime"), " ")
	seconds, err := strconv.ParseFloat(uptime, 64)
	if err != nil {
		return Ticks{}, false
	}
	return Ticks{busy: used, total: uint64(seconds * 1e6 * r.processors())}, true
}

// processors is how many of them the container may use at once.
func (r Root) processors() float64 {
	all := float64(runtime.NumCPU())
	quota, period, _ := strings.Cut(r.read(groups+"cpu.max"), " ")
	if period == "" {
		quota, period = r.read(groups+"cpu/cpu.cfs_quota_us"), r.read(groups+"cpu/cpu.cfs_period_us")
	}
	q, err := strconv.ParseFloat(quota, 64) // -1 and max are none
	p, periodErr := strconv.ParseFloat(period, 64)
	if err != nil || periodErr != nil || q <= 0 || p <= 0 {
		return all
	}
	return min(all, q/p)
}

// count is the number in the first of these files that has one.
func (r Root) count(names ...string) (uint64, bool) {
	for _, name := range names {
		if n, err := strconv.ParseUint(r.read(groups+name), 10, 64); err == nil {
			return n, true
		}
	}
	return 0, false
}

// stat is the number of a name in a file of such pairs.
func (r Root) stat(file, name string) (uint64, bool) {
	for line := range strings.Lines(r.read(groups + file)) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			n, err := strconv.ParseUint(strings.TrimSpace(value), 10, 64)
			return n, err == nil
		}
	}
	return 0, false
}

// read is a small file's content; empty where there is none.
func (r Root) read(path string) string {
	content, _ := os.ReadFile(filepath.Join(string(r), path))
	return strings.TrimSpace(string(content))
}
