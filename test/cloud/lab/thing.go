package lab

import (
	"context"
	"net/netip"
	"slices"
)

var none netip.Addr

// Disk is what instances boot from and keep things on.
type Disk struct {
	Record
	User Ref // the instance that it is attached to; zero for none
}

// Address is a reserved public address.
type Address struct {
	Record
	IP   netip.Addr
	User Ref // the instance that has it; zero for none
}

// Network is what instances reach each other in.
type Network struct{ Record }

// Subnet is a range of a network. Instances are in subnets.
type Subnet struct {
	Record
	Network Ref
	Range   netip.Prefix // one that is invalid when the subnet is made is chosen
	pool    *pool
}

// Rule lets traffic come in to instances of a network, or keeps it out. Without a rule nothing comes in.
type Rule struct {
	Record
	Network    Ref
	Priority   int // the lowest decides; of equals, the one that keeps out
	Allow      bool
	Disabled   bool
	Traffic    []Pass         // protocols and ports
	Sources    []netip.Prefix // none and no SourceTags for everywhere
	SourceTags []string       // instances that have one of them
	Targets    []string       // tags, any of which an instance must have; none for all
}

// CreateDisk makes a disk that no instance has.
func (c *Call) CreateDisk(d Disk, o Operation) (Operation, error) {
	d.User = Ref{}
	return create(c, &c.lab.disks, "disk", &d, &d.Record, o, nil)
}

// UpdateDisk changes a disk's doc.
func (c *Call) UpdateDisk(ref Ref, o Operation, change func(*Disk) error) (Operation, error) {
	return update(c, &c.lab.disks, "disk", ref, o, change)
}

// DeleteDisk removes a disk that no instance has.
func (c *Call) DeleteDisk(ref Ref, o Operation) (Operation, error) {
	l := c.lab
	return remove(c, &l.disks, "disk", ref, o, func(d Disk) error { return unused(d.User, "disk", ref) },
		func(ctx context.Context, d Disk) error { return l.hosts.Erase(ctx, d.ID) })
}

// ReserveAddress reserves the next public address.
func (c *Call) ReserveAddress(a Address, o Operation) (Operation, error) {
	l := c.lab
	return create(c, &l.addresses, "address", &a, &a.Record, o, func() error {
		var err error
		if a.IP, err = l.public.next(); err != nil {
			return refuse(Quota, "public addresses: %s", err)
		}
		return nil
	})
}

// UpdateAddress changes an address's doc.
func (c *Call) UpdateAddress(ref Ref, o Operation, change func(*Address) error) (Operation, error) {
	return update(c, &c.lab.addresses, "address", ref, o, change)
}

// ReleaseAddress gives back an address that no instance has.
func (c *Call) ReleaseAddress(ref Ref, o Operation) (Operation, error) {
	l := c.lab
	return remove(c, &l.addresses, "address", ref, o, func(a Address) error { return unused(a.User, "address", ref) },
		func(_ context.Context, a Address) error {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.public.free(a.IP)
			return nil
		})
}

// CreateNetwork makes a network without subnets and rules.
func (c *Call) CreateNetwork(n Network, o Operation) (Operation, error) {
	return create(c, &c.lab.networks, "network", &n, &n.Record, o, nil)
}

// DeleteNetwork removes a network. Subnets and rules must be gone.
func (c *Call) DeleteNetwork(ref Ref, o Operation) (Operation, error) {
	l := c.lab
	return remove(c, &l.networks, "network", ref, o, func(Network) error {
		if slices.ContainsFunc(l.subnets.all(), func(s Subnet) bool { return s.Network == ref }) ||
			slices.ContainsFunc(l.rules.all(), func(r Rule) bool { return r.Network == ref }) {
			return refuse(InUse, "the network %s has subnets or rules", ref.Name)
		}
		return nil
	}, nil)
}

// CreateSubnet makes a subnet. A range that overlaps another one's, or one that this computer has, is Invalid.
func (c *Call) CreateSubnet(s Subnet, o Operation) (Operation, error) {
	l := c.lab
	return create(c, &l.subnets, "subnet", &s, &s.Record, o, func() error {
		if _, ok := l.networks.get(s.Network); !ok {
			return refuse(NotFound, "there is no network %s", s.Network.Name)
		}
		var err error
		if s.Range, err = l.hosts.SubnetRange(l.life, s.ID, s.Range); err != nil {
			return refuse(Invalid, "%s", err)
		}
		for _, other := range l.subnets.all() {
			if other.Network == s.Network && other.Range.Overlaps(s.Range) {
				return refuse(Invalid, "the range %s overlaps that of subnet %s", s.Range, other.Name)
			}
		}
		p := newPool(s.Range)
		s.pool = &p
		return nil
	})
}

