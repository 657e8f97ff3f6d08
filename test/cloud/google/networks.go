package google

import (
	"context"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"google.golang.org/api/compute/v1"

	"mctl/test/cloud/lab"
)

// furnish makes the network that every project has from the start.
func (s *Server) furnish(ctx context.Context) error {
	setup := s.lab.Setup()
	for _, project := range s.config.Projects {
		network := lab.Ref{Scope: project + "/global", Name: "default"}
		doc := &compute.Network{Name: "default", Description: "Default network for the project", AutoCreateSubnetworks: true}
		begun := []func() (lab.Operation, error){func() (lab.Operation, error) {
			return setup.CreateNetwork(lab.Network{Record: lab.Record{Ref: network, Doc: doc}}, lab.Operation{})
		}}
		for _, region := range regions() {
			begun = append(begun, func() (lab.Operation, error) {
				return setup.CreateSubnet(autoSubnet(network, project, region), lab.Operation{})
			})
		}
		for _, f := range defaultFirewalls(project) {
			begun = append(begun, func() (lab.Operation, error) {
				rule, err := s.rule(project, f)
				if err != nil {
					return lab.Operation{}, err
				}
				return setup.CreateRule(rule, lab.Operation{})
			})
		}
		for _, begin := range begun {
			o, err := begin()
			if err != nil {
				return err
			}
			if o, err = s.lab.WaitOperation(ctx, o.Ref, s.config.WaitLimit); err != nil || o.Err != nil {
				return err
			}
		}
	}
	s.lab.Seal()
	return nil
}

func autoSubnet(network lab.Ref, project, region string) lab.Subnet {
	return lab.Subnet{
		Record:  lab.Record{Ref: lab.Ref{Scope: project + "/regions/" + region, Name: network.Name}, Doc: &compute.Subnetwork{Name: network.Name}},
		Network: network,
	}
}

func networkPath(ref lab.Ref) string { return "projects/" + ref.Scope + "/networks/" + ref.Name }

func (s *Server) showNetwork(n lab.Network) *compute.Network {
	shown := *n.Doc.(*compute.Network)
	shown.Kind, shown.Id, shown.SelfLink = "compute#network", n.ID, link(networkPath(n.Ref))
	shown.SelfLinkWithId = link("projects/" + n.Scope + "/networks/" + number(n.ID))
	shown.RoutingConfig = &compute.NetworkRoutingConfig{RoutingMode: "REGIONAL"}
	if shown.CreationTimestamp == "" {
		shown.CreationTimestamp = born
	}
	for _, sub := range s.lab.Subnets() {
		if sub.Network == n.Ref {
			shown.Subnetworks = append(shown.Subnetworks, link("projects/"+sub.Scope+"/subnetworks/"+sub.Name))
		}
	}
	return &shown
}

func showSubnet(s lab.Subnet) *compute.Subnetwork {
	shown := *s.Doc.(*compute.Subnetwork)
	shown.Kind, shown.Id, shown.SelfLink = "compute#subnetwork", s.ID, link("projects/"+s.Scope+"/subnetworks/"+s.Name)
	shown.Network, shown.Region = link(networkPath(s.Network)), link("projects/"+s.Scope)
	shown.IpCidrRange, shown.GatewayAddress = s.Range.String(), s.Range.Masked().Addr().Next().String()
	shown.Fingerprint, shown.StackType, shown.Purpose = fingerprint(s.ID), "IPV4_ONLY", "PRIVATE"
	if shown.CreationTimestamp == "" {
		shown.CreationTimestamp = born
	}
	return &shown
}

func (s *Server) getNetwork(q *request) (any, error) {
	n, err := s.lab.Network(q.ref())
	if err != nil {
		return nil, err
	}
	return s.showNetwork(n), nil
}

func (s *Server) listNetworks(q *request) (any, error) {
	return list(s, q, "compute#networkList", each(within(s.lab.Networks(), q.scope()), s.showNetwork))
}

func (s *Server) insertNetwork(q *request) (any, error) {
	doc, err := decode[compute.Network](q)
	if err != nil {
		return nil, err
	}
	if doc.IPv4Range != "" {
		return nil, invalid("resource.IPv4Range", doc.IPv4Range, "Legacy networks cannot be made any more.")
	}
	doc.CreationTimestamp = now()
	ref := lab.Ref{Scope: q.scope(), Name: doc.Name}
	return s.begin(q, networkPath(ref), func(o lab.Operation) (lab.Operation, error) {
		begun, err := q.call.CreateNetwork(lab.Network{Record: lab.Record{Ref: ref, Doc: doc}}, o)
		if err != nil || !doc.AutoCreateSubnetworks {
			return begun, err
		}
		for _, region := range regions() {
			if _, err := s.lab.Setup().CreateSubnet(autoSubnet(ref, q.path["project"], region), lab.Operation{}); err != nil {
				return begun, err
			}
		}
		return begun, nil
	})
}

