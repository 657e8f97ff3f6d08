package google

import (
	"strconv"

	"google.golang.org/api/compute/v1"

	"mctl/test/cloud/lab"
)

func instancePath(ref lab.Ref) string { return "projects/" + ref.Scope + "/instances/" + ref.Name }

// status is what the API calls a state.
func status(state lab.State) string {
	switch state {
	case lab.Pending:
		return "STAGING"
	case lab.Running:
		return "RUNNING"
	case lab.Stopped:
		return "TERMINATED"
	default:
		return "STOPPING"
	}
}

// showInstance is an instance as the API shows it: what was asked for, and what has become of it.
func showInstance(i lab.Instance) *compute.Instance {
	shown := *i.Doc.(*compute.Instance)
	shown.Kind, shown.Id, shown.Status = "compute#instance", i.ID, status(i.State)
	shown.SelfLink, shown.Zone = link(instancePath(i.Ref)), link("projects/"+i.Scope)
	shown.CreationTimestamp, shown.LastStartTimestamp, shown.LastStopTimestamp = stamp(i.Created), stamp(i.Started), stamp(i.Stopped)
	shown.LabelFingerprint, shown.Fingerprint = fingerprint(shown.Labels), fingerprint([]any{shown.Labels, shown.Tags, shown.Metadata, i.State})
	if shown.CpuPlatform = ""; i.State == lab.Running {
		shown.CpuPlatform = "Intel Broadwell"
	}
	shown.Disks = nil
	for n, a := range i.Disks {
		described := *i.Doc.(*compute.Instance).Disks[n]
		described.AutoDelete, described.Index, described.ForceSendFields = a.AutoDelete, int64(n), []string{"AutoDelete", "Boot", "Index"}
		shown.Disks = append(shown.Disks, &described)
	}
	nic := *shown.NetworkInterfaces[0]
	nic.NetworkIP, nic.Network, nic.Subnetwork = i.Private.String(), link(networkPath(i.Network)), link("projects/"+i.Subnet.Scope+"/subnetworks/"+i.Subnet.Name)
	nic.AccessConfigs = nil
	for _, a := range shown.NetworkInterfaces[0].AccessConfigs {
		access := *a
		if access.NatIP = ""; i.Public.IsValid() {
			access.NatIP = i.Public.String()
		}
		nic.AccessConfigs = append(nic.AccessConfigs, &access)
	}
	nic.Fingerprint = fingerprint([]any{nic.NetworkIP, nic.AccessConfigs})
	shown.NetworkInterfaces = []*compute.NetworkInterface{&nic}
	return &shown
}

func (s *Server) getInstance(q *request) (any, error) {
	i, err := s.lab.Instance(q.Context(), q.ref())
	if err != nil {
		return nil, err
	}
	return showInstance(i), nil
}

func (s *Server) listInstances(q *request) (any, error) {
	all := s.lab.Instances(q.Context())
	if q.path["zone"] == "" {
		return aggregated(s, q, "compute#instanceAggregatedList", "instances", each(within(all, q.path["project"]), showInstance))
	}
	return list(s, q, "compute#instanceList", each(within(all, q.scope()), showInstance))
}

func (s *Server) deleteInstance(q *request) (any, error) {
	return s.begin(q, instancePath(q.ref()), func(o lab.Operation) (lab.Operation, error) {
		if i, err := s.lab.Instance(q.Context(), q.ref()); err == nil && i.Doc.(*compute.Instance).DeletionProtection {
			return o, invalid("resource.deletionProtection", i.Name, "Resource cannot be deleted if it's protected against deletion.")
		}
		return q.call.DeleteInstance(q.ref(), o)
	})
}

func (s *Server) startInstance(q *request) (any, error) {
	return s.begin(q, instancePath(q.ref()), func(o lab.Operation) (lab.Operation, error) { return q.call.StartInstance(q.ref(), o) })
}

