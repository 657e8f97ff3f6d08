package dial

import (
	"os"
	"strconv"
	"syscall"
)

// keepToOurselves has the controller not inherit what we inherited without knowing: it outlives the shell that we were called
// from, and would hold that shell's locks and pipes open.
func keepToOurselves() {
	entries, err := os.ReadDir("/dev/fd")
	if err != nil {
		return
	}
	for _, entry := range entries {
		if fd, err := strconv.Atoi(entry.Name()); err == nil && fd > 2 {
			syscall.CloseOnExec(fd)
		}
	}
}
