// Package google makes hosts on Google Compute Engine. An instance, its disk, its address and the controller's firewall rules are
// found by name and label before they are made, so that whatever was cut short is gone on with.
package google

import (
	"context"
	"fmt"
	"slices"
	"time"

	"google.golang.org/api/compute/v1"

	"mctl/internal/controller/driver"
	"mctl/internal/controller/driver/google/cloud"
	"mctl/internal/controller/driver/google/rules"
	"mctl/internal/controller/driver/google/spec"
	"mctl/internal/fault"
)

// Config sets what tests need otherwise; the zero value is for use.
type Config = cloud.Config

// Driver makes instances. It keeps nothing but what can be asked for again.
type Driver struct {
	pool *cloud.Pool
	book *rules.Book
}

var (
	_ driver.Driver  = (*Driver)(nil)
	_ driver.Remover = (*Driver)(nil)
	_ driver.Lister  = (*Driver)(nil)
	_ driver.Planner = (*Driver)(nil)
	_ driver.Labeler = (*Driver)(nil)

	_ driver.Releaser = (*Driver)(nil)
)

// New returns a driver. Nothing is asked until a machine is.
func New(config Config) *Driver {
	pool := cloud.NewPool(config)
	return &Driver{pool: pool, book: rules.New(pool.Settle())}
}

// Info describes the driver. It is never chosen unasked, since it costs money.
func (d *Driver) Info() driver.Info {
	return driver.Info{Name: "google", Summary: "an instance on Google Compute Engine"}
}

// Flags is the schema of the create flags.
func (d *Driver) Flags() []driver.Flag { return spec.Flags() }

// Validate checks options without asking anybody.
func (d *Driver) Validate(opts driver.Options) error {
	_, err := spec.Parse(opts)
	return err
}

// call is one machine as one call sees it.
type call struct {
	*cloud.Client
	spec.Spec
	driver *Driver
	m      driver.Machine
}

// call reads the machine's options and finds the way to its project.
func (d *Driver) call(ctx context.Context, m driver.Machine) (*call, error) {
	s, err := spec.Parse(m.Options)
	if err != nil {
		return nil, err
	}
	s.OpenSwarm(m.Swarm.Manager)
	client, err := d.pool.Client(ctx, s.Place)
	if err != nil {
		return nil, err
	}
	return &call{Client: client, Spec: s, driver: d, m: m}, nil
}

// instance asks for the instance; fault.NotFound when there is none of that name.
func (c *call) instance(ctx context.Context) (*compute.Instance, error) {
	return cloud.Read(ctx, c.Client, func(ctx context.Context) (*compute.Instance, error) {
		return c.Instances.Get(c.Project, c.Zone, c.m.Name).Context(ctx).Do()
	})
}

// own asks for the instance, and does not take another's of the same name for it.
func (c *call) own(ctx context.Context) (*compute.Instance, error) {
	found, err := c.instance(ctx)
	if err == nil && !spec.Owns(c.m, found.Labels) {
		return nil, c.gone()
	}
	if fault.Is(err, fault.NotFound) {
		return nil, c.unseen(ctx)
	}
	return found, err
}

func (c *call) gone() error {
	return fault.E("google", fault.NotFound, c.m.Name, fmt.Errorf("the instance %q is gone from zone %s", c.m.Name, c.Zone))
}

// unseen tells a missing instance that is gone from one that is only not to be seen yet: its operation is under way, or has
// only just ended.
func (c *call) unseen(ctx context.Context) error {
	name := progressOf(c.m).Insert
	if name == "" {
		return c.gone()
	}
	op, err := c.Operation(ctx, c.Zone, name)
	if fault.Is(err, fault.NotFound) {
		return c.gone()
	}
	if err != nil {
		return err
	}
	if cloud.Ended(op) && (op.Error != nil || time.Now().After(c.settled(op))) {
		return c.gone()
	}
	return fault.E("google", fault.Unavailable, c.m.Name, fmt.Errorf("Google is still making the instance %q", c.m.Name)) //nolint:staticcheck // a name
}

// Inspect asks how the instance is.
func (d *Driver) Inspect(ctx context.Context, m driver.Machine) (driver.Instance, error) {
	c, err := d.call(ctx, m)
	if err != nil {
		return driver.Instance{}, err
	}
	found, err := c.own(ctx)
	if err != nil {
		return driver.Instance{}, err
	}
	return c.told(found), nil
}

