package lab

import (
	"context"
	"net/netip"
	"slices"
	"time"
)

// State is where an instance is in its life.
type State string

// The states.
const (
	Pending  State = "pending" // is being made or started
	Running  State = "running"
	Stopping State = "stopping"
	Stopped  State = "stopped"
	Deleting State = "deleting"
)

// Instance is a host, on or off.
type Instance struct {
	Record
	Created, Started, Stopped time.Time // zero for never
	State                     State
	Network, Subnet           Ref
	Tags                      []string // that rules know it by
	Guest                     Guest
	Private                   netip.Addr
	Public                    netip.Addr // invalid while it has none
	HasPublic                 bool       // it gets a public address whenever it is on
	Address                   Ref        // the reserved one that it has then; zero for any, another one each time
	Disks                     []Attachment
	boot                      BootFault
}

// Attachment is a disk of an instance.
type Attachment struct {
	Disk             Ref
	Boot, AutoDelete bool
}

// InstanceSpec is an instance to make. State, times, Private and Public are found out.
type InstanceSpec struct {
	Instance
	Wish  netip.Addr // private address; invalid for any
	Disks []DiskSpec // the first that is Boot is booted from
}

// DiskSpec is a disk of an instance to make.
type DiskSpec struct {
	Disk             // to make, or of which Ref names one that is there
	New              bool
	Boot, AutoDelete bool
}

// bootDisk is what the instance boots from.
func (i Instance) bootDisk() Ref {
	for _, a := range i.Disks {
		if a.Boot {
			return a.Disk
		}
	}
	return Ref{}
}

// CreateInstance makes an instance and turns it on.
func (c *Call) CreateInstance(spec InstanceSpec, o Operation) (Operation, error) {
	l := c.lab
	l.mu.Lock()
	defer l.mu.Unlock()
	i, err := l.admitInstance(spec)
	if err != nil {
		return Operation{}, err
	}
	for n, d := range spec.Disks {
		if d.New {
			d.ID = l.newID()
		} else {
			d.Disk, _ = l.disks.get(d.Ref)
		}
		d.User = i.Ref
		l.disks.put(d.Disk, c.behind)
		i.Disks[n] = Attachment{d.Ref, d.Boot, d.AutoDelete}
	}
	if a, ok := l.addresses.get(i.Address); ok {
		a.User, i.Public = i.Ref, a.IP
		l.addresses.put(a, lag{})
	}
	l.instances.put(i, c.behind)
	return c.operate(o, i.ID, func(ctx context.Context) error {
		return l.powerOn(ctx, i.Ref, c.Boot)
	}, func() {
		created := func(a Attachment) bool {
			return slices.ContainsFunc(spec.Disks, func(d DiskSpec) bool { return d.New && d.Ref == a.Disk })
		}
		_ = l.drop(context.WithoutCancel(l.life), i.Ref, created, lag{})
	}), nil
}

// admitInstance checks a wish and gives the instance its ID and private address. The caller has the lock.
func (l *Lab) admitInstance(spec InstanceSpec) (Instance, error) {
	i := spec.Instance
	if _, taken := l.instances.get(i.Ref); taken {
		return i, refuse(Exists, "the instance %s exists", i.Name)
	}
	subnet, ok := l.subnets.get(i.Subnet)
	if !ok {
		return i, refuse(NotFound, "there is no subnet %s", i.Subnet.Name)
	}
	for _, d := range spec.Disks {
		there, ok := l.disks.get(d.Ref)
		switch {
		case d.New && ok:
			return i, refuse(Exists, "the disk %s exists", d.Name)
		case !d.New && !ok:
			return i, refuse(NotFound, "there is no disk %s", d.Name)
		case !d.New && there.User != Ref{}:
			return i, refuse(InUse, "the disk %s is used by %s", d.Name, there.User.Name)
		}
	}
	if (i.Address != Ref{}) {
		address, ok := l.addresses.get(i.Address)
		switch {
		case !ok:
			return i, refuse(NotFound, "there is no address %s", i.Address.Name)
		case address.User != Ref{}:
			return i, refuse(InUse, "the address %s is used by %s", i.Address.Name, address.User.Name)
		}
	}
	var err error
	if i.Private = spec.Wish; spec.Wish.IsValid() {
		err = subnet.pool.take(spec.Wish)
	} else {
		i.Private, err = subnet.pool.next()
	}
	if err != nil {
		return i, refuse(Invalid, "%s in subnet %s: %s", i.Private, i.Subnet.Name, err)
	}
	i.ID, i.Created, i.State, i.Network = l.newID(), time.Now(), Pending, subnet.Network
	i.Disks = make([]Attachment, len(spec.Disks))
	return i, nil
}

