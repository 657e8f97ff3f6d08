package lab

import (
	"context"
	"time"
)

// StartInstance turns an instance on. One that is on is success.
func (c *Call) StartInstance(ref Ref, o Operation) (Operation, error) {
	return c.onInstance(ref, o, func(ctx context.Context) error { return c.lab.powerOn(ctx, ref, c.Boot) })
}

// StopInstance turns an instance off: friendly unless forced. One that is off is success.
func (c *Call) StopInstance(ref Ref, force bool, o Operation) (Operation, error) {
	return c.onInstance(ref, o, func(ctx context.Context) error { return c.lab.powerOff(ctx, ref, force) })
}

// ResetInstance cuts an instance's power and turns it on again, at the same addresses.
func (c *Call) ResetInstance(ref Ref, o Operation) (Operation, error) {
	return c.onInstance(ref, o, func(ctx context.Context) error { return c.lab.reset(ctx, ref, c.Boot) })
}

// CutPower turns an instance off behind everybody's back, as a cloud does that needs the room.
func (l *Lab) CutPower(ctx context.Context, ref Ref) error { return l.powerOff(ctx, ref, true) }

func (l *Lab) powerOn(ctx context.Context, ref Ref, boot BootFault) error {
	release, err := l.power.take(ctx, ref)
	if err != nil {
		return err
	}
	defer release()
	host, err := l.wake(ref, boot)
	if host == nil || err != nil {
		return err
	}
	err = l.enforce(ctx) // before it asks who it is
	if err == nil {
		err = l.hosts.Start(ctx, *host)
	}
	if err != nil {
		l.rest(ref)
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	i, _ := l.instances.get(ref)
	i.State, i.Started = Running, time.Now()
	l.instances.put(i, lag{})
	return nil
}

// wake gives an instance that is off what it needs to be on; nil when it is on.
func (l *Lab) wake(ref Ref, boot BootFault) (*Host, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	i, ok := l.instances.get(ref)
	if !ok {
		return nil, refuse(NotFound, "there is no instance %s", ref.Name)
	}
	if i.State == Running {
		return nil, nil
	}
	if i.HasPublic && !i.Public.IsValid() {
		var err error
		if i.Public, err = l.public.next(); err != nil {
			return nil, refuse(Quota, "public addresses: %s", err)
		}
	}
	i.State, i.boot = Pending, boot
	l.instances.put(i, lag{})
	host := l.host(i)
	return &host, nil
}

func (l *Lab) powerOff(ctx context.Context, ref Ref, force bool) error {
	release, err := l.power.take(ctx, ref)
	if err != nil {
		return err
	}
	defer release()
	i, ok := l.mark(ref, Stopping)
	if !ok {
		return refuse(NotFound, "there is no instance %s", ref.Name)
	}
	if err := l.hosts.Stop(ctx, l.hostOf(i), force); err != nil {
		l.mark(ref, Running)
		return err
	}
	l.rest(ref)
	return l.enforce(ctx)
}

// rest records that an instance is off: its public address is free then, unless it is reserved.
func (l *Lab) rest(ref Ref) {
	l.mu.Lock()
	defer l.mu.Unlock()
	i, ok := l.instances.get(ref)
	if !ok {
		return
	}
	if (i.Address == Ref{}) && i.Public.IsValid() {
		l.public.free(i.Public)
		i.Public = none
	}
	i.State, i.Stopped = Stopped, time.Now()
	l.instances.put(i, lag{})
}

func (l *Lab) reset(ctx context.Context, ref Ref, boot BootFault) error {
	release, err := l.power.take(ctx, ref)
	if err != nil {
		return err
	}
	defer release()
	l.mu.Lock()
	i, ok := l.instances.get(ref)
	if i.boot = boot; ok {
		l.instances.put(i, lag{})
	}
	host := l.host(i)
	l.mu.Unlock()
	switch {
	case !ok:
		return refuse(NotFound, "there is no instance %s", ref.Name)
	case i.State != Running:
		return refuse(Invalid, "the instance %s is not running", ref.Name)
	}
	if err := l.hosts.Stop(ctx, host, true); err != nil {
		return err
	}
	return l.hosts.Start(ctx, host)
}

// look finds out whether hosts have turned themselves off.
func (l *Lab) look(ctx context.Context, instances ...Instance) {
	for _, i := range instances {
		if i.State != Running {
			continue
		}
		// One whose power is being changed is known about.
		if release, _ := l.power.try(i.Ref); release != nil {
			if on, err := l.hosts.Running(ctx, l.hostOf(i)); err == nil && !on {
				l.rest(i.Ref)
			}
			release()
		}
	}
}

func (l *Lab) hostOf(i Instance) Host {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.host(i)
}

// host is an instance as something to run. The caller has the lock.
func (l *Lab) host(i Instance) Host {
	disk, _ := l.disks.get(i.bootDisk())
	subnet, _ := l.subnets.get(i.Subnet)
	return Host{
		Instance: i.ID, Disk: disk.ID, Subnet: subnet.ID, Range: subnet.Range, Address: i.Private, Guest: i.Guest, Boot: i.boot,
	}
}
