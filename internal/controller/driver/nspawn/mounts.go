//go:build linux

package nspawn

import (
	"fmt"
	"os"
	"strings"
)

// mount is one line of /proc/self/mountinfo.
type mount struct {
	point, kind string
	super       []string // options of the file system
}

func mounts() ([]mount, error) {
	content, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	// The kernel writes what would break a line apart in octal.
	unescape := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
	var found []mount
	for line := range strings.Lines(string(content)) {
		before, after, ok := strings.Cut(line, " - ")
		left, right := strings.Fields(before), strings.Fields(after)
		if !ok || len(left) < 6 || len(right) < 2 {
			return nil, fmt.Errorf("mountinfo: cannot read %q", line)
		}
		found = append(found, mount{point: unescape.Replace(left[4]), kind: right[0], super: strings.Split(right[len(right)-1], ",")})
	}
	return found, nil
}

// mountPoints lists where something is mounted, in the order of mounting.
func mountPoints() ([]string, error) {
	all, err := mounts()
	points := make([]string, 0, len(all))
	for _, m := range all {
		points = append(points, m.point)
	}
	return points, err
}
