package google

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"google.golang.org/api/compute/v1"

	"mctl/test/cloud/lab"
)

// defaultFirewalls are the rules that a project's default network has from the start.
func defaultFirewalls(project string) []*compute.Firewall {
	network := link("projects/" + project + "/global/networks/default")
	rule := func(name, source string, allowed ...*compute.FirewallAllowed) *compute.Firewall {
		return &compute.Firewall{
			Name: name, Network: network, Priority: 65534, Direction: "INGRESS", SourceRanges: []string{source}, Allowed: allowed, CreationTimestamp: born,
			LogConfig: &compute.FirewallLogConfig{ForceSendFields: []string{"Enable"}}, ForceSendFields: []string{"Disabled"},
		}
	}
	return []*compute.Firewall{
		rule("default-allow-icmp", "0.0.0.0/0", &compute.FirewallAllowed{IPProtocol: "icmp"}),
		rule("default-allow-internal", "10.128.0.0/9", &compute.FirewallAllowed{IPProtocol: "tcp", Ports: []string{"0-65535"}},
			&compute.FirewallAllowed{IPProtocol: "udp", Ports: []string{"0-65535"}}, &compute.FirewallAllowed{IPProtocol: "icmp"}),
		rule("default-allow-rdp", "0.0.0.0/0", &compute.FirewallAllowed{IPProtocol: "tcp", Ports: []string{"3389"}}),
		rule("default-allow-ssh", "0.0.0.0/0", &compute.FirewallAllowed{IPProtocol: "tcp", Ports: []string{"22"}}),
	}
}

func firewallPath(ref lab.Ref) string { return "projects/" + ref.Scope + "/firewalls/" + ref.Name }

func showFirewall(r lab.Rule) *compute.Firewall {
	shown := *r.Doc.(*compute.Firewall)
	shown.Kind, shown.Id, shown.SelfLink = "compute#firewall", r.ID, link(firewallPath(r.Ref))
	return &shown
}

func (s *Server) getFirewall(q *request) (any, error) {
	r, err := s.lab.Rule(q.ref())
	if err != nil {
		return nil, err
	}
	return showFirewall(r), nil
}

func (s *Server) listFirewalls(q *request) (any, error) {
	return list(s, q, "compute#firewallList", each(within(s.lab.Rules(), q.scope()), showFirewall))
}

func (s *Server) insertFirewall(q *request) (any, error) {
	doc, err := decode[compute.Firewall](q)
	if err != nil {
		return nil, err
	}
	network, err := s.network(q, "resource.network", doc.Network)
	if err != nil {
		return nil, err
	}
	doc.Network, doc.CreationTimestamp = link(networkPath(network.Ref)), now()
	if _, given := fields(json.RawMessage(q.body))["priority"]; !given {
		doc.Priority = 1000
	}
	rule, err := s.rule(q.path["project"], doc)
	if err != nil {
		return nil, err
	}
	return s.begin(q, firewallPath(rule.Ref), func(o lab.Operation) (lab.Operation, error) { return q.call.CreateRule(rule, o) })
}

func (s *Server) deleteFirewall(q *request) (any, error) {
	return s.begin(q, firewallPath(q.ref()), func(o lab.Operation) (lab.Operation, error) { return q.call.DeleteRule(q.ref(), o) })
}

// changeFirewall serves patch, which keeps what the body does not name, and update, which does not.
func (s *Server) changeFirewall(q *request) (any, error) {
	return s.begin(q, firewallPath(q.ref()), func(o lab.Operation) (lab.Operation, error) {
		return q.call.UpdateRule(q.ref(), o, func(r *lab.Rule) error {
			before := r.Doc.(*compute.Firewall)
			doc, err := decode[compute.Firewall](q)
			if err == nil && q.Method == "PATCH" {
				doc, err = merge(before, q.body)
			}
			if err != nil {
				return err
			}
			if doc.Name != before.Name || doc.Network != "" && last(doc.Network) != last(before.Network) {
				return invalid("resource", doc.Name, "The name and the network of a firewall cannot be changed.")
			}
			doc.Network, doc.CreationTimestamp = before.Network, before.CreationTimestamp
			changed, err := s.rule(q.path["project"], doc)
			if err == nil {
				changed.Record.ID = r.ID
				*r = changed
			}
			return err
		})
	})
}

