package front

import (
	"container/list"
	"net"
	"sync"
)

// lobby holds connections that have not shown a certificate yet.
type lobby struct {
	mu    sync.Mutex
	order list.List // of net.Conn, oldest first
	size  int
}

func newLobby(size int) *lobby { return &lobby{size: size} }

// enter lets a connection in and returns what to call when its handshake is over. Where the lobby is full the oldest goes:
// honest handshakes take milliseconds, so it is the one that hardly was honest.
func (l *lobby) enter(conn net.Conn) (leave func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.order.Len() >= l.size {
		oldest := l.order.Front()
		l.order.Remove(oldest)
		oldest.Value.(net.Conn).Close()
	}
	place := l.order.PushBack(conn)
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.order.Remove(place) // does nothing when it was pushed out
	}
}

// guest is a connection that was let in.
type guest struct {
	conn   net.Conn
	serial string // of its certificate, hexadecimal
}

// guests are all connections that were let in, by certificate.
type guests struct {
	mu       sync.Mutex
	bySerial map[string]map[*guest]struct{}
	open     int
	limit    int
}

func newGuests(limit int) *guests {
	return &guests{bySerial: map[string]map[*guest]struct{}{}, limit: limit}
}

func (g *guests) add(one *guest) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.open >= g.limit {
		return errFull
	}
	g.open++
	same := g.bySerial[one.serial]
	if same == nil {
		same = map[*guest]struct{}{}
		g.bySerial[one.serial] = same
	}
	same[one] = struct{}{}
	return nil
}

func (g *guests) remove(one *guest) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.open--
	same := g.bySerial[one.serial]
	if delete(same, one); len(same) == 0 {
		delete(g.bySerial, one.serial)
	}
}

// cut closes every connection of a certificate and returns how many there were.
func (g *guests) cut(serial string) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	same := g.bySerial[serial]
	for one := range same {
		one.conn.Close()
	}
	return len(same)
}

func (g *guests) count() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.open
}
