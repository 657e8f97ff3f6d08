package system

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"mctl/internal/host"
)

// maxDisks bounds a report; a host with more file systems shows its first ones.
const maxDisks = 16

// disks are the file systems that hold data here: the root, whatever its kind, and each local device once.
func (r Root) disks() []host.Disk {
	var disks []host.Disk
	var seen []string
	_ = r.lines("/proc/self/mountinfo", func(fields []string) error {
		dash := slices.Index(fields, "-")
		if len(disks) == maxDisks || dash < 5 || len(fields) < dash+3 {
			return nil
		}
		device, path, kind, source := fields[2], unescape(fields[4]), fields[dash+1], fields[dash+2]
		// Below /run are files of the machine that a container's manager shows, and media that come and go.
		if path != "/" && (!local(kind) || strings.HasPrefix(path, "/run/") || slices.Contains(seen, device) || slices.Contains(seen, source)) {
			return nil
		}
		disk, ok := size(filepath.Join(string(r), path))
		if !ok {
			return nil
		}
		disk.Path = path
		if path == "/" { // mounted over an earlier one, as an initramfs leaves it
			disks = slices.DeleteFunc(disks, func(d host.Disk) bool { return d.Path == "/" })
		}
		seen = append(seen, device, source)
		disks = append(disks, disk)
		return nil
	})
	return disks
}

// size asks a file system; a file that is mounted on is none.
func size(path string) (host.Disk, bool) {
	info, err := os.Stat(path)
	var s unix.Statfs_t
	if err != nil || !info.IsDir() || unix.Statfs(path, &s) != nil || s.Blocks == 0 {
		return host.Disk{}, false
	}
	block := uint64(s.Frsize) //nolint:gosec // a size is not negative
	return host.Disk{Total: s.Blocks * block, Available: s.Bavail * block}, true
}

// local reports whether a file system lies on a device of the host. Asking one over a network might hang for ever.
func local(kind string) bool {
	return slices.Contains([]string{"ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "jfs", "reiserfs", "bcachefs"}, kind)
}

// unescape undoes the kernel's octal spelling of blanks.
func unescape(path string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(path)
}
