// Package lobby bounds the connections of which nobody knows yet whose they are.
package lobby

import (
	"container/list"
	"net"
	"sync"
)

// Lobby holds connections that have not shown who they are. It may be used by several goroutines.
type Lobby struct {
	mu    sync.Mutex
	order list.List // of visitor, oldest first
	from  map[string]int
	size  int
}

type visitor struct {
	conn net.Conn
	from string
}

// New makes a lobby for so many connections at a time.
func New(size int) *Lobby { return &Lobby{size: size, from: map[string]int{}} }

// Enter lets a connection in and returns what to call when it is known, or gone; that may be called more than once. Where
// the lobby is full, the oldest of those is closed whose place has sent the most: honest handshakes take milliseconds, and
// whoever sends many pushes out himself.
func (l *Lobby) Enter(conn net.Conn) (leave func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	v := visitor{conn, Origin(conn.RemoteAddr())}
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

func (l *Lobby) pushOut() {
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
func (l *Lobby) remove(place *list.Element) {
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

// Origin is where a connection comes from, as it is counted: an IPv4 address, or an IPv6 network of the size that a single site
// has. What comes otherwise, such as over a host's SSH server, has a place for each address.
func Origin(address net.Addr) string {
	tcp, ok := address.(*net.TCPAddr)
	switch {
	case address == nil:
		return ""
	case !ok:
		return address.Network() + " " + address.String()
	}
	ip := tcp.AddrPort().Addr().Unmap().WithZone("")
	bits := ip.BitLen()
	if ip.Is6() {
		bits = 64
	}
	prefix, _ := ip.Prefix(bits) // it fits
	return prefix.String()
}
