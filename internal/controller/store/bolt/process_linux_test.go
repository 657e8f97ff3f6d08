package bolt

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"mctl/internal/fault"
)

// holder is how an error names the process that holds a file.
func holder(pid int) string { return fmt.Sprintf("held by process %d (bolt.test)", pid) }

func TestTheKernelsListOfLocksIsRead(t *testing.T) {
	list := "1: FLOCK  ADVISORY  WRITE 41 fe:00:77 0 EOF\n1: -> FLOCK  ADVISORY  WRITE 42 fe:00:77 0 EOF\n" +
		"2: OFDLCK ADVISORY  READ -1 00:2d:77 0 EOF\n3: POSIX  ADVISORY  WRITE 43 fe:00:77 0 EOF\n" +
		"4: FLOCK  ADVISORY  WRITE 44 fe:00:177 0 EOF\n5: FLOCK  ADVISORY  WRITE 0 fe:00:77 0 EOF\n6: FLOCK\n\n7: FLOCK  ADVISORY  READ 45 00:1f:77 0 EOF\n"
	if got := slices.Collect(holders(list, 77)); !slices.Equal(got, []int{41, 45}) {
		t.Errorf("got %v", got)
	}
}

func TestAFullDiskFailsWritesAloneAndHeals(t *testing.T) {
	process, _ := start(t, "fill", filepath.Join(t.TempDir(), "store.db"))
	if err := process.Wait(); err != nil {
		t.Error(err)
	}
}

// fillTheDisk lets the file grow by 64 kB only, writes until that is used up, and checks what is still possible.
func fillTheDisk(s *Store, path string) error {
	ctx := context.Background()
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	var room unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &room); err != nil {
		return err
	}
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: uint64(info.Size()) + 64<<10, Max: room.Max}); err != nil {
		return err
	}
	written := 0
	for err == nil && written < 1000 {
		if _, err = s.Create(ctx, fmt.Sprint("k/", written), make([]byte, 4000)); err == nil {
			written++
		}
	}
	if !fault.Is(err, fault.Quota) || fault.HintOf(err) == "" {
		return fmt.Errorf("after %d writes: %w", written, err)
	}
	items, from, err := s.List(ctx, "k/")
	if err != nil || len(items) != written {
		return fmt.Errorf("%d items of %d: %w", len(items), written, err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &room); err != nil {
		return err
	}
	next, err := s.Create(ctx, "k/after", make([]byte, 100_000))
	if err != nil || next <= from {
		return fmt.Errorf("with room again: %d after %d: %w", next, from, err)
	}
	return nil
}
