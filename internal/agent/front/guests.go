package front

import (
	"container/list"
	"net"
	"net/netip"
	"sync"
)

// lobby holds connections that have not shown a certificate yet.
type lobby struct {
	mu    sync.Mutex
	order list.List // of visitor, oldest first
	from  map[netip.Prefix]int
	size  int
}

type visitor struct {
	conn net.Conn
	from netip.Prefix
}

func newLobby(size int) *lobby { return &lobby{size: size, from: map[netip.Prefix]int{}} }

// enter lets a connection in and returns what to call when its handshake is over. Where the lobby is full, the oldest of
// those goes whose place has sent the most: honest handshakes take milliseconds, and whoever sends many pushes out himself.
func (l *lobby) enter(conn net.Conn) (leave func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	v := visitor{conn, origin(conn.RemoteAddr())}
	if l.order.Len() >= l.size {
		l.pushOut()
	}
	l.from[v.from]++
	place := l.order.PushBack(v)
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.remove(place)
	}
}

func (l *lobby) pushOut() {
	most := 0
	for _, n := range l.from {
		most = max(most, n)
	}
	for place := l.order.Front(); place != nil; place = place.Next() {
		if v := place.Value.(visitor); l.from[v.from] == most {
			l.remove(place)
			v.conn.Close()
			return
		}
	}
}

// remove does nothing for one that was pushed out already.
func (l *lobby) remove(place *list.Element) {
	v := place.Value.(visitor)
	before := l.order.Len()
	l.order.Remove(place)
	if l.order.Len() == before {
		return
	}
	if l.from[v.from]--; l.from[v.from] == 0 {
		delete(l.from, v.from)
	}
}

// origin is where a connection comes from: an IPv4 address, or an IPv6 network of the size that a single site has.
func origin(address net.Addr) netip.Prefix {
	tcp, ok := address.(*net.TCPAddr)
	if !ok {
		return netip.Prefix{}
	}
	ip := tcp.AddrPort().Addr().Unmap().WithZone("")
	bits := ip.BitLen()
	if ip.Is6() {
		bits = 64
	}
	prefix, _ := ip.Prefix(bits) // it fits
	return prefix
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