// UpdateInstance changes an instance: its doc, tags and guest. The host follows.
func (c *Call) UpdateInstance(ref Ref, o Operation, change func(*Instance) error) (Operation, error) {
	l := c.lab
	l.mu.Lock()
	defer l.mu.Unlock()
	i, ok := l.instances.get(ref)
	if !ok {
		return Operation{}, refuse(NotFound, "there is no instance %s", ref.Name)
	}
	before := i
	if err := change(&i); err != nil {
		return Operation{}, err
	}
	l.instances.put(i, lag{})
	return c.operate(o, i.ID, func(ctx context.Context) error {
		l.mu.Lock()
		if now, ok := l.instances.get(ref); ok {
			l.hosts.Inform(l.host(now))
		}
		l.mu.Unlock()
		return l.enforce(ctx)
	}, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if now, ok := l.instances.get(ref); ok {
			now.Doc, now.Tags, now.Guest = before.Doc, before.Tags, before.Guest
			l.instances.put(now, lag{})
		}
	}), nil
}

// DeleteInstance turns an instance off and removes it, with the disks that go with it.
func (c *Call) DeleteInstance(ref Ref, o Operation) (Operation, error) {
	return c.onInstance(ref, o, func(ctx context.Context) error {
		return c.lab.drop(ctx, ref, func(a Attachment) bool { return a.AutoDelete }, c.behind)
	})
}

// onInstance begins an operation on an instance that is there.
func (c *Call) onInstance(ref Ref, o Operation, work func(context.Context) error) (Operation, error) {
	l := c.lab
	l.mu.Lock()
	defer l.mu.Unlock()
	i, ok := l.instances.get(ref)
	if !ok {
		return Operation{}, refuse(NotFound, "there is no instance %s", ref.Name)
	}
	return c.operate(o, i.ID, work, nil), nil
}

// Vanish removes an instance behind everybody's back. It may be repeated.
func (l *Lab) Vanish(ctx context.Context, ref Ref) error {
	return l.drop(ctx, ref, func(a Attachment) bool { return a.AutoDelete }, lag{})
}

// drop removes an instance, and of its disks those that go with it.
func (l *Lab) drop(ctx context.Context, ref Ref, disk func(Attachment) bool, behind lag) error {
	release, err := l.power.take(ctx, ref)
	if err != nil {
		return err
	}
	defer release()
	i, ok := l.mark(ref, Deleting)
	if !ok {
		return nil
	}
	if err := l.hosts.Stop(ctx, l.hostOf(i), true); err != nil {
		return err
	}
	l.mu.Lock()
	var erase []uint64
	for _, a := range i.Disks {
		d, _ := l.disks.get(a.Disk)
		if d.User = (Ref{}); disk(a) {
			l.disks.remove(a.Disk, behind)
			erase = append(erase, d.ID)
		} else {
			l.disks.put(d, lag{})
		}
	}
	if a, ok := l.addresses.get(i.Address); ok {
		a.User = Ref{}
		l.addresses.put(a, lag{})
	} else if i.Public.IsValid() {
		l.public.free(i.Public)
	}
	if subnet, ok := l.subnets.get(i.Subnet); ok {
		subnet.pool.free(i.Private)
	}
	l.instances.remove(ref, behind)
	l.mu.Unlock()
	for _, id := range erase {
		if err := l.hosts.Erase(ctx, id); err != nil {
			return err
		}
	}
	return l.enforce(ctx)
}

// mark sets an instance's state.
func (l *Lab) mark(ref Ref, state State) (Instance, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	i, ok := l.instances.get(ref)
	if ok {
		i.State = state
		l.instances.put(i, lag{})
	}
	return i, ok
}

// Instance returns one as callers of the API are told; NotFound when there is none.
func (l *Lab) Instance(ctx context.Context, ref Ref) (Instance, error) {
	l.mu.Lock()
	now, there := l.instances.get(ref)
	l.mu.Unlock()
	if there {
		l.look(ctx, now)
	}
	return told(l, &l.instances, "instance", ref)
}

// Instances lists all as callers of the API are told.
func (l *Lab) Instances(ctx context.Context) []Instance {
	l.mu.Lock()
	all := l.instances.all()
	l.mu.Unlock()
	l.look(ctx, all...)
	return allTold(l, &l.instances)
}

// Console returns what the instance's host has said on its console.
func (l *Lab) Console(instance uint64) string { return l.hosts.Console(instance) }
