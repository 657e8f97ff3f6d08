package agentlink

import (
	"context"
	"net"
	"testing"

	"google.golang.org/grpc/peer"

	"mctl/internal/host"
)

// place is an address of a kind.
type place string

func (p place) Network() string { return string(p) }
func (place) String() string    { return "web" }

func TestTheConnectionsAddressTellsWhichWayASessionCame(t *testing.T) {
	for want, address := range map[host.Way]net.Addr{host.WaySSH: place("ssh"), host.WayDirect: &net.TCPAddr{}} {
		if got := wayOf(peer.NewContext(context.Background(), &peer.Peer{Addr: address})); got != want {
			t.Errorf("%s: %s", address.Network(), got)
		}
	}
	if got := wayOf(context.Background()); got != host.WayDirect {
		t.Errorf("of nobody: %s", got)
	}
}
