package controllertest

import (
	"slices"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"mctl/internal/fault"
	controllerv1 "mctl/proto/mctl/controller/v1"
	tunnelv1 "mctl/proto/mctl/tunnel/v1"
)

func (c *Controller) WatchMachines(r *controllerv1.WatchMachinesRequest, stream grpc.ServerStreamingServer[controllerv1.WatchMachinesResponse]) error {
	seen := map[string]*controllerv1.Machine{}
	for first := true; ; first = false {
		c.mu.Lock()
		wake, gone := c.wake, slices.Clone(c.removed)
		var changes []*controllerv1.WatchMachinesResponse
		for _, m := range gone {
			if !first && seen[m.GetName()].GetUid() == m.GetUid() && c.machines[m.GetName()].GetUid() != m.GetUid() {
				changes = append(changes, &controllerv1.WatchMachinesResponse{
					Type: controllerv1.WatchMachinesResponse_TYPE_DELETED, Machine: &controllerv1.Machine{Name: m.GetName(), Uid: m.GetUid()},
				})
				delete(seen, m.GetName())
			}
		}
		for _, name := range c.names() {
			if m := c.machines[name]; (r.GetName() == "" || r.GetName() == name) && m != seen[name] {
				kind := controllerv1.WatchMachinesResponse_TYPE_CHANGED
				if first {
					kind = controllerv1.WatchMachinesResponse_TYPE_SNAPSHOT
				}
				changes = append(changes, &controllerv1.WatchMachinesResponse{Type: kind, Machine: proto.CloneOf(m)})
				seen[name] = m
			}
		}
		c.mu.Unlock()
		if first {
			changes = append(changes, &controllerv1.WatchMachinesResponse{Type: controllerv1.WatchMachinesResponse_TYPE_SYNCED})
		}
		for _, change := range changes {
			if err := stream.Send(change); err != nil {
				return err
			}
		}
		select {
		case <-stream.Context().Done():
			return stream.Context().Err()
		case <-wake:
		}
	}
}

func (c *Controller) WatchEvents(r *controllerv1.WatchEventsRequest, stream grpc.ServerStreamingServer[controllerv1.WatchEventsResponse]) error {
	for sent := int(r.GetAfterSequence()); ; {
		c.mu.Lock()
		wake, events := c.wake, slices.Clone(c.events[min(sent, len(c.events)):])
		c.mu.Unlock()
		for _, e := range events {
			sent++
			if r.GetMachine() != "" && r.GetMachine() != e.GetMachine() || len(r.GetTypes()) > 0 && !slices.Contains(r.GetTypes(), e.GetType()) {
				continue
			}
			if err := stream.Send(&controllerv1.WatchEventsResponse{Event: e}); err != nil {
				return err
			}
		}
		if !r.GetFollow() {
			return nil
		}
		select {
		case <-stream.Context().Done():
			return stream.Context().Err()
		case <-wake:
		}
	}
}

// OfferSigner lends the offer to Signer, as long as the caller lends it.
func (c *Controller) OfferSigner(stream grpc.BidiStreamingServer[controllerv1.OfferSignerRequest, controllerv1.OfferSignerResponse]) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	if err := stream.Send(&controllerv1.OfferSignerResponse{}); err != nil {
		return err
	}
	if c.Borrow != nil {
		c.Borrow(first.GetOffer(), func(ask *controllerv1.OfferSignerResponse) (*controllerv1.SignerAnswer, error) {
			if err := stream.Send(ask); err != nil {
				return nil, err
			}
			answer, err := stream.Recv()
			return answer.GetAnswer(), err
		})
	}
	<-stream.Context().Done()
	return nil
}

// OpenTunnel hands a tunnel to Tunnel.
func (c *Controller) OpenTunnel(stream grpc.BidiStreamingServer[controllerv1.OpenTunnelRequest, controllerv1.OpenTunnelResponse]) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	if c.Tunnel == nil {
		return fault.New("controllertest", fault.Unavailable, first.GetStart().GetMachine(), "the agent is not connected").WithHint("wait")
	}
	hear := func() (*tunnelv1.Frame, error) {
		message, err := stream.Recv()
		return message.GetFrame(), err
	}
	return c.Tunnel(first.GetStart(), hear, func(frame *tunnelv1.Frame) error {
		return stream.Send(&controllerv1.OpenTunnelResponse{Frame: frame})
	})
}
