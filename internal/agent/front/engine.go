package front

import (
	"context"
	"io"
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// between is the pause between attempts to reach dockerd.
const between = 50 * time.Millisecond

// dial connects to Docker's socket and waits, up to limit, for a dockerd that is just restarting.
func dial(ctx context.Context, socket string, limit time.Duration) (*net.UnixConn, error) {
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var dialer net.Dialer
	for {
		conn, err := dialer.DialContext(limited, "unix", socket)
		if err == nil {
			return conn.(*net.UnixConn), nil
		}
		if pause(limited, between) != nil {
			return nil, err
		}
	}
}

// apology is what a docker client shows as "Error response from daemon: docker is not running on this host".
const apology = "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nContent-Length: 49\r\nConnection: close\r\n\r\n" +
	`{"message":"docker is not running on this host"}` + "\n"

// apologize answers, in dockerd's place, whatever was asked.
func apologize(client *caller, linger time.Duration) {
	_ = client.SetDeadline(time.Now().Add(linger))
	if _, err := client.Write([]byte(apology)); err != nil {
		return
	}
	_ = client.CloseWrite()
	// Closing with unread bytes would reset the connection before the client has read the answer.
	_, _ = io.Copy(io.Discard, client)
}

// gone reports whether dockerd has closed its end altogether, which EOF alone does not tell from a half-close.
func gone(fd uintptr) bool {
	poll := []unix.PollFd{{Fd: int32(fd)}}
	n, err := unix.Poll(poll, 0)
	return err == nil && n == 1 && poll[0].Revents&(unix.POLLHUP|unix.POLLERR) != 0
}

// awaitGone returns when dockerd has closed its end altogether, or when conn is closed here.
func awaitGone(conn *net.UnixConn) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Read(gone)
}
