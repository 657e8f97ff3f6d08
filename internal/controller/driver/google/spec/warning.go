package spec

import (
	"fmt"
	"slices"
	"strings"

	"google.golang.org/api/compute/v1"
)

// Warnings say what will likely be missed where a project has these firewall rules: tags that no rule of the network matches, and a
// network where nothing lets SSH in.
func (s *Spec) Warnings(controllerID string, all []*compute.Firewall) []string {
	ingress := slices.DeleteFunc(slices.Clone(all), func(rule *compute.Firewall) bool {
		return rule.Disabled || rule.Direction == "EGRESS" || len(rule.Allowed) == 0 || !SameNetwork(rule.Network, s.Network.Path())
	})
	var lines []string
	for _, tag := range s.Tags {
		if !slices.ContainsFunc(ingress, func(rule *compute.Firewall) bool { return slices.Contains(rule.TargetTags, tag) }) {
			lines = append(lines, fmt.Sprintf("no ingress rule of network %s matches the tag %s; if you cannot connect, check the firewall", s.Network.Name, tag))
		}
	}
	if !slices.ContainsFunc(ingress, s.letsSSHIn(controllerID)) {
		lines = append(lines, fmt.Sprintf("no ingress rule of network %s lets SSH in; if the machine cannot be reached, check the firewall", s.Network.Name))
	}
	return lines
}

func (s *Spec) letsSSHIn(controllerID string) func(*compute.Firewall) bool {
	tags := s.AllTags(controllerID)
	return func(rule *compute.Firewall) bool {
		if len(rule.TargetTags) > 0 && !slices.ContainsFunc(rule.TargetTags, func(tag string) bool { return slices.Contains(tags, tag) }) {
			return false
		}
		return slices.ContainsFunc(rule.Allowed, func(allowed *compute.FirewallAllowed) bool {
			if allowed.IPProtocol == "all" {
				return true
			}
			// Ranges are rare, and a warning too few does no harm.
			return (allowed.IPProtocol == "tcp" || allowed.IPProtocol == "6") &&
				(len(allowed.Ports) == 0 || slices.ContainsFunc(allowed.Ports, func(p string) bool { return p == "22" || strings.Contains(p, "-") }))
		})
	}
}
