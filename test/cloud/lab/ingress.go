package lab

import (
	"cmp"
	"context"
	"net/netip"
	"slices"
)

// enforce has the hosts' wires follow the records.
func (l *Lab) enforce(ctx context.Context) error {
	if _, none := l.hosts.(*records); none {
		return nil // spelling it out for ten thousand records would take long
	}
	l.wiring.Lock()
	defer l.wiring.Unlock()
	l.mu.Lock()
	doors := l.doors()
	l.mu.Unlock()
	return l.hosts.Enforce(ctx, doors)
}

// doors says who may come in where. The caller has the lock.
func (l *Lab) doors() []Door {
	instances, rules := l.instances.all(), l.rules.all()
	slices.SortStableFunc(rules, func(a, b Rule) int {
		if order := cmp.Compare(a.Priority, b.Priority); order != 0 || a.Allow == b.Allow {
			return order
		}
		if a.Allow {
			return 1
		}
		return -1
	})
	var doors []Door
	for _, i := range instances {
		if i.State == Stopped {
			continue
		}
		subnet, _ := l.subnets.get(i.Subnet)
		door := Door{Subnet: subnet.ID, Address: i.Private, Public: i.Public}
		for _, other := range l.subnets.all() {
			if other.Network != i.Network {
				door.Foreign = append(door.Foreign, other.Range)
			}
		}
		for _, r := range rules {
			if r.Network == i.Network && !r.Disabled && (len(r.Targets) == 0 || share(r.Targets, i.Tags)) {
				door.Passes = append(door.Passes, r.passes(instances)...)
			}
		}
		doors = append(doors, door)
	}
	return doors
}

// passes spells a rule out for one host.
func (r Rule) passes(instances []Instance) []Pass {
	sources := slices.Clone(r.Sources)
	for _, i := range instances {
		if i.Network == r.Network && share(r.SourceTags, i.Tags) {
			sources = append(sources, netip.PrefixFrom(i.Private, i.Private.BitLen()))
		}
	}
	if len(sources) == 0 && len(r.SourceTags) > 0 {
		return nil
	}
	var passes []Pass
	for _, t := range r.Traffic {
		passes = append(passes, Pass{Allow: r.Allow, Sources: sources, Protocol: t.Protocol, Ports: t.Ports})
	}
	return passes
}

func share(a, b []string) bool {
	return slices.ContainsFunc(a, func(s string) bool { return slices.Contains(b, s) })
}