func (s *Server) stopInstance(q *request) (any, error) {
	force := q.query.Get("noGracefulShutdown") == "true"
	return s.begin(q, instancePath(q.ref()), func(o lab.Operation) (lab.Operation, error) { return q.call.StopInstance(q.ref(), force, o) })
}

func (s *Server) resetInstance(q *request) (any, error) {
	return s.begin(q, instancePath(q.ref()), func(o lab.Operation) (lab.Operation, error) { return q.call.ResetInstance(q.ref(), o) })
}

// getSerialPortOutput is what the host has said from a position on. Only port 1 says anything.
func (s *Server) getSerialPortOutput(q *request) (any, error) {
	i, err := s.lab.Instance(q.Context(), q.ref())
	if err != nil {
		return nil, err
	}
	start, _ := strconv.Atoi(q.query.Get("start"))
	console := ""
	if port := q.query.Get("port"); port == "" || port == "1" {
		console = s.lab.Console(i.ID)
	}
	start = min(max(0, start), len(console))
	return &compute.SerialPortOutput{
		Kind: "compute#serialPortOutput", SelfLink: link(q.resource() + "/serialPort"), Contents: console[start:],
		Start: int64(start), Next: int64(len(console)), ForceSendFields: []string{"Contents", "Start", "Next"},
	}, nil
}

// change begins an operation that changes an instance's description.
func (s *Server) change(q *request, apply func(*compute.Instance) error) (any, error) {
	return s.begin(q, instancePath(q.ref()), func(o lab.Operation) (lab.Operation, error) {
		return q.call.UpdateInstance(q.ref(), o, func(i *lab.Instance) error {
			doc := *i.Doc.(*compute.Instance)
			if err := apply(&doc); err != nil {
				return err
			}
			i.Doc, i.Guest = &doc, guest(&doc, s.projectMetadata(q.path["project"]))
			if i.Tags = nil; doc.Tags != nil {
				i.Tags = doc.Tags.Items
			}
			return nil
		})
	})
}

func (s *Server) setTags(q *request) (any, error) {
	body, err := decode[compute.Tags](q)
	if err != nil {
		return nil, err
	}
	return s.change(q, func(i *compute.Instance) error {
		err := fresh("Tags", body.Fingerprint, i.Tags.Fingerprint)
		i.Tags = completeTags(body)
		return err
	})
}

func (s *Server) setLabels(q *request) (any, error) {
	body, err := decode[compute.InstancesSetLabelsRequest](q)
	if err == nil {
		err = checkLabels(body.Labels)
	}
	if err != nil {
		return nil, err
	}
	return s.change(q, func(i *compute.Instance) error {
		err := fresh("Labels", body.LabelFingerprint, fingerprint(i.Labels))
		i.Labels = body.Labels
		return err
	})
}

func (s *Server) setMetadata(q *request) (any, error) {
	body, err := decode[compute.Metadata](q)
	if err != nil {
		return nil, err
	}
	complete, err := completeMetadata(body)
	if err != nil {
		return nil, err
	}
	return s.change(q, func(i *compute.Instance) error {
		err := fresh("Metadata", body.Fingerprint, i.Metadata.Fingerprint)
		i.Metadata = complete
		return err
	})
}

func (s *Server) setScheduling(q *request) (any, error) {
	return s.change(q, func(i *compute.Instance) error {
		merged, err := merge(i.Scheduling, q.body)
		if err != nil {
			return err
		}
		changed := *i
		changed.Scheduling = merged
		if err := completeScheduling(&changed, merged.AutomaticRestart); err != nil {
			return err
		}
		i.Scheduling = merged
		return nil
	})
}

func (s *Server) setDeletionProtection(q *request) (any, error) {
	on := q.query.Get("deletionProtection") != "false" // its default is true
	return s.change(q, func(i *compute.Instance) error {
		i.DeletionProtection = on
		return nil
	})
}

func completeTags(t *compute.Tags) *compute.Tags {
	complete := &compute.Tags{}
	if t != nil {
		complete.Items = t.Items
	}
	complete.Fingerprint = fingerprint(complete.Items)
	return complete
}
