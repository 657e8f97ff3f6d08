package filetree

import (
	"os"
	"syscall"
)

// nonblock has opening a pipe that nobody holds the other end of return at once; regular files do not care.
const nonblock = syscall.O_NONBLOCK

// openFile opens a file to read, and never waits for one that is a pipe by now.
func openFile(name string) (*os.File, error) { return os.OpenFile(name, os.O_RDONLY|nonblock, 0) }
