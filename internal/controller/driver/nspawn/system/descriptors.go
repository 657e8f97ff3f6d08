//go:build linux

package system

import (
	"os"
	"strconv"
	"syscall"
)

// KeepToOurselves has nothing that is started from now on inherit what we inherited without knowing. Hosts outlive us, and
// would hold the locks and pipes of whoever started us.
func KeepToOurselves() {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return
	}
	for _, entry := range entries {
		if fd, err := strconv.Atoi(entry.Name()); err == nil && fd > 2 {
			syscall.CloseOnExec(fd)
		}
	}
}
