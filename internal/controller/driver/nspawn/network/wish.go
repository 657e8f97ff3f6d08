// Package network gives one controller's hosts a network of their own: a bridge, a free subnet, addresses, and the way
// out. It is made on demand and goes with the last host.
package network

import (
	"crypto/sha256"
	"fmt"
	"net/netip"

	"mctl/internal/fault"
)

// Flags that faults name.
const (
	FlagSubnet = "nspawn-subnet"
	FlagIP     = "nspawn-ip"
)

// Wish is what a host wants.
type Wish struct {
	Subnet netip.Prefix // invalid for any
	IP     netip.Addr   // invalid for the next one that is free
	Keep   netip.Addr   // preferred, if it still is free
}

// Gateway is the controller's own address.
func Gateway(subnet netip.Prefix) netip.Addr { return subnet.Masked().Addr().Next() }

// Usable reports whether a host may have an address: it is in the network, and neither the network's own, nor the
// controller's, nor broadcast.
func Usable(subnet netip.Prefix, ip netip.Addr) bool {
	return subnet.Contains(ip) && ip != subnet.Masked().Addr() && ip != Gateway(subnet) && subnet.Contains(ip.Next())
}

// fits refuses wishes that the network of the controller's hosts cannot fulfil.
func (w Wish) fits(subnet netip.Prefix) error {
	const hint = "leave the flag out, or remove the controller's nspawn machines first"
	if w.Subnet.IsValid() && w.Subnet != subnet {
		return fault.E("network.fits", fault.Precondition, FlagSubnet, fmt.Errorf("this controller's hosts are in %s, not in %s", subnet, w.Subnet)).WithHint(hint)
	}
	if w.IP.IsValid() && !Usable(subnet, w.IP) {
		return fault.E("network.fits", fault.Precondition, FlagIP, fmt.Errorf("%s is no address for a host in %s, where this controller's hosts are", w.IP, subnet)).WithHint(hint)
	}
	return nil
}

// candidates are subnets to try, in an order of the controller's own, so that two seldom want the same.
func candidates(controllerID string) []netip.Prefix {
	sum := sha256.Sum256([]byte(controllerID))
	var list []netip.Prefix
	for _, base := range [][2]byte{{10, 128}, {172, 29}, {192, 168}} {
		for i := range 256 {
			list = append(list, netip.PrefixFrom(netip.AddrFrom4([4]byte{base[0], base[1], byte(i) + sum[0], 0}), 24))
		}
	}
	return list
}

// next picks an address. They go round, so that one is not given again soon after it was someone else's.
func next(subnet netip.Prefix, last netip.Addr, wish Wish, taken map[netip.Addr]string) (netip.Addr, error) {
	if wish.IP.IsValid() {
		if by, ok := taken[wish.IP]; ok {
			return wish.IP, fault.E("network.next", fault.Precondition, FlagIP, fmt.Errorf("the address %s belongs to %q", wish.IP, by)).
				WithHint("choose another with --" + FlagIP)
		}
		return wish.IP, nil
	}
	free := func(ip netip.Addr) bool { _, ok := taken[ip]; return !ok && Usable(subnet, ip) }
	if free(wish.Keep) {
		return wish.Keep, nil
	}
	candidate := last
	for range 1 << (32 - subnet.Bits()) {
		if candidate = candidate.Next(); !subnet.Contains(candidate) {
			candidate = subnet.Addr()
		}
		if free(candidate) {
			return candidate, nil
		}
	}
	return netip.Addr{}, fault.E("network.next", fault.Precondition, "", fmt.Errorf("no address is free in %s", subnet)).WithHint("remove machines that are not needed")
}