// told is an instance as the controller wants it. The external address comes first unless clients shall use the internal one.
func (c *call) told(i *compute.Instance) driver.Instance {
	told := driver.Instance{ID: i.Name, Power: power(i.Status)}
	if told.Power != driver.Running {
		return told
	}
	var internal, external string
	for _, nic := range i.NetworkInterfaces {
		if internal == "" {
			internal = nic.NetworkIP
		}
		for _, access := range nic.AccessConfigs {
			if external == "" {
				external = access.NatIP
			}
		}
	}
	addresses := []string{external, internal}
	if c.Internal {
		addresses = []string{internal, external}
	}
	for _, address := range addresses {
		if address != "" {
			told.Addresses = append(told.Addresses, address)
		}
	}
	if len(told.Addresses) > 0 {
		told.SSH = driver.SSH{Address: told.Addresses[0], Port: 22, User: c.User}
	}
	return told
}

// complete reports whether an instance that runs has every address that it shall have.
func (c *call) complete(i *compute.Instance) bool {
	for _, nic := range i.NetworkInterfaces {
		if slices.ContainsFunc(nic.AccessConfigs, func(access *compute.AccessConfig) bool { return access.NatIP == "" }) {
			return false
		}
	}
	return len(c.told(i).Addresses) > 0
}

func power(status string) driver.Power {
	switch status {
	case "RUNNING":
		return driver.Running
	case "PROVISIONING", "STAGING", "PENDING", "REPAIRING":
		return driver.Starting
	case "STOPPING", "SUSPENDING", "PENDING_STOP", "DEPROVISIONING":
		return driver.Stopping
	case "TERMINATED", "STOPPED":
		return driver.Stopped
	case "SUSPENDED":
		return driver.Saved
	}
	return driver.Unknown
}

// Delete removes the instance and all that was made for it, and the firewall rules with the last machine that used them.
func (d *Driver) Delete(ctx context.Context, m driver.Machine) error {
	c, err := d.call(ctx, m)
	if err != nil {
		return err
	}
	d.book.Release(c.rulesPlace(), m.UID)
	if err := c.deleteInstance(ctx); err != nil {
		return err
	}
	if err := c.deleteDisk(ctx); err != nil {
		return err
	}
	if err := c.deleteAddress(ctx); err != nil {
		return err
	}
	return c.sweep(ctx)
}

// deleteInstance removes the instance, also one whose making is still under way.
func (c *call) deleteInstance(ctx context.Context) error {
	found, err := c.instance(ctx)
	if fault.Is(err, fault.NotFound) {
		if err := c.awaitPending(ctx, "zones/"+c.Zone, "instances", c.m.Name); err != nil {
			return err
		}
		found, err = c.instance(ctx)
	}
	if fault.Is(err, fault.NotFound) || err == nil && !spec.Owns(c.m, found.Labels) {
		return nil
	}
	if err != nil {
		return err
	}
	return gone(c.Act(ctx, "", func(ctx context.Context, id string) (*compute.Operation, error) {
		return c.Instances.Delete(c.Project, c.Zone, found.Name).RequestId(id).Context(ctx).Do()
	}))
}

// awaitPending waits for operations about something of ours: what they make must not appear after it was said to be gone.
func (c *call) awaitPending(ctx context.Context, scope, kind, name string) error {
	return c.AwaitPending(ctx, c.Project, scope, func(target cloud.Name) bool { return target.Kind == kind && target.Name == name })
}

// gone takes what is not there for what has been removed.
func gone(err error) error {
	if fault.Is(err, fault.NotFound) {
		return nil
	}
	return err
}

// next is what is to be done about an instance that was looked at.
type next int

const (
	wait  next = iota // it changes by itself
	again             // something was done, so look at once
	enough
)

// until looks at the instance until it is as wanted, which act says, and does something about. seen is how it was seen last; nil to look.
func (c *call) until(ctx context.Context, seen *compute.Instance, act func(ctx context.Context, i *compute.Instance) (next, error)) (*compute.Instance, error) {
	limited, cancel := context.WithTimeout(ctx, c.Limits.OperationLimit)
	defer cancel()
	status := "unseen"
	for {
		found, err := seen, error(nil)
		if seen = nil; found == nil {
			found, err = c.own(limited)
		}
		then := wait
		if err == nil {
			status = found.Status
			then, err = act(limited, found)
		}
		switch {
		case err == nil && then == enough:
			return found, nil
		case err == nil && then == wait:
			err = cloud.Pause(limited, c.Limits.Pause)
		}
		switch {
		case err == nil:
		case limited.Err() != nil && ctx.Err() == nil:
			return nil, fault.E("google", fault.Unavailable, c.m.Name, fmt.Errorf("the instance %q is still %s after %s", c.m.Name, status, c.Limits.OperationLimit)).
				WithHint("Google's console may say why")
		default:
			return nil, err
		}
	}
}
