package lobby

import (
	"net"
	"testing"
)

// pretended is a connection that only comes from somewhere and may be closed.
type pretended struct {
	net.Conn
	from   string
	closed bool
}

func (p *pretended) Close() error { p.closed = true; return nil }

func (p *pretended) RemoteAddr() net.Addr {
	address, _ := net.ResolveTCPAddr("tcp", p.from)
	return address
}

func TestWhoSendsManyPushesOutHimself(t *testing.T) {
	l := New(3)
	honest := &pretended{from: "192.0.2.1:1"}
	leave := l.Enter(honest)
	var many []*pretended
	for range 10 {
		one := &pretended{from: "198.51.100.7:1"}
		many = append(many, one)
		l.Enter(one)
	}
	if honest.closed {
		t.Error("somebody else was pushed out")
	}
	for i, one := range many {
		if newest := i >= len(many)-2; one.closed == newest {
			t.Errorf("number %d of ten is closed: %t", i, one.closed)
		}
	}
	leave()
	leave() // twice is as good as once
	l.Enter(&pretended{from: "192.0.2.2:1"})
	if newest := many[len(many)-1]; newest.closed {
		t.Error("somebody was pushed out though there was room")
	}
	if len(l.from) != 2 || l.order.Len() != 3 {
		t.Errorf("it holds %d connections from %v", l.order.Len(), l.from)
	}
}

func TestWhereConnectionsComeFrom(t *testing.T) {
	for address, want := range map[string]string{
		"192.0.2.7:1": "192.0.2.7/32", "[::ffff:192.0.2.7]:1": "192.0.2.7/32", "[2001:db8:1:2:3::4]:1": "2001:db8:1:2::/64", "[fe80::1%lo]:1": "fe80::/64",
	} {
		if got := Origin((&pretended{from: address}).RemoteAddr()); got != want {
			t.Errorf("%s comes from %s, want %s", address, got, want)
		}
	}
	one, other := Origin(&net.UnixAddr{Name: "one", Net: "ssh"}), Origin(&net.UnixAddr{Name: "other", Net: "ssh"})
	if one == other || Origin(nil) == one {
		t.Errorf("hosts that come by themselves share the place %q", one)
	}
}
