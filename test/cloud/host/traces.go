//go:build linux

package host

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"

	"mctl/internal/controller/driver/nspawn/system"
)

// Traces lists what there is of the lab on this computer: its directory, processes, mounts, links, rules and cgroups, each
// as its kind and a line about it. After Close there is none.
func (h *Hosts) Traces(ctx context.Context) ([]string, error) {
	var found []string
	if _, err := os.Stat(h.dir); err == nil {
		found = append(found, "directory "+h.dir)
	}
	h.mu.Lock()
	marks := append([]string{h.dir}, h.marks...)
	h.mu.Unlock()
	for kind, command := range map[string][]string{
		"process": {"ps", "-ww", "-eo", "pid,args"}, "mount": {"cat", "/proc/self/mountinfo"}, "link": {"ip", "-o", "link"}, "rule": {"iptables-save"},
		"cgroup": {"find", "/sys/fs/cgroup", "-maxdepth", "3", "-path", "*/mctl/*", "-type", "d"},
	} {
		path, err := system.Find(command[0])
		if err != nil {
			return nil, err
		}
		output, err := exec.CommandContext(ctx, path, command[1:]...).Output()
		if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) { // find complains of what vanishes
			return nil, err
		}
		for line := range strings.Lines(string(output)) {
			for _, mark := range marks {
				if strings.Contains(line, mark) {
					found = append(found, kind+" "+strings.TrimSpace(line))
					break
				}
			}
		}
	}
	return found, nil
}

// mark remembers a name that the lab uses on this computer. The caller has the lock.
func (h *Hosts) mark(name string) { h.marks = append(h.marks, name) }
