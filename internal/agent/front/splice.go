package front

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// splice copies bytes both ways until both sides have ended, and closes both. The end of one direction is passed on as a
// half-close and the other goes on: that is how docker attach works when its standard input ends.
func splice(client *caller, engine *net.UnixConn, pool *pool, linger time.Duration) {
	var up sync.WaitGroup
	up.Go(func() { upstream(client, engine, pool) })
	sent := downstream(client, engine, pool)
	if sent {
		// dockerd has said all. It may still listen; when it does not, a client that keeps its end open is not waited for.
		watching := make(chan struct{})
		over := make(chan struct{})
		go func() { defer close(watching); awaitGone(engine) }()
		go func() { defer close(over); up.Wait() }()
		select {
		case <-over:
		case <-watching:
			_ = client.SetReadDeadline(time.Now().Add(linger))
			<-over
		}
		engine.Close()
		<-watching
	}
	client.Close()
	engine.Close()
	up.Wait()
}

// upstream copies from client to engine.
func upstream(client *caller, engine *net.UnixConn, pool *pool) {
	reading, writing := pump(engine, client, pool)
	switch {
	case writing != nil:
		// dockerd hears no more but may have an answer on the way, such as an error to an upload. The client reads it only
		// when its bytes are taken.
		_, _ = io.Copy(io.Discard, client)
	case errors.Is(reading, io.EOF):
		_ = engine.CloseWrite()
	default:
		engine.Close() // the client is gone, which ends downstream too
	}
}

// downstream copies from engine to client and reports whether all of it arrived, so that the connection ends in peace.
func downstream(client *caller, engine *net.UnixConn, pool *pool) bool {
	_, writing := pump(client, engine, pool)
	// Whatever ended reading, such as a reset because dockerd closed without reading all: there is no more to come.
	return writing == nil && client.CloseWrite() == nil
}

// caller is a client that was let in.
type caller struct {
	*tls.Conn
	below *ahead
}

// Read fills p with all that has arrived, and waits only for the first of it.
func (c *caller) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.below.noWait = true
	for err == nil && n < len(p) {
		var more int
		more, err = c.Conn.Read(p[n:])
		n += more
	}
	c.below.noWait = false
	if n > 0 {
		err = nil // what is no errNotYet comes again with the next read
	}
	return n, err
}

// small is what a direction waits with, so that an idle connection costs little.
const small = 4 << 10

// pump copies until reading or writing fails; exactly one of the errors is set, io.EOF for reading at the end. It waits
// with a small buffer, takes a large one while that comes back full, and gives it back when the flow ebbs.
func pump(dst io.Writer, src io.Reader, pool *pool) (reading, writing error) {
	idle := make([]byte, small)
	buffer := idle
	var large *[]byte
	defer func() { pool.giveBack(large) }()
	for {
		n, err := src.Read(buffer)
		if n > 0 {
			if _, err := dst.Write(buffer[:n]); err != nil {
				return nil, err
			}
		}
		switch {
		case err != nil:
			return err, nil
		case large == nil && n == small:
			large = pool.borrow()
			buffer = *large
		case large != nil && n < small:
			pool.giveBack(large)
			large, buffer = nil, idle
		}
	}
}
