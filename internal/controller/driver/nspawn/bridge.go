//go:build linux

package nspawn

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"

	"mctl/internal/fault"
)

const forwarding = "/proc/sys/net/ipv4/ip_forward"

// bringUp makes the bridge and its rules where they are missing, and forgets who had the address before.
func (d *Driver) bringUp(ctx context.Context, subnet netip.Prefix, address netip.Addr) error {
	bridge := d.bridge()
	steps := [][]string{{"neigh", "flush", "to", address.String(), "dev", bridge}}
	if bridgeSubnet(bridge) != subnet {
		// A fixed hardware address: else it would follow the bridge's ports, and hosts would lose their gateway.
		sum := sha256.Sum256([]byte(bridge))
		hardware := net.HardwareAddr(append([]byte{0x02}, sum[:5]...)).String()
		if _, err := net.InterfaceByName(bridge); err != nil {
			steps = append(steps[:0], []string{"link", "add", "name", bridge, "address", hardware, "type", "bridge"})
		}
		steps = append(steps, []string{"address", "replace", netip.PrefixFrom(gateway(subnet), subnet.Bits()).String(), "dev", bridge})
	}
	steps = append(steps, []string{"link", "set", "dev", bridge, "up"})
	for _, step := range steps {
		if _, err := run(ctx, "ip", step...); err != nil {
			return err
		}
	}
	return d.forward(ctx, subnet)
}

// forward lets the hosts out to the network and to each other's engines. The rules come first in FORWARD, whose policy is
// DROP where Docker runs, and carry the bridge's name, by which they are found again.
func (d *Driver) forward(ctx context.Context, subnet netip.Prefix) error {
	if content, err := os.ReadFile(forwarding); err != nil || strings.TrimSpace(string(content)) != "1" {
		if err := os.WriteFile(forwarding, []byte("1\n"), 0o644); err != nil {
			return fault.E("nspawn.forward", fault.Precondition, "", fmt.Errorf("enable forwarding: %w", err)).WithHint("sysctl -w net.ipv4.ip_forward=1")
		}
	}
	bridge := d.bridge()
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
		if _, err := run(ctx, "iptables", append([]string{"-w", "-t", rule.table, "-C", rule.chain}, match...)...); err == nil {
			continue
		}
		if _, err := run(ctx, "iptables", append([]string{"-w", "-t", rule.table, "-I", rule.chain}, match...)...); err != nil {
			return err
		}
	}
	return nil
}

// leave takes the network down when the controller has no host any more.
func (d *Driver) leave(ctx context.Context) error {
	lock, err := lockFile(ctx, d.config.LockFile, nil)
	if err != nil {
		return err
	}
	defer lock.Close()
	hosts, err := d.hosts()
	if err != nil || len(hosts) > 0 {
		return err
	}
	if _, err := net.InterfaceByName(d.bridge()); err == nil {
		if _, err := run(ctx, "ip", "link", "delete", "dev", d.bridge()); err != nil {
			return err
		}
	}
	return d.removeRules(ctx)
}

// removeRules deletes every rule that carries the bridge's name.
func (d *Driver) removeRules(ctx context.Context) error {
	for _, place := range [][2]string{{"nat", "POSTROUTING"}, {"filter", "FORWARD"}} {
		output, err := run(ctx, "iptables", "-w", "-t", place[0], "-S", place[1])
		if err != nil {
			return err
		}
		for line := range strings.Lines(output) {
			fields := strings.Fields(strings.ReplaceAll(line, `"`, ""))
			if len(fields) < 2 || fields[0] != "-A" || !strings.Contains(line, "--comment "+d.bridge()) && !strings.Contains(line, `--comment "`+d.bridge()) {
				continue
			}
			fields[0] = "-D"
			if _, err := run(ctx, "iptables", append([]string{"-w", "-t", place[0]}, fields...)...); err != nil {
				return err
			}
		}
	}
	return nil
}

// bridgeSubnet is the subnet of a bridge that is there; invalid when it is not.
func bridgeSubnet(name string) netip.Prefix {
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