// rule is a firewall as the lab enforces it. It completes the doc.
func (s *Server) rule(project string, f *compute.Firewall) (lab.Rule, error) {
	r := lab.Rule{
		Record: lab.Record{Ref: lab.Ref{Scope: project + "/global", Name: f.Name}, Doc: f}, Priority: int(f.Priority), Disabled: f.Disabled,
		SourceTags: f.SourceTags, Targets: f.TargetTags, Allow: len(f.Allowed) > 0,
	}
	values := follow(parseLink(f.Network, project), "projects/*/global/networks/*")
	r.Network = lab.Ref{Scope: values[0] + "/global", Name: values[1]}
	switch {
	case f.Direction == "EGRESS":
		return r, invalid("resource.direction", f.Direction, "The lab does not enforce rules for what goes out.")
	case len(f.SourceServiceAccounts)+len(f.TargetServiceAccounts)+len(f.DestinationRanges) > 0:
		return r, invalid("resource", f.Name, "The lab does not enforce rules by service account or destination.")
	case len(f.Allowed) > 0 && len(f.Denied) > 0:
		return r, invalid("resource.denied", f.Name, "Cannot specify both allowed and denied.")
	case len(f.Allowed)+len(f.Denied) == 0:
		return r, invalid("resource.allowed", "", "Must specify at least one of allowed or denied.")
	case f.Priority < 0 || f.Priority > 65535:
		return r, invalid("resource.priority", strconv.FormatInt(f.Priority, 10), "Must be between 0 and 65535.")
	}
	f.Direction = "INGRESS"
	if f.LogConfig == nil {
		f.LogConfig = &compute.FirewallLogConfig{ForceSendFields: []string{"Enable"}}
	}
	if f.ForceSendFields = []string{"Disabled"}; len(f.SourceRanges)+len(f.SourceTags) == 0 {
		f.SourceRanges = []string{"0.0.0.0/0"}
	}
	for i, text := range f.SourceRanges {
		source, err := netip.ParsePrefix(text)
		if address, single := netip.ParseAddr(text); single == nil {
			source, err = netip.PrefixFrom(address, address.BitLen()), nil
		}
		if err != nil || source != source.Masked() {
			return r, invalid(fmt.Sprintf("resource.sourceRanges[%d]", i), text, "Must be a valid CIDR range.")
		}
		r.Sources = append(r.Sources, source)
	}
	for i, a := range f.Allowed {
		pass, err := traffic(fmt.Sprintf("resource.allowed[%d]", i), a.IPProtocol, a.Ports)
		if err != nil {
			return r, err
		}
		r.Traffic = append(r.Traffic, pass)
	}
	for i, d := range f.Denied {
		pass, err := traffic(fmt.Sprintf("resource.denied[%d]", i), d.IPProtocol, d.Ports)
		if err != nil {
			return r, err
		}
		r.Traffic = append(r.Traffic, pass)
	}
	return r, nil
}

// traffic is a protocol with ports.
func traffic(field, protocol string, ports []string) (lab.Pass, error) {
	pass := lab.Pass{Protocol: strings.ToLower(protocol)}
	switch pass.Protocol {
	case "all":
		pass.Protocol = ""
	case "tcp", "udp", "icmp":
	case "":
		return pass, invalid(field+".IPProtocol", protocol, "Required.")
	default:
		return pass, invalid(field+".IPProtocol", protocol, "The lab knows tcp, udp, icmp and all.")
	}
	if len(ports) > 0 && pass.Protocol != "tcp" && pass.Protocol != "udp" {
		return pass, invalid(field+".ports", ports[0], "Ports may only be specified on rules for tcp and udp.")
	}
	for i, text := range ports {
		from, to, ranged := strings.Cut(text, "-")
		if !ranged {
			to = from
		}
		first, err := strconv.ParseUint(from, 10, 16)
		end, errEnd := strconv.ParseUint(to, 10, 16)
		if err != nil || errEnd != nil || first > end {
			return pass, invalid(fmt.Sprintf("%s.ports[%d]", field, i), text, "Must be a port or a range of ports.")
		}
		pass.Ports = append(pass.Ports, lab.Ports{First: uint16(first), Last: uint16(end)})
	}
	return pass, nil
}

func now() string { return stamp(time.Now()) }
