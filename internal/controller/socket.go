package controller

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// lookAgain is how soon it is noticed that the socket's file is gone.
const lookAgain = 2 * time.Second

// listenUnix opens the socket for this computer's users. One that a dead controller left is removed: the lock on the
// state directory says that none is alive.
func listenUnix(ctx context.Context, path string) (net.Listener, error) {
	switch info, err := os.Lstat(path); {
	case os.IsNotExist(err):
	case err != nil:
		return nil, unusable(path, err)
	case info.Mode().Type() != os.ModeSocket:
		return nil, unusable(path, fmt.Errorf("%s is there, and no socket", path))
	default:
		if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
			return nil, unusable(path, err)
		}
	}
	listener, err := bind(ctx, path)
	if err != nil {
		return nil, err
	}
	return &socket{ctx: ctx, path: path, listener: listener}, nil
}

func bind(ctx context.Context, path string) (*net.UnixListener, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "unix", path)
	if err != nil {
		return nil, unusable(path, err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		listener.Close()
		return nil, unusable(path, err)
	}
	return listener.(*net.UnixListener), nil
}

// socket is a unix socket that comes back when its file is removed, as those who tidy up /tmp do: nobody would find the
// controller any more, and no other could be started beside it.
type socket struct {
	ctx  context.Context //nolint:containedctx // net.Listener has none; this one ends with the controller
	path string

	mu       sync.Mutex
	listener *net.UnixListener
	closed   bool
}

// Accept implements net.Listener.
func (s *socket) Accept() (net.Conn, error) {
	for {
		listener := s.current()
		_ = listener.SetDeadline(time.Now().Add(lookAgain))
		conn, err := listener.Accept()
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return conn, err
		}
		s.revive()
	}
}

// revive makes the file anew where there is none, in a directory that nobody else writes to: elsewhere it could be swapped for a
// link before its mode is set. What is in its place is left alone, and a failure is tried again.
func (s *socket) revive() {
	if _, err := os.Lstat(s.path); !errors.Is(err, os.ErrNotExist) {
		return
	}
	dir := filepath.Dir(s.path)
	if _ = os.Mkdir(dir, 0o700); !private(dir) { // as the client makes it, and checks it
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	fresh, err := bind(s.ctx, s.path)
	if err != nil {
		return
	}
	s.listener.SetUnlinkOnClose(false)
	s.listener.Close()
	s.listener = fresh
}

// private reports whether a directory is ours and lets nobody else in.
func private(dir string) bool {
	info, err := os.Lstat(dir)
	if err != nil || !info.IsDir() || info.Mode().Perm()&0o077 != 0 {
		return false
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(stat.Uid) == os.Getuid()
}

func (s *socket) current() *net.UnixListener {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.listener
}

// Close implements net.Listener.
func (s *socket) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return s.listener.Close()
}

// Addr implements net.Listener.
func (s *socket) Addr() net.Addr { return s.current().Addr() }
