//go:build linux

package network

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"

	"mctl/internal/controller/driver/nspawn/system"
	"mctl/internal/fault"
)

const forwarding = "/proc/sys/net/ipv4/ip_forward"

// bringUp makes the bridge and its rules where they are missing, and forgets who had the address before.
func (n Network) bringUp(ctx context.Context, subnet netip.Prefix, address netip.Addr) error {
	bridge := n.Bridge()
	steps := [][]string{{"neigh", "flush", "to", address.String(), "dev", bridge}}
	if subnetOf(bridge) != subnet {
		// A fixed hardware address: else it would follow the bridge's ports, and hosts would lose their gateway.
		sum := sha256.Sum256([]byte(bridge))
		hardware := net.HardwareAddr(append([]byte{0x02}, sum[:5]...)).String()
		if _, err := net.InterfaceByName(bridge); err != nil {
			steps = append(steps[:0], []string{"link", "add", "name", bridge, "address", hardware, "type", "bridge"})
		}
		steps = append(steps, []string{"address", "replace", netip.PrefixFrom(Gateway(subnet), subnet.Bits()).String(), "dev", bridge})
	}
	steps = append(steps, []string{"link", "set", "dev", bridge, "up"})
	for _, step := range steps {
		if _, err := system.Run(ctx, "ip", step...); err != nil {
			return err
		}
	}
	return n.forward(ctx, subnet)
}

// forward lets the hosts out to the network and to each other's engines. The rules come first in FORWARD, whose policy is
// DROP where Docker runs, and carry the bridge's name, by which they are found again.
func (n Network) forward(ctx context.Context, subnet netip.Prefix) error {
	if content, err := os.ReadFile(forwarding); err != nil || strings.TrimSpace(string(content)) != "1" {
		if err := os.WriteFile(forwarding, []byte("1\n"), 0o644); err != nil {
			return fault.E("network.forward", fault.Precondition, "", fmt.Errorf("enable forwarding: %w", err)).WithHint("sysctl -w net.ipv4.ip_forward=1")
		}
	}
	bridge := n.Bridge()
	mark := []string{"-m", "comment", "--comment", bridge}
	for _, rule := range []struct {
		table, chain string
		match        []string
	}{
		{"nat", "POSTROUTING", []string{"-s", subnet.String(), "!", "-o", bridge, "-j", "MASQUERADE"}},
		{"filter", "FORWARD", []string{"-i", bridge, "-j", "ACCEPT"}},
		{"filter", "FORWARD", []string{"-o", bridge, "-m", "conntrack", "--ctstate", "RELATED,ESTABLISHED", "-j", "ACCEPT"}},
	} {
		match := append(append([]string(nil), mark...), rule.match...)
		if _, err := system.Run(ctx, "iptables", append([]string{"-w", "-t", rule.table, "-C", rule.chain}, match...)...); err == nil {
			continue
		}
		if _, err := system.Run(ctx, "iptables", append([]string{"-w", "-t", rule.table, "-I", rule.chain}, match...)...); err != nil {
			return err
		}
	}
	return nil
}

// takeDown removes the bridge and the rules. Forwarding stays on: somebody else may have come to rely on it.
func (n Network) takeDown(ctx context.Context) error {
	if _, err := net.InterfaceByName(n.Bridge()); err == nil {
		if _, err := system.Run(ctx, "ip", "link", "delete", "dev", n.Bridge()); err != nil {
			return err
		}
	}
	return n.removeRules(ctx)
}

// removeRules deletes every rule that carries the bridge's name.
func (n Network) removeRules(ctx context.Context) error {
	for _, place := range [][2]string{{"nat", "POSTROUTING"}, {"filter", "FORWARD"}} {
		output, err := system.Run(ctx, "iptables", "-w", "-t", place[0], "-S", place[1])
		if err != nil {
			return err
		}
		for line := range strings.Lines(output) {
			fields := strings.Fields(strings.ReplaceAll(line, `"`, ""))
			if len(fields) < 2 || fields[0] != "-A" || !strings.Contains(line, "--comment "+n.Bridge()) && !strings.Contains(line, `--comment "`+n.Bridge()) {
				continue
			}
			fields[0] = "-D"
			if _, err := system.Run(ctx, "iptables", append([]string{"-w", "-t", place[0]}, fields...)...); err != nil {
				return err
			}
		}
	}
	return nil
}

// subnetOf is the subnet of a bridge that is there; invalid when it is not.
func subnetOf(name string) netip.Prefix {
	link, err := net.InterfaceByName(name)
	if err != nil {
		return netip.Prefix{}
	}
	addresses, err := link.Addrs()
	if err != nil {
		return netip.Prefix{}
	}
	for _, address := range addresses {
		if prefix, err := netip.ParsePrefix(address.String()); err == nil && prefix.Addr().Is4() {
			return prefix.Masked()
		}
	}
	return netip.Prefix{}
}

// usedSubnets are those of every interface and every route but the default.
func usedSubnets(ctx context.Context) ([]netip.Prefix, error) {
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return nil, err
	}
	var used []netip.Prefix
	for _, address := range addresses {
		if prefix, err := netip.ParsePrefix(address.String()); err == nil && prefix.Addr().Is4() {
			used = append(used, prefix.Masked())
		}
	}
	output, err := system.Run(ctx, "ip", "-4", "-json", "route", "show", "table", "all")
	if err != nil {
		return nil, err
	}
	routes, err := parseRoutes([]byte(output))
	return append(used, routes...), err
}

// parseRoutes reads the destinations that `ip -json route` lists; a default route is none.
func parseRoutes(output []byte) ([]netip.Prefix, error) {
	var routes []struct {
		Destination string `json:"dst"`
	}
	if len(output) > 0 {
		if err := json.Unmarshal(output, &routes); err != nil {
			return nil, fmt.Errorf("routes: %w", err)
		}
	}
	var found []netip.Prefix
	for _, route := range routes {
		prefix, err := netip.ParsePrefix(route.Destination)
		if single, singleErr := netip.ParseAddr(route.Destination); singleErr == nil {
			prefix, err = netip.PrefixFrom(single, single.BitLen()), nil
		}
		if err == nil && prefix.Bits() > 0 {
			found = append(found, prefix.Masked())
		}
	}
	return found, nil
}
