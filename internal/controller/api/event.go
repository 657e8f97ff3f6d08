package api

import (
	"slices"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	"mctl/internal/controller/event"
	controllerv1 "mctl/proto/mctl/controller/v1"
)

// eventService implements controllerv1.EventServiceServer.
type eventService struct {
	controllerv1.UnimplementedEventServiceServer
	server *Server
}

func (e *eventService) WatchEvents(r *controllerv1.WatchEventsRequest, stream grpc.ServerStreamingServer[controllerv1.WatchEventsResponse]) error {
	for happened, err := range e.server.config.Journal.Watch(stream.Context(), r.GetAfterSequence(), r.GetFollow()) {
		if err != nil {
			return err
		}
		if !wanted(r, happened) {
			continue
		}
		if err := stream.Send(&controllerv1.WatchEventsResponse{Event: eventMessage(happened)}); err != nil {
			return err
		}
	}
	return stream.Context().Err()
}

func wanted(r *controllerv1.WatchEventsRequest, e event.Event) bool {
	return (r.GetMachine() == "" || r.GetMachine() == e.Machine) &&
		(len(r.GetTypes()) == 0 || slices.Contains(r.GetTypes(), e.Type)) &&
		(r.GetSince() == nil || !e.Time.Before(r.GetSince().AsTime()))
}

func eventMessage(e event.Event) *controllerv1.Event {
	return &controllerv1.Event{
		Sequence: e.Sequence, Time: timestamppb.New(e.Time), Machine: e.Machine, MachineUid: e.UID, Type: e.Type,
		Message: e.Message, Attributes: e.Attributes,
	}
}