// DeleteSubnet removes a subnet without instances.
func (c *Call) DeleteSubnet(ref Ref, o Operation) (Operation, error) {
	l := c.lab
	return remove(c, &l.subnets, "subnet", ref, o, func(Subnet) error {
		if slices.ContainsFunc(l.instances.all(), func(i Instance) bool { return i.Subnet == ref }) {
			return refuse(InUse, "the subnet %s has instances", ref.Name)
		}
		return nil
	}, nil)
}

// CreateRule makes a rule, which is enforced when the operation ends.
func (c *Call) CreateRule(r Rule, o Operation) (Operation, error) {
	l := c.lab
	return create(c, &l.rules, "rule", &r, &r.Record, o, func() error {
		if _, ok := l.networks.get(r.Network); !ok {
			return refuse(NotFound, "there is no network %s", r.Network.Name)
		}
		return nil
	})
}

// UpdateRule changes a rule.
func (c *Call) UpdateRule(ref Ref, o Operation, change func(*Rule) error) (Operation, error) {
	return update(c, &c.lab.rules, "rule", ref, o, change)
}

// DeleteRule removes a rule.
func (c *Call) DeleteRule(ref Ref, o Operation) (Operation, error) {
	l := c.lab
	return remove(c, &l.rules, "rule", ref, o, func(Rule) error { return nil }, func(ctx context.Context, _ Rule) error { return l.enforce(ctx) })
}

// create records a thing. prepare, if any, completes it, or refuses.
func create[T interface{ record() Record }](c *Call, t *table[T], kind string, value *T, record *Record, o Operation, prepare func() error) (Operation, error) {
	l := c.lab
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, taken := t.get(record.Ref); taken {
		return Operation{}, refuse(Exists, "the %s %s exists", kind, record.Name)
	}
	record.ID = l.newID()
	if prepare != nil {
		if err := prepare(); err != nil {
			return Operation{}, err
		}
	}
	t.put(*value, c.behind)
	ref := record.Ref
	return c.operate(o, record.ID, l.enforce, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if a, ok := any(*value).(Address); ok {
			l.public.free(a.IP)
		}
		t.remove(ref, lag{})
	}), nil
}

// update changes a thing, and changes it back when the operation fails.
func update[T interface{ record() Record }](c *Call, t *table[T], kind string, ref Ref, o Operation, change func(*T) error) (Operation, error) {
	l := c.lab
	l.mu.Lock()
	defer l.mu.Unlock()
	value, ok := t.get(ref)
	if !ok {
		return Operation{}, refuse(NotFound, "there is no %s %s", kind, ref.Name)
	}
	before := value
	if err := change(&value); err != nil {
		return Operation{}, err
	}
	t.put(value, lag{})
	return c.operate(o, value.record().ID, l.enforce, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if _, ok := t.get(ref); ok {
			t.put(before, lag{})
		}
	}), nil
}

// remove removes a thing unless check refuses, and then does the rest.
func remove[T interface{ record() Record }](c *Call, t *table[T], kind string, ref Ref, o Operation, check func(T) error, rest func(context.Context, T) error) (Operation, error) {
	l := c.lab
	l.mu.Lock()
	defer l.mu.Unlock()
	value, ok := t.get(ref)
	if !ok {
		return Operation{}, refuse(NotFound, "there is no %s %s", kind, ref.Name)
	}
	if err := check(value); err != nil {
		return Operation{}, err
	}
	return c.operate(o, value.record().ID, func(ctx context.Context) error {
		l.mu.Lock()
		now, ok := t.get(ref)
		err := error(nil)
		if ok {
			if err = check(now); err == nil {
				t.remove(ref, c.behind)
			}
		}
		l.mu.Unlock()
		if !ok || err != nil || rest == nil {
			return err
		}
		return rest(ctx, now)
	}, nil), nil
}

func unused(user Ref, kind string, ref Ref) error {
	if (user != Ref{}) {
		return refuse(InUse, "the %s %s is used by %s", kind, ref.Name, user.Name)
	}
	return nil
}
