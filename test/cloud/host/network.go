//go:build linux

package host

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"mctl/internal/controller/driver/nspawn/network"
	"mctl/internal/controller/driver/nspawn/system"
	"mctl/internal/fault"
)

// subnet is a bridge that hosts are attached to.
type subnet struct {
	network network.Network
	prefix  netip.Prefix
	up      bool
}

// network is one of the lab's, by the name of its record.
func (h *Hosts) network(name string) network.Network {
	return network.Network{
		ControllerID: "lab/" + h.id + "/" + name, Record: filepath.Join(h.dir, "networks", name+".json"), LockFile: networkLock,
	}
}

func nobody() (map[netip.Addr]string, error) { return nil, nil }

// PublicRange brings up the network of the public addresses: a bridge that nothing is attached to, so that this computer
// has an address of its own in it. Whoever dials a public address comes from there.
func (h *Hosts) PublicRange(ctx context.Context) (netip.Prefix, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.outside.IsValid() {
		return h.outside, nil
	}
	seed, err := strconv.ParseUint(h.id[:2], 16, 8)
	if err != nil {
		return netip.Prefix{}, err
	}
	for n := range 256 {
		// The range that is set apart for tests of networks.
		candidate := netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 18, byte(n) + byte(seed), 0}), 24)
		prefix, err := h.public.Join(ctx, network.Wish{Subnet: candidate}, nobody, func(netip.Addr) error { return nil })
		if fault.Is(err, fault.Precondition) {
			continue
		}
		if err != nil {
			return netip.Prefix{}, err
		}
		if err := h.metadata.listen(network.Gateway(prefix)); err != nil {
			return netip.Prefix{}, err
		}
		h.outside = prefix.Masked()
		return h.outside, h.addChains(ctx)
	}
	return netip.Prefix{}, errors.New("198.18.0.0/16 is in use")
}

// SubnetRange chooses a range, which is taken when the first host is started in it.
func (h *Hosts) SubnetRange(ctx context.Context, id uint64, wish netip.Prefix) (netip.Prefix, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := h.network(diskName(id))
	candidates := []netip.Prefix{wish}
	if !wish.IsValid() {
		candidates = candidates[:0]
		seed, err := strconv.ParseUint(h.id[2:4], 16, 8)
		if err != nil {
			return netip.Prefix{}, err
		}
		for i := range 256 {
			candidates = append(candidates, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 200, byte(i) + byte(seed), 0}), 24))
		}
	}
	var err error
	for _, candidate := range candidates {
		if h.planned(candidate) {
			err = fmt.Errorf("the range %s is another subnet's", candidate)
			continue
		}
		if err = n.Check(ctx, network.Wish{Subnet: candidate}, nobody); err == nil {
			h.subnets[id] = &subnet{network: n, prefix: candidate}
			return candidate, nil
		}
	}
	return netip.Prefix{}, err
}

// planned reports whether a subnet has a range, up or not. The caller has the lock.
func (h *Hosts) planned(prefix netip.Prefix) bool {
	for _, s := range h.subnets {
		if s.prefix.Overlaps(prefix) {
			return true
		}
	}
	return false
}

// bringUp makes the bridge of a subnet, and has what goes to its hosts pass the lab's rules.
func (h *Hosts) bringUp(ctx context.Context, id uint64) (*subnet, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.subnets[id]
	if s == nil {
		return nil, fmt.Errorf("there is no subnet %d", id)
	}
	if s.up {
		return s, nil
	}
	if err := s.join(ctx, netip.Addr{}); err != nil {
		return nil, err
	}
	s.up = true
	h.mark(s.network.Bridge())
	return s, h.addSubnet(ctx, s)
}

// join makes the bridge where it is missing, and forgets who had the address before.
func (s *subnet) join(ctx context.Context, address netip.Addr) error {
	_, err := s.network.Join(ctx, network.Wish{Subnet: s.prefix, IP: address}, nobody, func(netip.Addr) error { return nil })
	return err
}

// removeNetworks takes down every network that has a record.
func (h *Hosts) removeNetworks(ctx context.Context) error {
	records, err := os.ReadDir(filepath.Join(h.dir, "networks"))
	for _, record := range records {
		n := h.network(strings.TrimSuffix(record.Name(), ".json"))
		err = errors.Join(err, n.Leave(ctx, func() (bool, error) { return false, nil }), removeChains(ctx, n.Bridge()))
	}
	return err
}

// removeChains removes the chains that carry a bridge's name, and what leads to them.
func removeChains(ctx context.Context, bridge string) error {
	for _, table := range []string{"filter", "nat"} {
		output, err := system.Run(ctx, "iptables", "-w", "-t", table, "-S")
		if err != nil {
			return err
		}
		var chains []string
		for line := range strings.Lines(output) {
			fields := strings.Fields(line)
			switch {
			case len(fields) == 2 && fields[0] == "-N" && strings.HasPrefix(fields[1], bridge+"-"):
				chains = append(chains, fields[1])
			case len(fields) > 2 && fields[0] == "-A" && strings.HasPrefix(fields[len(fields)-1], bridge+"-"):
				fields[0] = "-D"
				if _, err := system.Run(ctx, "iptables", append([]string{"-w", "-t", table}, fields...)...); err != nil {
					return err
				}
			}
		}
		for _, chain := range chains {
			for _, act := range []string{"-F", "-X"} {
				if _, err := system.Run(ctx, "iptables", "-w", "-t", table, act, chain); err != nil {
					return err
				}
			}
		}
	}
	return nil
}
