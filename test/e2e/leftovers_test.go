package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"

	"mctl/internal/controller/driver/nspawn/network"
	"mctl/internal/controller/driver/nspawn/system"
)

// traces are the names by which one controller's things are known on this computer, so that other runs of these tests, and
// other people's machines, are told apart from them.
type traces struct {
	state  string   // the controller's state directory
	bridge string   // its hosts' network; empty where nothing is known of the controller
	hosts  []string // what its hosts are called
}

// tracesOf names what a controller with these machines makes.
func tracesOf(state, controller string, uids ...string) traces {
	found := traces{state: state, bridge: network.Network{ControllerID: controller}.Bridge()}
	for _, uid := range uids {
		found.hosts = append(found.hosts, system.ShortName(7, controller, uid))
	}
	return found
}

// left lists what there still is: processes, mounts, links, rules, cgroups, directories.
func (n traces) left() []string {
	marks := append([]string{n.state}, n.hosts...)
	if n.bridge != "" {
		marks = append(marks, n.bridge)
	}
	var found []string
	for _, question := range [][]string{
		{"ps", "-ww", "-eo", "pid,args"}, {"cat", "/proc/self/mountinfo"}, {"ip", "-o", "link"}, {"ip", "route"}, {"iptables-save"},
		{"find", "/sys/fs/cgroup", "-maxdepth", "3", "-type", "d"}, {"find", "/run/systemd/nspawn/propagate", "-maxdepth", "1"},
	} {
		output, _ := exec.Command(question[0], question[1:]...).Output()
		for line := range strings.Lines(string(output)) {
			for _, mark := range marks {
				if strings.Contains(line, mark) {
					found = append(found, question[0]+": "+strings.TrimSpace(line))
					break
				}
			}
		}
	}
	for _, pattern := range []string{"machines/*", "mctl/nspawn/hosts/*", "hosts/*"} {
		folders, _ := filepath.Glob(filepath.Join(n.state, pattern))
		found = append(found, folders...)
	}
	return found
}

// What the controller's log tells of itself and of its machines.
var (
	logOfStart   = regexp.MustCompile(` serving: socket=(\S+) .*controller=(\S+)`)
	logOfMachine = regexp.MustCompile(` machine moved: .* uid=(\S+)`)
)

// traces are the lab's. Its log knows every machine that it ever had.
func (l *lab) traces() traces {
	log, _ := os.ReadFile(filepath.Join(l.state, "mctl", "controller.log"))
	start := logOfStart.FindSubmatch(log)
	if start == nil {
		return traces{state: l.state} // it never had a controller
	}
	var uids []string
	for _, machine := range logOfMachine.FindAllSubmatch(log, -1) {
		uids = append(uids, string(machine[1]))
	}
	return tracesOf(l.state, string(start[2]), uids...)
}

// nothingLeft fails the test if the lab's machines have left anything. Its controller may go on.
func (l *lab) nothingLeft(when string) {
	l.t.Helper()
	for _, line := range l.traces().left() {
		if !strings.Contains(line, "controller --state-dir") {
			l.t.Errorf("%s: left behind: %s", when, line)
		}
	}
}
