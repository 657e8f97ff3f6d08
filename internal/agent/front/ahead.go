package front

import (
	"errors"
	"io"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// record is what a TLS record has at most, in bytes. What is read at once, with the rest of a record from before, is less
// than a chunk, so that it is passed on with one write.
const record = 16<<10 + 256

// ahead is a client's connection below TLS. It takes what has arrived at once, and can be told not to wait for more, so that
// records that are there are passed on together: docker's client sends each chunk's header as a record of its own. While it
// waits it holds no buffer.
type ahead struct {
	net.Conn
	raw    syscall.RawConn
	pool   *pool
	buffer *[]byte // borrowed while it holds bytes
	held   []byte  // its unread part
	noWait bool    // return errNotYet where nothing is held
}

func newAhead(conn net.Conn, pool *pool) (*ahead, error) {
	sys, ok := conn.(syscall.Conn)
	if !ok {
		return nil, errors.ErrUnsupported
	}
	raw, err := sys.SyscallConn()
	return &ahead{Conn: conn, raw: raw, pool: pool}, err
}

// Read implements io.Reader.
func (a *ahead) Read(p []byte) (int, error) {
	if len(a.held) == 0 {
		if a.noWait {
			return 0, errNotYet
		}
		if err := a.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(p, a.held)
	if a.held = a.held[n:]; len(a.held) == 0 {
		a.pool.giveBack(a.buffer)
		a.buffer, a.held = nil, nil
	}
	return n, nil
}

// fill waits for bytes and takes them.
func (a *ahead) fill() error {
	var n int
	var failure error
	err := a.raw.Read(func(fd uintptr) bool {
		a.buffer = a.pool.borrow()
		for {
			n, failure = unix.Read(int(fd), (*a.buffer)[:chunk-record])
			if !errors.Is(failure, unix.EINTR) {
				break
			}
		}
		if n > 0 {
			return true
		}
		a.pool.giveBack(a.buffer)
		a.buffer = nil
		return !errors.Is(failure, unix.EAGAIN)
	})
	switch {
	case err != nil:
		return err
	case failure != nil:
		return failure
	case n == 0:
		return io.EOF
	}
	a.held = (*a.buffer)[:n]
	return nil
}

// notYet says that nothing has arrived. To TLS it is a time that was up, after which reading may go on.
type notYet struct{}

var errNotYet net.Error = notYet{}

func (notYet) Error() string   { return "nothing has arrived yet" }
func (notYet) Timeout() bool   { return true }
func (notYet) Temporary() bool { return true }
