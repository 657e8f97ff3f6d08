package front

import (
	"net"
	"sync"
)

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
