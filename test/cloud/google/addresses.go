package google

import (
	"google.golang.org/api/compute/v1"

	"mctl/test/cloud/lab"
)

func addressPath(ref lab.Ref) string { return "projects/" + ref.Scope + "/addresses/" + ref.Name }

func showAddress(a lab.Address) *compute.Address {
	shown := *a.Doc.(*compute.Address)
	shown.Kind, shown.Id, shown.Name, shown.Address, shown.Status = "compute#address", a.ID, a.Name, a.IP.String(), "RESERVED"
	shown.SelfLink, shown.Region = link(addressPath(a.Ref)), link("projects/"+a.Scope)
	shown.LabelFingerprint = fingerprint(shown.Labels)
	if (a.User != lab.Ref{}) {
		shown.Status, shown.Users = "IN_USE", []string{link(instancePath(a.User))}
	}
	return &shown
}

func (s *Server) getAddress(q *request) (any, error) {
	a, err := s.lab.Address(q.ref())
	if err != nil {
		return nil, err
	}
	return showAddress(a), nil
}

func (s *Server) listAddresses(q *request) (any, error) {
	if q.path["region"] == "" {
		return aggregated(s, q, "compute#addressAggregatedList", "addresses", each(within(s.lab.Addresses(), q.path["project"]), showAddress))
	}
	return list(s, q, "compute#addressList", each(within(s.lab.Addresses(), q.scope()), showAddress))
}

func (s *Server) insertAddress(q *request) (any, error) {
	doc, err := decode[compute.Address](q)
	if err != nil {
		return nil, err
	}
	switch {
	case doc.AddressType != "" && doc.AddressType != "EXTERNAL":
		return nil, invalid("resource.addressType", doc.AddressType, "The lab reserves external addresses only.")
	case doc.IpVersion == "IPV6":
		return nil, invalid("resource.ipVersion", doc.IpVersion, "The lab has no IPv6.")
	case doc.Address != "":
		return nil, invalid("resource.address", doc.Address, "The address is not in use by this project.")
	}
	if err := checkLabels(doc.Labels); err != nil {
		return nil, err
	}
	if doc.AddressType = "EXTERNAL"; doc.NetworkTier == "" {
		doc.NetworkTier = "PREMIUM"
	}
	doc.CreationTimestamp = now()
	ref := lab.Ref{Scope: q.scope(), Name: doc.Name}
	return s.begin(q, addressPath(ref), func(o lab.Operation) (lab.Operation, error) {
		return q.call.ReserveAddress(lab.Address{Record: lab.Record{Ref: ref, Doc: doc}}, o)
	})
}

func (s *Server) deleteAddress(q *request) (any, error) {
	return s.begin(q, addressPath(q.ref()), func(o lab.Operation) (lab.Operation, error) { return q.call.ReleaseAddress(q.ref(), o) })
}

func (s *Server) setAddressLabels(q *request) (any, error) {
	body, err := decode[compute.RegionSetLabelsRequest](q)
	if err == nil {
		err = checkLabels(body.Labels)
	}
	if err != nil {
		return nil, err
	}
	return s.begin(q, addressPath(q.ref()), func(o lab.Operation) (lab.Operation, error) {
		return q.call.UpdateAddress(q.ref(), o, func(a *lab.Address) error {
			doc := *a.Doc.(*compute.Address)
			err := fresh("Labels", body.LabelFingerprint, fingerprint(doc.Labels))
			doc.Labels = body.Labels
			a.Doc = &doc
			return err
		})
	})
}
