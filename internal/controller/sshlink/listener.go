package sshlink

import (
	"net"
	"sync"
	"time"
)

// connectionsPerHost bounds what users of one host can open.
const connectionsPerHost = 256

// Network is what the addresses of connections that came over SSH say.
const Network = "ssh"

// Addr is where a connection came from.
type Addr string

// Network returns Network.
func (Addr) Network() string { return Network }

// String returns the name of the machine over whose SSH connection it came.
func (a Addr) String() string { return string(a) }

// listener is a net.Listener of what all hosts forward.
type listener struct {
	conns chan net.Conn
	done  chan struct{}
	close sync.Once
}

func newListener() *listener {
	return &listener{conns: make(chan net.Conn), done: make(chan struct{})}
}

// Accept returns the next connection of any host.
func (l *listener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conns:
		return conn, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

// Close ends Accept. Connections go on.
func (l *listener) Close() error {
	l.close.Do(func() { close(l.done) })
	return nil
}

// Addr names no place in particular.
func (l *listener) Addr() net.Addr { return Addr("") }

// serve hands over what connects to a host's socket until that ends. Connections end with it, since they ride on it.
func (l *listener) serve(socket net.Listener, name string) {
	room := make(chan struct{}, connectionsPerHost)
	for {
		raw, err := socket.Accept()
		if err != nil {
			return
		}
		select {
		case room <- struct{}{}:
		default:
			raw.Close()
			continue
		}
		conn := &forwarded{Conn: raw, from: Addr(name), room: room}
		select {
		case l.conns <- conn:
		case <-l.done:
			conn.Close() //nolint:errcheck // nobody takes it
			return
		}
	}
}

// forwarded is a connection over SSH. Channels know no deadlines, so one that passes ends the connection: all who set any
// give up a connection that misses it.
type forwarded struct {
	net.Conn
	from Addr
	room chan struct{}

	once     sync.Once
	mu       sync.Mutex
	deadline *time.Timer
}

func (f *forwarded) RemoteAddr() net.Addr { return f.from }

func (f *forwarded) Close() error {
	f.once.Do(func() { <-f.room })
	_ = f.SetDeadline(time.Time{})
	return f.Conn.Close()
}

func (f *forwarded) SetDeadline(t time.Time) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.deadline != nil {
		f.deadline.Stop()
		f.deadline = nil
	}
	if !t.IsZero() {
		f.deadline = time.AfterFunc(time.Until(t), func() { f.Close() }) //nolint:errcheck // it is over
	}
	return nil
}

func (f *forwarded) SetReadDeadline(t time.Time) error  { return f.SetDeadline(t) }
func (f *forwarded) SetWriteDeadline(t time.Time) error { return f.SetDeadline(t) }
