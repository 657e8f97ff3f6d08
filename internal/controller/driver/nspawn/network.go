//go:build linux

package nspawn

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"

	"github.com/google/renameio/v2"

	"mctl/internal/fault"
)

// network is what one controller's hosts share. Its record keeps the subnet the same, and addresses moving on.
type network struct {
	Subnet netip.Prefix `json:"subnet"`
	Last   netip.Addr   `json:"last"` // handed out last
}

// bridge is the name of the controller's own end.
func (d *Driver) bridge() string { return shortName(10, d.config.ControllerID) }

func (d *Driver) recordPath() string { return filepath.Join(d.config.StateDir, "network.json") }

func (d *Driver) record() (network, error) {
	var n network
	content, err := os.ReadFile(d.recordPath())
	if errors.Is(err, fs.ErrNotExist) {
		return n, nil
	}
	if err == nil {
		err = json.Unmarshal(content, &n)
	}
	return n, err
}

func (d *Driver) saveRecord(n network) error {
	content, err := json.Marshal(n)
	if err != nil {
		return err
	}
	return renameio.WriteFile(d.recordPath(), content, 0o600)
}

// join brings the controller's network up where it is not, and gives the host an address in it: keep, or the pinned one,
// or the next that is free.
func (d *Driver) join(ctx context.Context, h *host, s settings, keep netip.Addr) (netip.Prefix, error) {
	lock, err := lockFile(ctx, d.config.LockFile, nil)
	if err != nil {
		return netip.Prefix{}, err
	}
	defer lock.Close()
	n, err := d.record()
	if err != nil {
		return netip.Prefix{}, err
	}
	if err := d.choose(ctx, &n, s); err != nil {
		return netip.Prefix{}, err
	}
	address, err := d.address(n, h, s, keep)
	if err != nil {
		return netip.Prefix{}, err
	}
	// Written before the bridge is made: what a crash leaves on the computer is found again by its name.
	n.Last = address
	if err := d.saveRecord(n); err != nil {
		return netip.Prefix{}, err
	}
	if err := h.write("address", []byte(address.String()+"\n")); err != nil {
		return netip.Prefix{}, err
	}
	return netip.PrefixFrom(address, n.Subnet.Bits()), d.bringUp(ctx, n.Subnet, address)
}

// choose settles the subnet: that of the bridge if it is up, the recorded one if it still is free, else another.
func (d *Driver) choose(ctx context.Context, n *network, s settings) error {
	if up := bridgeSubnet(d.bridge()); up.IsValid() {
		n.Subnet = up
		return s.fits(up)
	}
	used, err := usedSubnets(ctx)
	if err != nil {
		return err
	}
	wish := s.subnet
	if !wish.IsValid() && s.ip.IsValid() && !n.Subnet.IsValid() {
		wish = netip.PrefixFrom(s.ip, 24).Masked()
	}
	if wish.IsValid() {
		if other := overlapping(used, wish); other.IsValid() {
			return fault.E("nspawn.choose", fault.Precondition, wish.String(), fmt.Errorf("the network %s is in use: %s", wish, other)).
				WithHint("choose another with --" + flagSubnet)
		}
		n.Subnet = wish
		return s.fits(wish)
	}
	if n.Subnet.IsValid() && !overlapping(used, n.Subnet).IsValid() {
		return s.fits(n.Subnet)
	}
	for _, candidate := range candidates(d.config.ControllerID) {
		if !overlapping(used, candidate).IsValid() {
			n.Subnet = candidate
			return s.fits(candidate)
		}
	}
	return fault.New("nspawn.choose", fault.Precondition, "", "no network is free for the hosts").
		WithHint("name one with --" + flagSubnet)
}

// fits refuses wishes that the network of the controller's hosts cannot fulfil.
func (s settings) fits(subnet netip.Prefix) error {
	hint := "leave the flag out, or remove the controller's nspawn machines first"
	if s.subnet.IsValid() && s.subnet != subnet {
		return fault.E("nspawn.fits", fault.Precondition, flagSubnet, fmt.Errorf("this controller's hosts are in %s, not in %s", subnet, s.subnet)).WithHint(hint)
	}
	if s.ip.IsValid() && !usable(subnet, s.ip) {
		return fault.E("nspawn.fits", fault.Precondition, flagIP, fmt.Errorf("%s is no address for a host in %s, where this controller's hosts are", s.ip, subnet)).WithHint(hint)
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

func overlapping(used []netip.Prefix, subnet netip.Prefix) netip.Prefix {
	if i := slices.IndexFunc(used, subnet.Overlaps); i >= 0 {
		return used[i]
	}
	return netip.Prefix{}
}

// usedSubnets are those of every interface and every route but the default.
func usedSubnets(ctx context.Context) ([]netip.Prefix, error) {
	var used []netip.Prefix
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return nil, err
	}
	for _, address := range addresses {
		if prefix, err := netip.ParsePrefix(address.String()); err == nil && prefix.Addr().Is4() {
			used = append(used, prefix.Masked())
		}
	}
	output, err := run(ctx, "ip", "-4", "-json", "route", "show", "table", "all")
	if err != nil {
		return nil, err
	}
	var routes []struct {
		Destination string `json:"dst"`
	}
	if output != "" {
		if err := json.Unmarshal([]byte(output), &routes); err != nil {
			return nil, fmt.Errorf("routes: %w", err)
		}
	}
	for _, route := range routes {
		prefix, err := netip.ParsePrefix(route.Destination)
		if single, singleErr := netip.ParseAddr(route.Destination); singleErr == nil {
			prefix, err = netip.PrefixFrom(single, single.BitLen()), nil
		}
		if err == nil && prefix.Bits() > 0 {
			used = append(used, prefix.Masked())
		}
	}
	return used, nil
}

// address picks the host's address. What other hosts have or have pinned is not free.
func (d *Driver) address(n network, h *host, s settings, keep netip.Addr) (netip.Addr, error) {
	hosts, err := d.hosts()
	if err != nil {
		return netip.Addr{}, err
	}
	taken := map[netip.Addr]string{}
	for _, other := range hosts {
		if other.dir == h.dir {
			continue
		}
		if address := other.address(); address.IsValid() {
			taken[address] = other.Name
		}
		if pinned, err := netip.ParseAddr(other.Pinned); err == nil {
			taken[pinned] = other.Name
		}
	}
	if s.ip.IsValid() {
		if by, ok := taken[s.ip]; ok {
			return s.ip, fault.E("nspawn.address", fault.Precondition, flagIP, fmt.Errorf("the address %s belongs to %s", s.ip, by)).WithHint("choose another with --" + flagIP)
		}
		return s.ip, nil
	}
	if usable(n.Subnet, keep) && taken[keep] == "" {
		return keep, nil
	}
	candidate := n.Last
	for range 1 << (32 - n.Subnet.Bits()) {
		if candidate = candidate.Next(); !n.Subnet.Contains(candidate) {
			candidate = gateway(n.Subnet).Next()
		}
		if usable(n.Subnet, candidate) && taken[candidate] == "" {
			return candidate, nil
		}
	}
	return netip.Addr{}, fault.E("nspawn.address", fault.Precondition, "", fmt.Errorf("no address is free in %s", n.Subnet)).WithHint("remove machines that are not needed")
}
