package google

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/api/compute/v1"

	"mctl/internal/controller/driver"
	"mctl/internal/controller/driver/google/cloud"
	"mctl/internal/controller/driver/google/spec"
	"mctl/internal/fault"
)

// Create makes the instance and what it needs, or finds what an earlier call made.
func (d *Driver) Create(ctx context.Context, m driver.Machine) (driver.Instance, error) {
	p := progressOf(m)
	made, err := d.create(ctx, m, &p)
	made.State = p.state()
	return made, err
}

func (d *Driver) create(ctx context.Context, m driver.Machine, p *progress) (driver.Instance, error) {
	c, err := d.call(ctx, m)
	if err != nil {
		return driver.Instance{}, err
	}
	if err := spec.CheckName(m, c.Spec); err != nil {
		return driver.Instance{}, err
	}
	if err := c.learnNetwork(ctx); err != nil {
		return driver.Instance{}, err
	}
	defer c.useRules()()
	var found *compute.Instance
	if c.Existing {
		err = c.takeOver(ctx)
	} else {
		found, err = c.make(ctx, p)
	}
	if err != nil {
		return driver.Instance{}, err
	}
	c.m.State = p.state()
	if found, err = c.turnOn(ctx, found); err != nil {
		return driver.Instance{ID: m.Name}, err
	}
	return c.told(found), nil
}

// parts are what an instance is put together from.
type parts struct {
	instance *compute.Instance // nil when there is none yet
	disk     string            // one of ours that an earlier call left; empty for none
	address  string            // static external address; empty for none
}

// make finds or makes the instance. It may not run yet.
func (c *call) make(ctx context.Context, p *progress) (*compute.Instance, error) {
	found, err := c.parts(ctx)
	if err != nil {
		return nil, err
	}
	if found.instance != nil {
		return found.instance, c.mine(found.instance)
	}
	c.warn(ctx)
	for range maxAttempts {
		made, again, err := c.insert(ctx, found, p)
		if !again {
			return made, err
		}
	}
	return nil, fault.E("google.make", fault.Unavailable, c.m.Name, fmt.Errorf("the instance %q is made and gone again and again", c.m.Name))
}

// maxAttempts bounds the request ids that one call goes through. Only a machine that lost its state needs more than one.
const maxAttempts = 10

// insert makes the instance under the present request id. The API remembers an id for long: where it answers with an operation that
// had ended before, and there is no instance, the next id is to be tried.
func (c *call) insert(ctx context.Context, found parts, p *progress) (made *compute.Instance, again bool, err error) {
	op, err := c.Begin(ctx, p.requestID(c.m), func(ctx context.Context, id string) (*compute.Operation, error) {
		return c.Instances.Insert(c.Project, c.Zone, c.Instance(c.m, found.disk, found.address)).RequestId(id).Context(ctx).Do()
	})
	if fault.Is(err, fault.Unavailable) {
		return nil, false, err // the same request id finds out what came of it
	}
	old := err == nil && cloud.Ended(op)
	if err == nil {
		p.Insert = op.Name
		if op, err = c.End(ctx, op); err != nil {
			return nil, false, err
		}
		err = cloud.Failure(op)
	}
	if err == nil {
		return c.appear(ctx, op, old, p)
	}
	p.Attempt++
	p.Insert = ""
	if fault.Is(err, fault.Exists) {
		// Something of the name came between: the next call finds what it is.
		return nil, false, fault.E("google.insert", fault.Conflict, c.m.Name, err)
	}
	return nil, old && p.Attempt < maxAttempts, c.elsewhere(ctx, err)
}

// parts looks for everything at once, and makes the firewall rules and the address where they are missing.
func (c *call) parts(ctx context.Context) (parts, error) {
	var found parts
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return c.ensureRules(ctx) })
	group.Go(func() error { c.warnings(ctx); return nil }) // they are remembered
	group.Go(func() (err error) { found.address, err = c.staticAddress(ctx); return err })
	group.Go(func() (err error) { found.disk, err = c.disk(ctx); return err })
	group.Go(func() error {
		instance, err := c.instance(ctx)
		if fault.Is(err, fault.NotFound) {
			return nil
		}
		found.instance = instance
		return err
	})
	return found, group.Wait()
}

// mine refuses an instance of our name that somebody else made.
func (c *call) mine(i *compute.Instance) error {
	if spec.Owns(c.m, i.Labels) {
		return nil
	}
	return taken("instance", i.Name, c.Zone, i.Labels)
}

func taken(kind, name, zone string, labels map[string]string) error {
	hint := "choose another name, or take the instance over with --" + spec.FlagExisting
	if labels[spec.LabelController] != "" {
		hint = "choose another name; `mctl orphans` lists what this controller left behind"
	}
	return fault.E("google", fault.Precondition, name, fmt.Errorf("there is a %s %q in %s already", kind, name, zone)).WithHint(hint)
}

// appear waits until an instance whose making has ended is to be seen. One that does not appear was taken away again, and is made
// anew under another request id.
func (c *call) appear(ctx context.Context, op *compute.Operation, old bool, p *progress) (made *compute.Instance, again bool, err error) {
	limit := time.Now().Add(c.Limits.Settle)
	if old {
		limit = c.settled(op)
	}
	for {
		found, err := c.instance(ctx)
		if err == nil {
			return found, false, c.mine(found)
		}
		if !fault.Is(err, fault.NotFound) {
			return nil, false, err
		}
		if time.Now().After(limit) {
			p.Attempt++
			p.Insert = ""
			return nil, true, nil
		}
		if err := cloud.Pause(ctx, c.Limits.Pause); err != nil {
			return nil, false, fault.E("google.appear", fault.Unavailable, c.m.Name, err)
		}
	}
}

// settled is from when on an operation's doing is to be seen by everybody.
func (c *call) settled(op *compute.Operation) time.Time {
	ended, err := time.Parse(time.RFC3339, op.EndTime)
	if err != nil {
		ended = time.Now()
	}
	return ended.Add(c.Limits.Settle)
}
