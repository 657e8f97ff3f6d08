package fake

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"mctl/internal/controller/driver"
	"mctl/internal/fault"
)

const (
	flagDelay = "fake-delay"
	flagFail  = "fake-fail"
)

// Driver makes instances in a cloud. They have no SSH: a machine on them is running as soon as it is made.
type Driver struct{ cloud *Cloud }

// New returns a driver over a cloud.
func New(cloud *Cloud) *Driver { return &Driver{cloud: cloud} }

// Info describes the driver.
func (d *Driver) Info() driver.Info {
	return driver.Info{Name: "fake", Summary: "a record in the controller's memory, for tests and benchmarks"}
}

// Flags is the schema of the create flags.
func (d *Driver) Flags() []driver.Flag {
	return []driver.Flag{
		{Name: flagDelay, Env: "FAKE_DELAY", Type: driver.Int, Kind: driver.Value, Usage: "Milliseconds that making the host takes", Default: []string{"0"}},
		{Name: flagFail, Type: driver.StringList, Kind: driver.Value, Usage: "An act that always fails, and how, such as create=quota"},
	}
}

// Validate checks options.
func (d *Driver) Validate(opts driver.Options) error {
	if opts.Int(flagDelay) < 0 {
		return refuse(flagDelay, errors.New("a delay cannot be negative"))
	}
	for _, text := range opts.Strings(flagFail) {
		act, kind, _ := strings.Cut(text, "=")
		if !slices.Contains([]Op{Preflight, Create, Inspect, Delete, Start, Stop}, Op(act)) {
			return refuse(flagFail, fmt.Errorf("there is no act %q", act))
		}
		if !slices.Contains([]fault.Kind{fault.Quota, fault.Unavailable, fault.Denied, fault.Precondition, fault.Internal}, fault.Kind(kind)) {
			return refuse(flagFail, fmt.Errorf("there is no kind of fault %q", kind))
		}
	}
	return nil
}

func refuse(flag string, err error) error {
	return fault.E("fake.Validate", fault.Invalid, flag, fmt.Errorf("--%s: %w", flag, err)).
		WithHint("give --" + flag + " as its help says").WithReason(fault.ReasonUsage)
}

// told returns the fault that the machine's own options ask for.
func told(op Op, m driver.Machine) error {
	for _, text := range m.Options.Strings(flagFail) {
		if act, kind, _ := strings.Cut(text, "="); Op(act) == op {
			return fault.E("fake."+act, fault.Kind(kind), m.Name, fmt.Errorf("%s was told to fail at %s", m.Name, act))
		}
	}
	return nil
}

// act does something with the machine's instance; fault.NotFound when there is none.
func (d *Driver) act(ctx context.Context, op Op, m driver.Machine, do func(*instance)) (driver.Instance, error) {
	if err := told(op, m); err != nil {
		return driver.Instance{}, err
	}
	return d.cloud.act(ctx, op, m, func() (driver.Instance, error) {
		found, ok := d.cloud.instances[m.UID]
		if !ok {
			return driver.Instance{}, fault.E("fake."+string(op), fault.NotFound, m.Name, fmt.Errorf("the host of %q is gone", m.Name))
		}
		do(found)
		return found.seen(), nil
	})
}

// seen is the instance as the driver tells it.
func (i *instance) seen() driver.Instance {
	seen := driver.Instance{ID: i.id, Power: i.power, State: []byte(`{"version":1}`)}
	if i.power == driver.Running {
		seen.Addresses = []string{i.address.String()}
	}
	return seen
}

// Preflight says whether there is room.
func (d *Driver) Preflight(ctx context.Context, m driver.Machine) error {
	if err := told(Preflight, m); err != nil {
		return err
	}
	_, err := d.cloud.act(ctx, Preflight, m, func() (driver.Instance, error) { return driver.Instance{}, d.cloud.room(m.UID) })
	return err
}

// room is fault.Quota when no instance more may be made. c.mu is held.
func (c *Cloud) room(uid string) error {
	if _, there := c.instances[uid]; !there && c.capacity > 0 && len(c.instances) >= c.capacity {
		return fault.E("fake", fault.Quota, "", fmt.Errorf("the fake cloud has room for %d instances", c.capacity)).WithHint("remove one")
	}
	return nil
}

// Create makes the instance or finds it.
func (d *Driver) Create(ctx context.Context, m driver.Machine) (driver.Instance, error) {
	if err := told(Create, m); err != nil {
		return driver.Instance{}, err
	}
	if delay := m.Options.Int(flagDelay); delay > 0 {
		timer := time.NewTimer(time.Duration(delay) * time.Millisecond)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return driver.Instance{}, ctx.Err()
		}
	}
	return d.cloud.act(ctx, Create, m, func() (driver.Instance, error) {
		c := d.cloud
		if err := c.room(m.UID); err != nil {
			return driver.Instance{}, err
		}
		found, ok := c.instances[m.UID]
		if !ok {
			if c.instances == nil {
				c.instances = map[string]*instance{}
			}
			found = &instance{id: "fake-" + strconv.Itoa(int(c.handed)+1), controller: m.ControllerID}
			c.instances[m.UID] = found
		}
		if found.power != driver.Running && found.power != driver.Starting {
			c.boot(found, m.Name)
		}
		return found.seen(), nil
	})
}

// Inspect asks how the instance is.
func (d *Driver) Inspect(ctx context.Context, m driver.Machine) (driver.Instance, error) {
	return d.act(ctx, Inspect, m, func(*instance) {})
}

// Delete removes the instance.
func (d *Driver) Delete(ctx context.Context, m driver.Machine) error {
	if err := told(Delete, m); err != nil {
		return err
	}
	_, err := d.cloud.act(ctx, Delete, m, func() (driver.Instance, error) {
		delete(d.cloud.instances, m.UID)
		return driver.Instance{}, nil
	})
	return err
}

// Start turns the instance on.
func (d *Driver) Start(ctx context.Context, m driver.Machine) (driver.Instance, error) {
	return d.act(ctx, Start, m, func(found *instance) {
		if found.power == driver.Stopped {
			d.cloud.boot(found, m.Name)
		}
	})
}

// Stop turns the instance off.
func (d *Driver) Stop(ctx context.Context, m driver.Machine, _ bool) (driver.Instance, error) {
	return d.act(ctx, Stop, m, func(found *instance) { found.power = driver.Stopped })
}

// List lists a controller's instances.
func (d *Driver) List(_ context.Context, m driver.Machine) ([]driver.Resource, error) {
	d.cloud.mu.Lock()
	defer d.cloud.mu.Unlock()
	var found []driver.Resource
	for uid, i := range d.cloud.instances {
		if i.controller == m.ControllerID {
			found = append(found, driver.Resource{Kind: "instance", ID: i.seen().ID, Machine: uid})
		}
	}
	slices.SortFunc(found, func(a, b driver.Resource) int { return strings.Compare(a.ID, b.ID) })
	return found, nil
}

// Remove removes one instance.
func (d *Driver) Remove(ctx context.Context, m driver.Machine, r driver.Resource) error {
	m.UID, m.Name = r.Machine, r.ID
	d.cloud.mu.Lock()
	found, ok := d.cloud.instances[r.Machine]
	d.cloud.mu.Unlock()
	if ok && found.controller != m.ControllerID {
		return fault.New("fake.Remove", fault.Denied, r.ID, r.ID+" was made by another controller")
	}
	return d.Delete(ctx, m)
}
