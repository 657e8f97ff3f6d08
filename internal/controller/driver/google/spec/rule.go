package spec

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/api/compute/v1"

	"mctl/internal/controller/driver/google/cloud"
)

// dockerPort is where the engine is served.
const dockerPort = "2376"

// swarmPorts are what the hosts of a swarm tell each other, as protocol and ports.
var swarmPorts = [][2]string{{"tcp", "2377"}, {"tcp", "7946"}, {"udp", "7946"}, {"udp", "4789"}}

// base is the tag of those of a controller's machines that open anything, and how the names of its rules begin.
func base(controllerID string) string { return "mctl-" + controllerID }

// Rules are the firewall rules of a controller's machine; none where nothing shall be opened. A rule is named after what it opens, so it is never changed, only made and removed: what
// somebody changed in it stays changed.
func (s *Spec) Rules(controllerID string) []*compute.Firewall {
	if len(s.SourceRanges) == 0 {
		return nil
	}
	network := s.Network.Path()
	allowed := s.allowed()
	tag := base(controllerID) + "-" + digest(network, fmt.Sprint(s.SourceRanges), fmt.Sprint(allowed))
	swarm := base(controllerID) + "-swarm-" + digest(network)
	about := LabelController + "=" + controllerID
	return []*compute.Firewall{
		{
			Name: prefixed(s.prefixes.external, tag), Network: network, Direction: "INGRESS", SourceRanges: s.SourceRanges, TargetTags: []string{tag},
			Allowed: rulesOf(allowed), Description: about + " lets clients reach Docker",
		}, {
			Name: prefixed(s.prefixes.internal, swarm), Network: network, Direction: "INGRESS", SourceTags: []string{base(controllerID)},
			TargetTags: []string{base(controllerID)}, Allowed: rulesOf(swarmPorts), Description: about + " lets hosts of a swarm reach each other",
		},
	}
}

// OpenSwarm has clients reach a port of a swarm's manager, too; zero is none.
func (s *Spec) OpenSwarm(port uint16) {
	if port != 0 {
		s.ports = append(s.ports, portRange{strconv.Itoa(int(port)), "tcp"})
	}
}

// allowed is what clients may reach, as protocol and ports, in an order of its own.
func (s *Spec) allowed() [][2]string {
	allowed := [][2]string{{"tcp", dockerPort}}
	for _, port := range s.ports {
		allowed = append(allowed, [2]string{port.protocol, port.ports})
	}
	slices.SortFunc(allowed, func(a, b [2]string) int { return strings.Compare(a[0]+a[1], b[0]+b[1]) })
	return slices.Compact(allowed)
}

func rulesOf(ports [][2]string) []*compute.FirewallAllowed {
	byProtocol := map[string][]string{}
	for _, port := range ports {
		byProtocol[port[0]] = append(byProtocol[port[0]], port[1])
	}
	var all []*compute.FirewallAllowed
	for _, protocol := range slices.Sorted(maps.Keys(byProtocol)) {
		all = append(all, &compute.FirewallAllowed{IPProtocol: protocol, Ports: byProtocol[protocol]})
	}
	return all
}

func digest(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return hex.EncodeToString(sum[:4])
}

func prefixed(prefix, name string) string {
	if prefix == "" {
		return name
	}
	return prefix + "-" + name
}

// AllTags are the machine's network tags: those of its rules and those asked for. One that opens nothing has none of ours, since a rule
// would open its ports, too, and stay for it.
func (s *Spec) AllTags(controllerID string) []string {
	var tags []string
	for _, rule := range s.Rules(controllerID) {
		tags = append(tags, rule.TargetTags...)
	}
	tags = append(tags, s.Tags...)
	slices.Sort(tags)
	return slices.Compact(tags)
}

// OfController reports whether a rule is one of a controller's.
func OfController(rule *compute.Firewall, controllerID string) bool {
	owner, _ := Described(rule.Description)
	return owner == controllerID && NamedFor(rule.Name, controllerID)
}

// NamedFor reports whether a rule's name says that it is one of a controller's.
func NamedFor(name, controllerID string) bool { return strings.Contains(name, base(controllerID)+"-") }

// SameNetwork reports whether two names are of one network.
func SameNetwork(a, b string) bool {
	one, other := cloud.Parse(a), cloud.Parse(b)
	return one.Name == other.Name && (one.Project == other.Project || one.Project == "" || other.Project == "")
}