// deleteNetwork removes a network with the subnets that it made by itself.
func (s *Server) deleteNetwork(q *request) (any, error) {
	n, err := s.lab.Network(q.ref())
	if err != nil {
		return nil, err
	}
	return s.begin(q, networkPath(n.Ref), func(o lab.Operation) (lab.Operation, error) {
		for _, sub := range s.lab.Subnets() {
			if sub.Network != n.Ref || !n.Doc.(*compute.Network).AutoCreateSubnetworks {
				continue
			}
			removed, err := s.lab.Setup().DeleteSubnet(sub.Ref, lab.Operation{})
			if err == nil {
				_, err = s.lab.WaitOperation(q.Context(), removed.Ref, s.config.WaitLimit)
			}
			if err != nil {
				return o, err
			}
		}
		return q.call.DeleteNetwork(n.Ref, o)
	})
}

func (s *Server) getSubnet(q *request) (any, error) {
	sub, err := s.lab.Subnet(q.ref())
	if err != nil {
		return nil, err
	}
	return showSubnet(sub), nil
}

func (s *Server) listSubnets(q *request) (any, error) {
	if q.path["region"] == "" {
		return aggregated(s, q, "compute#subnetworkAggregatedList", "subnetworks", each(within(s.lab.Subnets(), q.path["project"]), showSubnet))
	}
	return list(s, q, "compute#subnetworkList", each(within(s.lab.Subnets(), q.scope()), showSubnet))
}

func (s *Server) insertSubnet(q *request) (any, error) {
	doc, err := decode[compute.Subnetwork](q)
	if err != nil {
		return nil, err
	}
	network, err := s.network(q, "resource.network", doc.Network)
	if err != nil {
		return nil, err
	}
	wish, err := netip.ParsePrefix(doc.IpCidrRange)
	if err != nil || !wish.Addr().Is4() || wish != wish.Masked() {
		return nil, invalid("resource.ipCidrRange", doc.IpCidrRange, "Must be a valid IPv4 range.")
	}
	doc.CreationTimestamp = now()
	ref := lab.Ref{Scope: q.scope(), Name: doc.Name}
	return s.begin(q, "projects/"+ref.Scope+"/subnetworks/"+ref.Name, func(o lab.Operation) (lab.Operation, error) {
		return q.call.CreateSubnet(lab.Subnet{Record: lab.Record{Ref: ref, Doc: doc}, Network: network.Ref, Range: wish}, o)
	})
}

func (s *Server) deleteSubnet(q *request) (any, error) {
	return s.begin(q, q.resource(), func(o lab.Operation) (lab.Operation, error) { return q.call.DeleteSubnet(q.ref(), o) })
}

// network follows a reference to a network; an empty one is to "default".
func (s *Server) network(q *request, field, reference string) (lab.Network, error) {
	if reference == "" {
		reference = "global/networks/default"
	}
	values := follow(parseLink(reference, q.path["project"]), "projects/*/global/networks/*")
	if values == nil {
		return lab.Network{}, invalid(field, reference, "The URL is malformed.")
	}
	ref := lab.Ref{Scope: values[0] + "/global", Name: values[1]}
	n, err := s.lab.Network(ref)
	if err != nil {
		return n, &apiError{Code: http.StatusNotFound, Reason: "notFound", Message: "The resource '" + networkPath(ref) + "' was not found"}
	}
	return n, nil
}

// subnet follows the references of a network interface.
func (s *Server) subnet(q *request, n *compute.NetworkInterface) (lab.Subnet, error) {
	const field = "resource.networkInterfaces[0]."
	project, region := q.path["project"], regionOf(q.path["zone"])
	if n.Subnetwork != "" {
		values := follow(parseLink(n.Subnetwork, project), "projects/*/regions/*/subnetworks/*")
		if values == nil {
			return lab.Subnet{}, invalid(field+"subnetwork", n.Subnetwork, "The URL is malformed.")
		}
		if values[1] != region {
			return lab.Subnet{}, invalid(field+"subnetwork", n.Subnetwork, "The referenced subnetwork resource cannot be in another region than the instance.")
		}
		ref := lab.Ref{Scope: values[0] + "/regions/" + values[1], Name: values[2]}
		sub, err := s.lab.Subnet(ref)
		if err != nil {
			return sub, notFound("projects/" + ref.Scope + "/subnetworks/" + ref.Name)
		}
		if n.Network != "" && !strings.HasSuffix(parseLink(n.Network, project), networkPath(sub.Network)) {
			return sub, invalid(field+"subnetwork", n.Subnetwork, "The subnetwork does not belong to the network.")
		}
		return sub, nil
	}
	network, err := s.network(q, field+"network", n.Network)
	if err != nil {
		return lab.Subnet{}, err
	}
	all := s.lab.Subnets()
	i := slices.IndexFunc(all, func(sub lab.Subnet) bool {
		return sub.Network == network.Ref && sub.Scope == project+"/regions/"+region
	})
	if i < 0 || !network.Doc.(*compute.Network).AutoCreateSubnetworks {
		return lab.Subnet{}, invalid(field+"subnetwork", "", "Network interface must specify a subnet if the network resource is in custom subnet mode.")
	}
	return all[i], nil
}
