package google

import (
	"context"
	"maps"
	"path"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/api/compute/v1"

	"mctl/internal/controller/driver/google/cloud"
	"mctl/internal/controller/driver/google/spec"
	"mctl/internal/fault"
)

// rules knows which firewall rules machines are being made for, so that the removal of the last machine does not take them away from the
// next one. It is about one process alone: what was made is asked for anew.
type rules struct {
	mu     sync.Mutex
	held   map[hold]time.Time   // until when; the zero time while it is made
	seen   map[string]time.Time // when a rule was last seen to be there
	making sync.Map             // semaphore by rule: each is made or swept by one call at a time
}

// hold is a machine that is being made, and where its rules are.
type hold struct {
	controller, uid, endpoint, project string
}

// ruleKey tells rules of all clouds apart.
func (c *call) ruleKey(rule *compute.Firewall) string {
	return c.Place.Endpoint + " " + c.Network.Project + "/" + rule.Name
}

func (c *call) hold() hold {
	return hold{c.m.ControllerID, c.m.UID, c.Place.Endpoint, c.Network.Project}
}

// semaphore is a lock that a context can give up on.
type semaphore chan struct{}

func (r *rules) lock(ctx context.Context, key string) (unlock func(), err error) {
	found, _ := r.making.LoadOrStore(key, make(semaphore, 1))
	sem := found.(semaphore)
	select {
	case <-ctx.Done():
		return nil, fault.E("google", fault.Unavailable, "", ctx.Err())
	case sem <- struct{}{}:
		return func() { <-sem }, nil
	}
}

// use keeps the controller's rules while a machine is made and for as long afterwards as it may be missing from lists.
func (r *rules) use(c *call) (done func()) {
	key := c.hold()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.held[key] = time.Time{}
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.held[key] = time.Now().Add(c.Limits.Settle)
		maps.DeleteFunc(r.held, func(_ hold, until time.Time) bool { return !until.IsZero() && until.Before(time.Now()) })
	}
}

// others reports whether another machine of the controller is being made or was only just made.
func (r *rules) others(c *call) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	mine := c.hold()
	delete(r.held, mine)
	for key, until := range r.held {
		key.uid = mine.uid
		if key == mine && (until.IsZero() || until.After(time.Now())) {
			return true
		}
	}
	return false
}

// ensureRules makes the machine's rules where they are missing.
func (c *call) ensureRules(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, rule := range c.Rules(c.m.ControllerID) {
		group.Go(func() error { return c.ensureRule(ctx, rule) })
	}
	return group.Wait()
}

func (c *call) ensureRule(ctx context.Context, rule *compute.Firewall) error {
	r, key := &c.driver.rules, c.ruleKey(rule)
	unlock, err := r.lock(ctx, key)
	if err != nil {
		return err
	}
	defer unlock()
	r.mu.Lock()
	fresh := time.Since(r.seen[key]) < c.Limits.Settle
	r.mu.Unlock()
	if fresh {
		return nil
	}
	_, err = cloud.Read(ctx, c.Client, func(ctx context.Context) (*compute.Firewall, error) {
		return c.Firewalls.Get(c.Network.Project, rule.Name).Context(ctx).Do()
	})
	if fault.Is(err, fault.NotFound) {
		err = c.Act(ctx, "", func(ctx context.Context, id string) (*compute.Operation, error) {
			return c.Firewalls.Insert(c.Network.Project, rule).RequestId(id).Context(ctx).Do()
		})
	}
	if err != nil && !fault.Is(err, fault.Exists) {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen[key] = time.Now()
	return nil
}

// sweep removes those of the controller's rules that no machine uses any more.
func (c *call) sweep(ctx context.Context) error {
	if c.driver.rules.others(c) || len(c.SourceRanges) == 0 {
		return nil
	}
	if err := c.AwaitPending(ctx, c.Network.Project, "global", func(target cloud.Name) bool {
		return target.Kind == "firewalls" && spec.NamedFor(target.Name, c.m.ControllerID)
	}); err != nil {
		return err
	}
	unused, err := c.unusedRules(ctx)
	if err != nil {
		return err
	}
	for _, rule := range unused {
		if err := c.removeUnused(ctx, rule); err != nil {
			return err
		}
	}
	return nil
}

// removeUnused removes a rule after a second look, while no call of this controller makes it.
func (c *call) removeUnused(ctx context.Context, rule *compute.Firewall) error {
	r, key := &c.driver.rules, c.ruleKey(rule)
	unlock, err := r.lock(ctx, key)
	if err != nil {
		return err
	}
	defer unlock()
	if r.others(c) {
		return nil
	}
	unused, err := c.unusedRules(ctx)
	if err != nil || !slices.ContainsFunc(unused, func(u *compute.Firewall) bool { return u.Name == rule.Name }) {
		return err
	}
	r.mu.Lock()
	delete(r.seen, key)
	r.mu.Unlock()
	return c.deleteRule(ctx, rule.Name)
}

func (c *call) deleteRule(ctx context.Context, name string) error {
	return gone(c.Act(ctx, "", func(ctx context.Context, id string) (*compute.Operation, error) {
		return c.Firewalls.Delete(c.Network.Project, name).RequestId(id).Context(ctx).Do()
	}))
}

// unusedRules lists the controller's rules whose tag no instance of the controller carries in the rule's network.
func (c *call) unusedRules(ctx context.Context) ([]*compute.Firewall, error) {
	all, err := c.FirewallsOf(ctx, c.Network.Project)
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(rule *compute.Firewall) bool { return !spec.OfController(rule, c.m.ControllerID) })
	if len(all) == 0 {
		return nil, nil
	}
	instances, err := c.InstancesWith(ctx, spec.LabelController, c.m.ControllerID)
	if err != nil {
		return nil, err
	}
	instances = slices.DeleteFunc(instances, func(i *compute.Instance) bool { return i.Labels[spec.LabelMachine] == c.m.UID })
	there := map[string]bool{} // whether a listed instance really is, by its URL
	var unused []*compute.Firewall
	for _, rule := range all {
		used, err := c.used(ctx, rule, instances, there)
		if err != nil {
			return nil, err
		}
		if !used {
			unused = append(unused, rule)
		}
	}
	return unused, nil
}

func (c *call) used(ctx context.Context, rule *compute.Firewall, instances []*compute.Instance, there map[string]bool) (bool, error) {
	for _, i := range instances {
		if i.Tags == nil || !slices.ContainsFunc(rule.TargetTags, func(tag string) bool { return slices.Contains(i.Tags.Items, tag) }) ||
			!slices.ContainsFunc(i.NetworkInterfaces, func(nic *compute.NetworkInterface) bool {
				return spec.SameNetwork(nic.Network, rule.Network)
			}) {
			continue
		}
		is, known := there[i.SelfLink]
		if !known {
			// Lists may still name what is gone, and two machines removed at once must not each leave the rule to the other.
			_, err := cloud.Read(ctx, c.Client, func(ctx context.Context) (*compute.Instance, error) {
				return c.Instances.Get(c.Project, path.Base(i.Zone), i.Name).Context(ctx).Do()
			})
			if err != nil && !fault.Is(err, fault.NotFound) {
				return false, err
			}
			is = err == nil
			there[i.SelfLink] = is
		}
		if is {
			return true, nil
		}
	}
	return false, nil
}
