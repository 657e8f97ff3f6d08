package lab

import (
	"cmp"
	"slices"
)

// Thing is something that exists in a cloud.
type Thing struct {
	Kind string
	Ref
	ID    uint64
	Given bool // was there from the start
}

// Everything lists what exists, as it is and not as it is told, the oldest first.
func (l *Lab) Everything() []Thing {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []Thing
	add := func(kind string, r Record) {
		all = append(all, Thing{Kind: kind, Ref: r.Ref, ID: r.ID, Given: l.given[r.ID]})
	}
	for _, x := range l.instances.all() {
		add("instance", x.Record)
	}
	for _, x := range l.disks.all() {
		add("disk", x.Record)
	}
	for _, x := range l.addresses.all() {
		add("address", x.Record)
	}
	for _, x := range l.networks.all() {
		add("network", x.Record)
	}
	for _, x := range l.subnets.all() {
		add("subnet", x.Record)
	}
	for _, x := range l.rules.all() {
		add("rule", x.Record)
	}
	slices.SortFunc(all, func(a, b Thing) int { return cmp.Compare(a.ID, b.ID) })
	return all
}

// Leftovers lists what exists and was not there from the start.
func (l *Lab) Leftovers() []Thing {
	return slices.DeleteFunc(l.Everything(), func(t Thing) bool { return t.Given })
}
