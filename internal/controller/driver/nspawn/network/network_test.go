//go:build linux

package network

import (
	"net/netip"
	"path/filepath"
	"slices"
	"testing"
)

func TestRoutesAreReadWithoutTheDefault(t *testing.T) {
	routes, err := parseRoutes([]byte(`[{"dst":"default","gateway":"192.0.2.1"},{"dst":"10.0.0.0/8","dev":"tun0"},
		{"type":"local","dst":"192.0.2.2","dev":"eth0"},{"type":"blackhole","dst":"172.29.0.0/16"},{"dst":"0.0.0.0/0"}]`))
	want := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("192.0.2.2/32"), netip.MustParsePrefix("172.29.0.0/16")}
	if err != nil || !slices.Equal(routes, want) {
		t.Errorf("%v %v", routes, err)
	}
	if none, err := parseRoutes(nil); err != nil || len(none) > 0 {
		t.Errorf("%v %v", none, err)
	}
	if _, err := parseRoutes([]byte("Error")); err == nil {
		t.Error("what is no list was read as one")
	}
}

func TestANetworkOverlapsWhateverSharesAnAddress(t *testing.T) {
	used := []netip.Prefix{netip.MustParsePrefix("10.128.5.7/32"), netip.MustParsePrefix("172.16.0.0/12")}
	for subnet, want := range map[string]bool{"10.128.5.0/24": true, "10.128.6.0/24": false, "172.29.1.0/24": true, "192.168.1.0/24": false} {
		if got := overlapping(used, netip.MustParsePrefix(subnet)).IsValid(); got != want {
			t.Errorf("%s: %t", subnet, got)
		}
	}
}

func TestTheRecordIsReadBack(t *testing.T) {
	n := Network{Record: filepath.Join(t.TempDir(), "network.json")}
	if r, err := n.load(); err != nil || r.Subnet.IsValid() || r.Last.IsValid() {
		t.Errorf("without a record: %+v %v", r, err)
	}
	want := record{Subnet: netip.MustParsePrefix("10.1.2.0/24"), Last: netip.MustParseAddr("10.1.2.9")}
	if err := n.save(want); err != nil {
		t.Fatal(err)
	}
	if got, err := n.load(); err != nil || got != want {
		t.Errorf("%+v %v", got, err)
	}
}

func TestNamesOfBridgesFit(t *testing.T) {
	one, other := Network{ControllerID: "one"}.Bridge(), Network{ControllerID: "other"}.Bridge()
	if one == other || len(one) != 15 {
		t.Errorf("%s and %s", one, other)
	}
}
