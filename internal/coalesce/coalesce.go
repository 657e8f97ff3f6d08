// Package coalesce has what is written to a TLS connection at once leave at once. TLS itself writes each of its records, of 16 KiB
// at most, by itself, which costs a system call, a walk through the network's layers and a wake-up of the other side each.
package coalesce

import (
	"crypto/tls"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// most is how much is held back, in bytes.
	most = 128 << 10
	// record is how much TLS writes at once, in bytes. What is no longer has nothing to wait for.
	record = 16 << 10
	// closeLimit bounds the good-bye, as TLS does where there are deadlines.
	closeLimit = 5 * time.Second
)

var buffers = sync.Pool{New: func() any { b := make([]byte, 0, most); return &b }}

// Below is a connection for TLS to write to.
type Below struct {
	net.Conn
	mu     sync.Mutex
	buffer *[]byte // borrowed while what is above writes
	failed error   // for good: TLS does not know which of its records never left

	held, closed atomic.Bool // what is above writes, or was closed
}

// Write implements net.Conn.
func (b *Below) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.failed != nil {
		return 0, b.failed
	}
	if b.buffer == nil {
		return b.Conn.Write(p)
	}
	if len(*b.buffer)+len(p) > most {
		if err := b.flush(); err != nil {
			return 0, err
		}
	}
	*b.buffer = append(*b.buffer, p...)
	return len(p), nil
}

func (b *Below) flush() error {
	if b.failed != nil || len(*b.buffer) == 0 {
		return b.failed
	}
	_, b.failed = b.Conn.Write(*b.buffer)
	*b.buffer = (*b.buffer)[:0]
	return b.failed
}

// hold holds back what is written until release. Either it sees that what is above was closed, or Close sees that it holds.
func (b *Below) hold() error {
	b.held.Store(true)
	if b.closed.Load() {
		b.held.Store(false)
		return net.ErrClosed
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.buffer = buffers.Get().(*[]byte)
	return nil
}

func (b *Below) release() error {
	defer b.held.Store(false)
	b.mu.Lock()
	defer b.mu.Unlock()
	err := b.flush()
	buffers.Put(b.buffer)
	b.buffer = nil
	return err
}

// Secured returns what is to be used in place of secured, a TLS connection over b whose handshake is done.
func (b *Below) Secured(secured net.Conn) net.Conn { return &above{Conn: secured, below: b} }

// above is a TLS connection.
type above struct {
	net.Conn
	below  *Below
	writer sync.Mutex
}

// Conn is the client's end of a TLS connection.
type Conn struct {
	*tls.Conn
	above net.Conn
}

// Client is tls.Client.
func Client(conn net.Conn, config *tls.Config) *Conn {
	below := &Below{Conn: conn}
	secured := tls.Client(below, config)
	return &Conn{secured, below.Secured(secured)}
}

// Write implements net.Conn. When it returns, all has been written.
func (c *Conn) Write(p []byte) (int, error) {
	if err := c.Handshake(); err != nil { // which must not be held back
		return 0, err
	}
	return c.above.Write(p)
}

// Close implements net.Conn. As that of TLS, it breaks a Write that is under way.
func (c *Conn) Close() error { return c.above.Close() }

// Write implements net.Conn. When it returns, all has been written.
func (a *above) Write(p []byte) (int, error) {
	if len(p) <= record {
		return a.Conn.Write(p)
	}
	a.writer.Lock()
	defer a.writer.Unlock()
	if err := a.below.hold(); err != nil {
		return 0, err
	}
	n, err := a.Conn.Write(p)
	if failed := a.below.release(); err == nil && failed != nil {
		return 0, failed
	}
	return n, err
}

// Close implements net.Conn. TLS breaks a Write that is under way, but takes one for done whose records are all below: it would
// say good-bye behind them, and wait for that.
func (a *above) Close() error {
	a.below.closed.Store(true)
	if a.below.held.Load() {
		err := a.below.Conn.Close()
		_ = a.Conn.Close() // nothing can be said any more
		return err
	}
	limit := time.AfterFunc(closeLimit, func() { _ = a.below.Conn.Close() })
	defer limit.Stop()
	return a.Conn.Close()
}
