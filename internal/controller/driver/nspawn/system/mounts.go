//go:build linux

package system

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Mount is one line of /proc/self/mountinfo.
type Mount struct {
	Point, Kind string
	Options     []string // of the file system
}

// Mounts lists what is mounted, in the order of mounting.
func Mounts() ([]Mount, error) {
	content, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	// The kernel writes what would break a line apart in octal.
	unescape := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
	var found []Mount
	for line := range strings.Lines(string(content)) {
		before, after, ok := strings.Cut(line, " - ")
		left, right := strings.Fields(before), strings.Fields(after)
		if !ok || len(left) < 6 || len(right) < 2 {
			return nil, fmt.Errorf("mountinfo: cannot read %q", line)
		}
		found = append(found, Mount{Point: unescape.Replace(left[4]), Kind: right[0], Options: strings.Split(right[len(right)-1], ",")})
	}
	return found, nil
}

// RemoveTree deletes a directory, and never what somebody mounted below it.
func RemoveTree(dir string) error {
	all, err := Mounts()
	if err != nil {
		return err
	}
	for _, m := range slices.Backward(all) {
		if m.Point == dir || strings.HasPrefix(m.Point, dir+"/") {
			if err := unix.Unmount(m.Point, unix.MNT_DETACH); err != nil {
				return fmt.Errorf("unmount %s: %w", m.Point, err)
			}
		}
	}
	return os.RemoveAll(dir)
}
