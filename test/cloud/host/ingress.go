//go:build linux

package host

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"mctl/internal/controller/driver/nspawn/system"
	"mctl/test/cloud/lab"
)

// The lab has three chains, called after the bridge of its public network: "-in" is what all that goes to its hosts has to
// pass, with a chain "-in" of each subnet's bridge below it, and "-nat" leads public addresses to private ones, and hosts to
// their metadata.

const metadataAddress = "169.254.169.254"

func (h *Hosts) inChain() string  { return h.public.Bridge() + "-in" }
func (h *Hosts) natChain() string { return h.public.Bridge() + "-nat" }

func (s *subnet) chain() string { return s.network.Bridge() + "-in" }

// addChains makes the lab's own chains, which are empty yet.
func (h *Hosts) addChains(ctx context.Context) error {
	if err := h.restore(ctx, "*nat\n:"+h.natChain()+" - [0:0]\nCOMMIT\n*filter\n:"+h.inChain()+" - [0:0]\nCOMMIT\n"); err != nil {
		return err
	}
	return insert(ctx, [][]string{
		{"nat", "PREROUTING", "-j", h.natChain()},
		{"nat", "OUTPUT", "-j", h.natChain()},
	})
}

// addSubnet leads what goes to a subnet's hosts to its chain, which lets nothing pass at first. Hosts see who really calls.
// Whatever a network brings along for its own hosts' way out comes first in FORWARD, and would let them in to others': so
// the way to our chains is put before it each time, and then the former one is removed.
func (h *Hosts) addSubnet(ctx context.Context, s *subnet) error {
	bridge, former := s.network.Bridge(), h.jumps(h.generation)
	if err := h.restore(ctx, "*filter\n:"+s.chain()+" - [0:0]\n-A "+s.chain()+" -j DROP\n-A "+h.inChain()+" -d "+s.prefix.String()+" ! -o lo -j "+s.chain()+"\nCOMMIT\n"); err != nil {
		return err
	}
	h.generation++
	added := append(h.jumps(h.generation), []string{"nat", "POSTROUTING", "-o", bridge, "-m", "comment", "--comment", bridge, "-j", "ACCEPT"})
	if err := insert(ctx, added); err != nil || h.generation == 1 {
		return err
	}
	for _, r := range former {
		if _, err := system.Run(ctx, "iptables", append([]string{"-w", "-t", r[0], "-D", r[1]}, r[2:]...)...); err != nil {
			return err
		}
	}
	return nil
}

// jumps lead to the lab's chain. The generation tells one time from the next.
func (h *Hosts) jumps(generation int) [][]string {
	mark := fmt.Sprintf("%s-%d", h.public.Bridge(), generation)
	return [][]string{
		{"filter", "FORWARD", "-m", "comment", "--comment", mark, "-j", h.inChain()},
		{"filter", "OUTPUT", "-m", "comment", "--comment", mark, "-j", h.inChain()},
	}
}

func insert(ctx context.Context, rules [][]string) error {
	for _, r := range rules {
		if _, err := system.Run(ctx, "iptables", append([]string{"-w", "-t", r[0], "-I", r[1]}, r[2:]...)...); err != nil {
			return err
		}
	}
	return nil
}

// Enforce makes the chains say what the doors say, all at once.
func (h *Hosts) Enforce(ctx context.Context, doors []lab.Door) error {
	for _, door := range doors {
		if _, err := h.bringUp(ctx, door.Subnet); err != nil {
			return err
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	rules := h.rules(doors)
	if rules == h.enforced {
		return nil
	}
	if err := h.restore(ctx, rules); err != nil {
		return err
	}
	h.enforced = rules
	return nil
}

// restore replaces chains by what the text says.
func (h *Hosts) restore(ctx context.Context, text string) error {
	file := filepath.Join(h.dir, "rules")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return err
	}
	_, err := system.Run(ctx, "iptables-restore", "--wait", "--noflush", file)
	return err
}

// rules spells the doors out for iptables-restore. The caller has the lock.
func (h *Hosts) rules(doors []lab.Door) string {
	var text strings.Builder
	text.WriteString("*nat\n:" + h.natChain() + " - [0:0]\n")
	for _, s := range h.subnetsUp() {
		fmt.Fprintf(&text, "-A %s -i %s -d %s -p tcp --dport 80 -j DNAT --to-destination %s\n", h.natChain(), s.network.Bridge(), metadataAddress, h.metadata.address())
	}
	for _, door := range doors {
		if door.Public.IsValid() {
			fmt.Fprintf(&text, "-A %s -d %s -j DNAT --to-destination %s\n", h.natChain(), door.Public, door.Address)
		}
	}
	text.WriteString("COMMIT\n*filter\n")
	for _, s := range h.subnetsUp() {
		// A redirect would have hosts talk past this computer.
		fmt.Fprintf(&text, ":%[1]s - [0:0]\n-A %[1]s -p icmp --icmp-type redirect -j DROP\n-A %[1]s -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n", s.chain())
		for _, door := range doors {
			if h.subnets[door.Subnet] == s {
				for _, match := range matches(door) {
					fmt.Fprintf(&text, "-A %s %s\n", s.chain(), match)
				}
			}
		}
		fmt.Fprintf(&text, "-A %s -j DROP\n", s.chain())
	}
	text.WriteString("COMMIT\n")
	return text.String()
}

func (h *Hosts) subnetsUp() []*subnet {
	var up []*subnet
	for _, s := range h.subnets {
		if s.up {
			up = append(up, s)
		}
	}
	slices.SortFunc(up, func(a, b *subnet) int { return a.prefix.Addr().Compare(b.prefix.Addr()) })
	return up
}

// matches are the rules of one door.
func matches(door lab.Door) []string {
	var found []string
	for _, foreign := range door.Foreign {
		found = append(found, fmt.Sprintf("-d %s -s %s -j DROP", door.Address, foreign))
	}
	for _, pass := range door.Passes {
		target := "DROP"
		if pass.Allow {
			target = "ACCEPT"
		}
		sources := pass.Sources
		if len(sources) == 0 {
			sources = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")}
		}
		for _, source := range sources {
			if !source.Addr().Is4() {
				continue // there is no such traffic here
			}
			match := fmt.Sprintf("-d %s -s %s", door.Address, source)
			if pass.Protocol != "" {
				match += " -p " + pass.Protocol
			}
			if len(pass.Ports) == 0 {
				found = append(found, match+" -j "+target)
			}
			for _, ports := range pass.Ports {
				found = append(found, fmt.Sprintf("%s --dport %d:%d -j %s", match, ports.First, ports.Last, target))
			}
		}
	}
	return found
}
