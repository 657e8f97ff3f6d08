// Package fake is a driver whose hosts are records in memory, with faults on demand: for tests, and for measuring the
// controller without hosts.
package fake

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"mctl/internal/controller/driver"
	"mctl/internal/fault"
)

// Op is an act that may fail.
type Op string

// The acts, one for each method that asks the cloud.
const (
	Preflight Op = "preflight"
	Create    Op = "create"
	Inspect   Op = "inspect"
	Delete    Op = "delete"
	Start     Op = "start"
	Stop      Op = "stop"
)

// Failure is how an act fails.
type Failure struct {
	Kind  fault.Kind    // of the fault returned; empty to be slow only
	After bool          // act first: the answer is lost
	Delay time.Duration // how long the act takes; a context that ends meanwhile ends it
	Times int           // how many acts; zero counts as one
}

// Cloud has the instances. Drivers over the same cloud see the same ones, as controllers that come and go do. The zero
// value is an empty cloud without limits.
type Cloud struct {
	mu        sync.Mutex
	instances map[string]*instance // by the machine's UID
	failures  map[Op][]Failure
	mute      map[string]bool // names that never boot
	capacity  int
	fixed     bool
	handed    uint32 // addresses
}

type instance struct {
	id, controller string
	power          driver.Power
	address        netip.Addr
}

// Fail has the next acts of a kind fail, after those that were told before.
func (c *Cloud) Fail(op Op, failure Failure) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failures == nil {
		c.failures = map[Op][]Failure{}
	}
	c.failures[op] = append(c.failures[op], failure)
}

// Heal forgets every failure, limit and oddity.
func (c *Cloud) Heal() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failures, c.mute, c.capacity, c.fixed = nil, nil, 0, false
}

// Limit sets how many instances there may be; zero for any number. One more is fault.Quota.
func (c *Cloud) Limit(capacity int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.capacity = capacity
}

// NeverBoots has the instance of a machine's name stay Starting for ever.
func (c *Cloud) NeverBoots(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mute == nil {
		c.mute = map[string]bool{}
	}
	c.mute[name] = true
}

// KeepAddresses has instances keep their address through stop and start, which they do not otherwise.
func (c *Cloud) KeepAddresses() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fixed = true
}

// Vanish removes an instance behind the controller's back.
func (c *Cloud) Vanish(uid string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.instances, uid)
}

// List names everything there is, each as "instance ID of UID".
func (c *Cloud) List() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var found []string
	for _, uid := range slices.Sorted(maps.Keys(c.instances)) {
		found = append(found, fmt.Sprintf("instance %s of %s", c.instances[uid].id, uid))
	}
	return found
}

// act does something with the cloud, or fails as told.
func (c *Cloud) act(ctx context.Context, op Op, m driver.Machine, do func() (driver.Instance, error)) (driver.Instance, error) {
	failure := c.next(op)
	if failure.Delay > 0 {
		timer := time.NewTimer(failure.Delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
		}
	}
	if ctx.Err() != nil {
		return driver.Instance{}, ctx.Err()
	}
	broken := fault.E("fake."+string(op), failure.Kind, m.Name, fmt.Errorf("the fake cloud fails to %s %s", op, m.Name))
	if failure.Kind != "" && !failure.After {
		return driver.Instance{}, broken
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	made, err := do()
	if err == nil && failure.Kind != "" {
		return driver.Instance{}, broken
	}
	return made, err
}

func (c *Cloud) next(op Op) Failure {
	c.mu.Lock()
	defer c.mu.Unlock()
	waiting := c.failures[op]
	if len(waiting) == 0 {
		return Failure{}
	}
	failure := waiting[0]
	if waiting[0].Times--; waiting[0].Times <= 0 {
		c.failures[op] = waiting[1:]
	}
	return failure
}

// address gives the next address out, within 127.128.0.0/9: nobody but this computer answers there. c.mu is held.
func (c *Cloud) address() netip.Addr {
	c.handed = c.handed%(1<<17-2) + 1
	return netip.AddrFrom4([4]byte{127, 128 + byte(c.handed>>16), byte(c.handed >> 8), byte(c.handed)})
}

// boot turns an instance on. c.mu is held.
func (c *Cloud) boot(found *instance, name string) {
	found.power = driver.Running
	if c.mute[name] {
		found.power = driver.Starting
	}
	if !c.fixed || !found.address.IsValid() {
		found.address = c.address()
	}
}
