package state

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// Flush makes durable what was written to the file system that a directory is on: one call for thousands of files, each of which would wait for the
// disk by itself.
func Flush(dir string) error {
	file, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(unix.Syncfs(int(file.Fd())), file.Close())
}
