package api

import "golang.org/x/sys/unix"

func peerOf(fd int) (uid uint32, pid int32, err error) {
	found, err := unix.GetsockoptXucred(fd, unix.SOL_LOCAL, unix.LOCAL_PEERCRED)
	if err != nil {
		return 0, 0, err
	}
	number, err := unix.GetsockoptInt(fd, unix.SOL_LOCAL, unix.LOCAL_PEERPID)
	return found.Uid, int32(number), err //nolint:gosec // process ids are small
}
