package google

import (
	"context"
	"fmt"
	"path"
	"slices"

	"golang.org/x/sync/errgroup"
	"google.golang.org/api/compute/v1"

	"mctl/internal/controller/driver/google/cloud"
	"mctl/internal/controller/driver/google/rules"
	"mctl/internal/controller/driver/google/spec"
	"mctl/internal/fault"
)

// rulesPlace is where the machine's rules are.
func (c *call) rulesPlace() rules.Place {
	return rules.Place{Controller: c.m.ControllerID, Endpoint: c.Place.Endpoint, Project: c.Network.Project}
}

func (c *call) inBook(name string) rules.Rule { return rules.Rule{Place: c.rulesPlace(), Name: name} }

// others reports whether another machine of the controller is being made or was only just made.
func (c *call) others() bool { return c.driver.book.Others(c.rulesPlace(), c.m.UID) }

// useRules keeps the machine's rules while it is made, where it has any.
func (c *call) useRules() (done func()) {
	if len(c.SourceRanges) == 0 {
		return func() {}
	}
	return c.driver.book.Use(c.rulesPlace(), c.m.UID)
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
	key := c.inBook(rule.Name)
	unlock, err := c.driver.book.Lock(ctx, key)
	if err != nil {
		return err
	}
	defer unlock()
	if c.driver.book.Fresh(key) {
		return nil
	}
	_, err = c.rule(ctx, rule.Name)
	if fault.Is(err, fault.NotFound) {
		err = c.Act(ctx, "", func(ctx context.Context, id string) (*compute.Operation, error) {
			return c.Firewalls.Insert(c.Network.Project, rule).RequestId(id).Context(ctx).Do()
		})
	}
	if err != nil && !fault.Is(err, fault.Exists) {
		return err
	}
	c.driver.book.See(key)
	return nil
}

// rule asks for a firewall rule; fault.NotFound when there is none of the name.
func (c *call) rule(ctx context.Context, name string) (*compute.Firewall, error) {
	return cloud.Read(ctx, c.Client, func(ctx context.Context) (*compute.Firewall, error) {
		return c.Firewalls.Get(c.Network.Project, name).Context(ctx).Do()
	})
}

// sweep removes those of the controller's rules that no machine uses any more.
func (c *call) sweep(ctx context.Context) error {
	if len(c.SourceRanges) == 0 {
		return nil
	}
	if err := c.learnNetwork(ctx); err != nil && !fault.Is(err, fault.Precondition) { // a subnetwork that is gone is no reason to stay
		return err
	}
	if c.others() {
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
	unlock, err := c.driver.book.Lock(ctx, c.inBook(rule.Name))
	if err != nil {
		return err
	}
	defer unlock()
	if c.others() {
		return nil
	}
	unused, err := c.unusedRules(ctx)
	if err != nil || !slices.ContainsFunc(unused, func(u *compute.Firewall) bool { return u.Name == rule.Name }) {
		return err
	}
	return c.deleteRule(ctx, rule.Name)
}

// removeOrphan removes a rule that no machine has, unless one is being made for which it is there.
func (c *call) removeOrphan(ctx context.Context, name string) error {
	unlock, err := c.driver.book.Lock(ctx, c.inBook(name))
	if err != nil {
		return err
	}
	defer unlock()
	found, err := c.rule(ctx, name)
	switch {
	case err != nil:
		return gone(err)
	case !spec.OfController(found, c.m.ControllerID):
		return foreign(kindRule, name)
	case c.others():
		return fault.E("google.Remove", fault.Conflict, name, fmt.Errorf("a machine is being made that may need firewall rule %s", name)).
			WithHint("look again when it is made")
	}
	return c.deleteRule(ctx, name)
}

// deleteRule removes a rule. The caller has its turn.
func (c *call) deleteRule(ctx context.Context, name string) error {
	c.driver.book.Forget(c.inBook(name))
	return gone(c.Act(ctx, "", func(ctx context.Context, id string) (*compute.Operation, error) {
		return c.Firewalls.Delete(c.Network.Project, name).RequestId(id).Context(ctx).Do()
	}))
}

// ourRules are the controller's rules: those that are listed, and the machine's own, which a list may not show yet.
func (c *call) ourRules(ctx context.Context) ([]*compute.Firewall, error) {
	all, err := c.FirewallsOf(ctx, c.Network.Project)
	if err != nil {
		return nil, err
	}
	for _, own := range c.Rules(c.m.ControllerID) {
		if slices.ContainsFunc(all, func(rule *compute.Firewall) bool { return rule.Name == own.Name }) {
			continue
		}
		found, err := c.rule(ctx, own.Name)
		if err == nil {
			all = append(all, found)
		} else if !fault.Is(err, fault.NotFound) {
			return nil, err
		}
	}
	return slices.DeleteFunc(all, func(rule *compute.Firewall) bool { return !spec.OfController(rule, c.m.ControllerID) }), nil
}

// unusedRules are the controller's rules whose tag no instance of the controller carries in the rule's network.
func (c *call) unusedRules(ctx context.Context) ([]*compute.Firewall, error) {
	all, err := c.ourRules(ctx)
	if err != nil || len(all) == 0 {
		return nil, err
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
