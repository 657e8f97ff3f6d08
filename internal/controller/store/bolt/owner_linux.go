package bolt

import (
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// owner names the process that holds the file. It asks the kernel, whose list of locks is right also after a kill -9, which
// a note that the holder left would not be.
func owner(path string) string {
	info, err := os.Stat(path)
	if err != nil {
		return "another process"
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return "another process"
	}
	locks, err := os.ReadFile("/proc/locks")
	if err != nil {
		return "another process"
	}
	for pid := range holders(string(locks), stat.Ino) {
		if has(pid, info) {
			command, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
			return fmt.Sprintf("process %d (%s)", pid, strings.TrimSpace(string(command)))
		}
	}
	return "another process"
}

// holders reads lines such as "1: FLOCK  ADVISORY  WRITE 4701 fe:00:10363108 0 EOF" and yields the processes that hold the
// inode. The device is not compared: some file systems name another one there than stat does.
func holders(locks string, inode uint64) iter.Seq[int] {
	return func(yield func(int) bool) {
		for line := range strings.Lines(locks) {
			fields := strings.Fields(line)
			if len(fields) < 6 || !slices.Contains(fields, "FLOCK") || fields[1] == "->" { // -> is one who waits
				continue
			}
			pid, err := strconv.Atoi(fields[4])
			if err == nil && pid > 0 && strings.HasSuffix(fields[5], ":"+strconv.FormatUint(inode, 10)) && !yield(pid) {
				return
			}
		}
	}
}

// has reports whether a process has the file open. Where that can't be read (another user's process), the lock is believed.
func has(pid int, file os.FileInfo) bool {
	directory := fmt.Sprintf("/proc/%d/fd", pid)
	entries, err := os.ReadDir(directory)
	if err != nil {
		return !os.IsNotExist(err)
	}
	return slices.ContainsFunc(entries, func(entry os.DirEntry) bool {
		open, err := os.Stat(filepath.Join(directory, entry.Name()))
		return err == nil && os.SameFile(open, file)
	})
}
