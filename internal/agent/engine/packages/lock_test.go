package packages

import (
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// holdLock holds a lock as dpkg does, until its standard input ends.
func holdLock(path string) int {
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return 1
	}
	defer file.Close()
	if err := unix.FcntlFlock(file.Fd(), unix.F_SETLK, &unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart}); err != nil {
		return 1
	}
	fmt.Fprint(os.Stdout, "x")
	_, _ = io.Copy(io.Discard, os.Stdin)
	return 0
}
