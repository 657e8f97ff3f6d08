package api

import (
	"context"
	"slices"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"

	machines "mctl/internal/controller/machine"
	"mctl/internal/controller/store"
	"mctl/internal/fault"
	controllerv1 "mctl/proto/mctl/controller/v1"
)

// WatchMachines sends the first picture, where one is asked for, then changes of records and of live facts alike.
func (m *machineService) WatchMachines(r *controllerv1.WatchMachinesRequest, stream grpc.ServerStreamingServer[controllerv1.WatchMachinesResponse]) error {
	ctx := stream.Context()
	beat, leave := m.server.live.join(r.GetHealth())
	defer leave()
	revision, err := versionOf(r.GetSinceResourceVersion())
	if err != nil {
		return err
	}
	if r.GetSinceResourceVersion() == "" {
		if revision, err = m.sendSnapshot(r, stream); err != nil {
			return err
		}
	}
	// Only one goroutine may send: the records' changes go through a channel to the one that also hears of live facts. It has
	// told of all records up to a revision.
	changes, from := make(chan machines.Change), revision
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		for change, err := range m.machines().Watch(ctx, from) {
			if err != nil {
				return err
			}
			select {
			case changes <- change:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return ctx.Err()
	})
	group.Go(func() error {
		for {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case change := <-changes:
				revision = change.Revision
				if err := m.sendChange(r, change, stream); err != nil {
					return err
				}
			case <-beat.wake:
				if err := m.sendLive(ctx, r, beat.take(), revision, stream); err != nil {
					return err
				}
			}
		}
	})
	return group.Wait()
}

func (m *machineService) sendSnapshot(r *controllerv1.WatchMachinesRequest, stream grpc.ServerStreamingServer[controllerv1.WatchMachinesResponse]) (store.Revision, error) {
	var all []*machines.Machine
	var revision store.Revision
	var err error
	if name := r.GetName(); name != "" && len(r.GetNames()) == 0 { // who follows one of a thousand needs no look at the rest
		all, revision, err = m.machines().ListOne(stream.Context(), name)
	} else {
		all, revision, err = m.machines().List(stream.Context())
	}
	if err != nil {
		return 0, err
	}
	for _, found := range all {
		if !asked(r, found.Name) {
			continue
		}
		if err := stream.Send(&controllerv1.WatchMachinesResponse{
			Type: controllerv1.WatchMachinesResponse_TYPE_SNAPSHOT, Machine: m.inView(r.GetView(), found), ResourceVersion: versionText(revision),
		}); err != nil {
			return 0, err
		}
	}
	return revision, stream.Send(&controllerv1.WatchMachinesResponse{
		Type: controllerv1.WatchMachinesResponse_TYPE_SYNCED, ResourceVersion: versionText(revision),
	})
}

func (m *machineService) sendChange(r *controllerv1.WatchMachinesRequest, change machines.Change, stream grpc.ServerStreamingServer[controllerv1.WatchMachinesResponse]) error {
	if !asked(r, change.Machine.Name) {
		return nil
	}
	message := &controllerv1.WatchMachinesResponse{
		Type: controllerv1.WatchMachinesResponse_TYPE_CHANGED, ResourceVersion: versionText(change.Revision),
	}
	if change.Deleted {
		message.Type = controllerv1.WatchMachinesResponse_TYPE_DELETED
		message.Machine = &controllerv1.Machine{Name: change.Machine.Name}
	} else {
		message.Machine = m.inView(r.GetView(), change.Machine)
	}
	return stream.Send(message)
}

// sendLive sends machines whose live facts changed. A record that is newer than what was told is left out: it follows as a
// change, in its turn, and brings its live facts along.
func (m *machineService) sendLive(ctx context.Context, r *controllerv1.WatchMachinesRequest, touched []string, told store.Revision, stream grpc.ServerStreamingServer[controllerv1.WatchMachinesResponse]) error {
	for _, n := range touched {
		if !asked(r, n) {
			continue
		}
		found, err := m.machines().Get(ctx, n)
		if fault.Is(err, fault.NotFound) {
			continue
		}
		if err != nil {
			return err
		}
		if found.Revision > told {
			continue
		}
		if err := stream.Send(&controllerv1.WatchMachinesResponse{
			Type: controllerv1.WatchMachinesResponse_TYPE_CHANGED, Machine: m.inView(r.GetView(), found),
		}); err != nil {
			return err
		}
	}
	return nil
}

func asked(r *controllerv1.WatchMachinesRequest, name string) bool {
	all := r.GetName() == "" && len(r.GetNames()) == 0
	return all || name == r.GetName() || slices.Contains(r.GetNames(), name)
}
