package front

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"syscall"

	"mctl/internal/fault"
)

// firstInherited is where systemd puts the sockets of a socket unit, see sd_listen_fds(3).
const firstInherited = 3

// inherited returns the listeners that systemd handed over. Precondition when there are none.
func inherited() ([]net.Listener, error) {
	n, err := strconv.Atoi(os.Getenv("LISTEN_FDS"))
	if err != nil || n < 1 || os.Getenv("LISTEN_PID") != strconv.Itoa(os.Getpid()) {
		return nil, fault.New("front.inherited", fault.Precondition, "", "systemd handed over no socket").
			WithHint("start it by mctl-front.socket")
	}
	listeners := make([]net.Listener, 0, n)
	for fd := firstInherited; fd < firstInherited+n; fd++ {
		syscall.CloseOnExec(fd)
		file := os.NewFile(uintptr(fd), "listener")
		listener, err := net.FileListener(file)
		file.Close() // the listener has a descriptor of its own
		if err != nil {
			return nil, fault.E("front.inherited", fault.Internal, "", fmt.Errorf("descriptor %d is no listener: %w", fd, err))
		}
		listeners = append(listeners, listener)
	}
	return listeners, nil
}
