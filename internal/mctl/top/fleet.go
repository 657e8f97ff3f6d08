package top

import (
	"context"
	"slices"
	"sync"
	"time"

	"mctl/internal/fault"
	"mctl/internal/mctl/cli"
	"mctl/internal/mctl/output"
	controllerv1 "mctl/proto/mctl/controller/v1"
)

// pause is between two attempts to watch.
const pause = time.Second

// fleet is the machines as the newest words of a watch have them.
type fleet struct {
	env     *cli.Env
	names   []string      // empty for all
	changed chan struct{} // something is to be shown anew

	mu     sync.Mutex
	rows   []*row // by name
	synced bool   // the picture has been complete
	broken error  // why nothing comes in
}

func newFleet(env *cli.Env, names []string) *fleet {
	return &fleet{env: env, names: names, changed: make(chan struct{}, 1)}
}

// follow keeps the fleet up to date over broken streams, until the context ends or there is no hope.
func (f *fleet) follow(ctx context.Context) error {
	for {
		err := f.watch(ctx, func(*controllerv1.Machine) bool { return true })
		switch {
		case ctx.Err() != nil:
			return nil //nolint:nilerr // nobody watches any more
		case !fault.Is(err, fault.Unavailable) && !fault.Is(err, fault.Resync):
			return err
		case fault.Is(err, fault.Unavailable):
			f.fail(err)
		}
		again := time.NewTimer(pause)
		select {
		case <-ctx.Done():
		case <-again.C:
		}
		again.Stop()
	}
}

// watch takes one stream in: the whole picture first, which replaces what there was when it is complete, then changes. goOn is
// asked with nil when the picture is complete, and ends it.
func (f *fleet) watch(ctx context.Context, goOn func(*controllerv1.Machine) bool) error {
	client, err := f.env.Client(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := client.Machines.WatchMachines(ctx, &controllerv1.WatchMachinesRequest{
		Names: f.names, Health: true, View: controllerv1.MachineView_MACHINE_VIEW_LIVE,
	})
	if err != nil {
		return err
	}
	var picture []*row
	for {
		change, err := stream.Recv()
		if err != nil {
			return err
		}
		m := change.GetMachine()
		switch change.GetType() {
		case controllerv1.WatchMachinesResponse_TYPE_SNAPSHOT:
			if f.wants(m.GetName()) {
				picture = place(picture, rowOf(m))
			}
		case controllerv1.WatchMachinesResponse_TYPE_SYNCED:
			f.update(func() { f.rows, f.synced, f.broken, picture = picture, true, nil, nil })
		case controllerv1.WatchMachinesResponse_TYPE_CHANGED:
			if f.wants(m.GetName()) {
				f.update(func() { f.rows = place(f.rows, rowOf(m)) })
			}
		case controllerv1.WatchMachinesResponse_TYPE_DELETED:
			f.update(func() { f.rows = remove(f.rows, output.Line(m.GetName())) })
		case controllerv1.WatchMachinesResponse_TYPE_UNSPECIFIED:
		}
		if !goOn(m) {
			return nil
		}
	}
}

// wants is for controllers of an older build, which send all machines.
func (f *fleet) wants(name string) bool { return len(f.names) == 0 || slices.Contains(f.names, name) }

func (f *fleet) fail(err error) { f.update(func() { f.broken = err }) }

func (f *fleet) update(change func()) {
	f.mu.Lock()
	change()
	f.mu.Unlock()
	select {
	case f.changed <- struct{}{}:
	default:
	}
}

// shown is the present rows in an order, in the buffer where that is large enough.
func (f *fleet) shown(buffer []*row, o order) (rows []*row, synced bool, broken error) {
	f.mu.Lock()
	rows, synced, broken = append(buffer[:0], f.rows...), f.synced, f.broken
	f.mu.Unlock()
	o.sort(rows)
	return rows, synced, broken
}

func find(rows []*row, name string) (at int, there bool) {
	return slices.BinarySearchFunc(rows, name, func(r *row, name string) int {
		if c := output.NaturalCompare(r.name, name); c != 0 || r.name == name {
			return c
		}
		if r.name < name { // such as web1 and web01
			return -1
		}
		return 1
	})
}

func place(rows []*row, r *row) []*row {
	at, there := find(rows, r.name)
	if there {
		rows[at] = r
		return rows
	}
	return slices.Insert(rows, at, r)
}

func remove(rows []*row, name string) []*row {
	if at, there := find(rows, name); there {
		return slices.Delete(rows, at, at+1)
	}
	return rows
}
