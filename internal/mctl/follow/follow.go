// Package follow watches a machine until a wish has come true and says meanwhile what is going on. It changes nothing: who
// stops following stops no work.
package follow

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"mctl/internal/fault"
	"mctl/internal/mctl/dial"
	"mctl/internal/mctl/output"
	controllerv1 "mctl/proto/mctl/controller/v1"
)

const (
	// answerLimit is how long a stream may take to its first message, a new start of the controller included.
	answerLimit = 30 * time.Second
	// maxFailures is how often in a row a broken stream is opened again.
	maxFailures = 5
	// drainLimit is how long the last events may take.
	drainLimit = 2 * time.Second
	// pause is between two attempts to open a broken stream.
	pause = 200 * time.Millisecond
)

// Goal is what is waited for.
type Goal struct {
	Name string
	UID  string // empty for whatever machine has the name
	// Generation must be reached, or, with Deleted, the record must be gone.
	Generation uint64
	Deleted    bool
	// Since is when the wish was made, to tell its events from older ones.
	Since time.Time
	// Words are the lines for a phase, by its name in lower case.
	Words map[string][]string
	// Alone says that no other machine's lines stand beside these, so that a phase's line needs no name in front.
	Alone    bool
	Progress output.Progress
}

// ErrGone says that the record went while something else was waited for.
var ErrGone = errors.New("was removed meanwhile")

func gone(name string) error {
	return fault.E("follow", fault.NotFound, name, fmt.Errorf("machine %q %w", name, ErrGone))
}

// Machine returns the machine when the goal is reached: nil for one that is deleted. A machine that is parked is its
// failure, with its hint. The end of ctx is ctx's error.
func Machine(ctx context.Context, client *dial.Client, goal Goal) (*controllerv1.Machine, error) {
	telling, cancel := context.WithCancel(ctx)
	defer cancel()
	var seen uint64
	var group errgroup.Group
	group.Go(func() error { seen = tell(telling, client, goal); return nil })
	m, err := watch(ctx, client, goal)
	cancel()
	_ = group.Wait()
	drain(ctx, client, goal, seen)
	return m, err
}

// drain shows the events that were on their way when the goal was reached.
func drain(ctx context.Context, client *dial.Client, goal Goal, seen uint64) {
	ctx, cancel := context.WithTimeout(ctx, drainLimit)
	defer cancel()
	stream, err := client.Events.WatchEvents(ctx, &controllerv1.WatchEventsRequest{Machine: goal.Name, AfterSequence: seen})
	for err == nil {
		var response *controllerv1.WatchEventsResponse
		if response, err = stream.Recv(); err == nil {
			show(goal, response.GetEvent())
		}
	}
}

// watch follows the record, over broken streams and restarts of the controller.
func watch(ctx context.Context, client *dial.Client, goal Goal) (*controllerv1.Machine, error) {
	for failures := 0; ; {
		m, progressed, err := watchOnce(ctx, client, goal)
		switch {
		case ctx.Err() != nil:
			return m, ctx.Err()
		case progressed:
			failures = 0
		default:
			failures++
		}
		again := fault.Is(err, fault.Resync) || fault.Is(err, fault.Unavailable) && !isParked(err)
		if !again || failures >= maxFailures {
			return m, err
		}
		if err := wait(ctx, pause); err != nil {
			return m, err
		}
	}
}

// watchOnce follows the record over one stream. progressed says that the stream worked for a while.
func watchOnce(ctx context.Context, client *dial.Client, goal Goal) (m *controllerv1.Machine, progressed bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	unanswered := time.AfterFunc(answerLimit, cancel)
	defer unanswered.Stop()
	stream, err := client.Machines.WatchMachines(ctx, &controllerv1.WatchMachinesRequest{Name: goal.Name})
	for found := false; err == nil; {
		var change *controllerv1.WatchMachinesResponse
		if change, err = stream.Recv(); err != nil {
			break
		}
		unanswered.Stop()
		progressed = true
		went := false
		switch change.GetType() {
		case controllerv1.WatchMachinesResponse_TYPE_DELETED:
			went = goal.UID == "" || change.GetMachine().GetUid() == "" || change.GetMachine().GetUid() == goal.UID
		case controllerv1.WatchMachinesResponse_TYPE_SYNCED:
			went = !found
		default:
			if change.GetMachine().GetName() != goal.Name {
				continue // it names files here, so the controller has no say in it
			}
			m, found = change.GetMachine(), true
			went = goal.UID != "" && m.GetUid() != goal.UID // the name was taken by another one
		}
		switch {
		case went && goal.Deleted:
			return nil, true, nil
		case went:
			return nil, true, gone(goal.Name)
		case !found || m == nil:
		case m.GetStatus().GetFailure() != nil && m.GetGeneration() >= goal.Generation:
			return m, true, parkedFault(m)
		case !goal.Deleted && m.GetStatus().GetObservedGeneration() >= goal.Generation:
			return m, true, nil
		}
	}
	if errors.Is(err, context.Canceled) {
		err = fault.New("follow.watch", fault.Unavailable, goal.Name, "the controller does not answer").WithHint("see `mctl controller logs`")
	}
	return m, progressed, err
}

// parked is a machine's own failure, as opposed to one of the connection.
type parked struct{ message string }

func (p parked) Error() string { return p.message }

func isParked(err error) bool {
	var p parked
	return errors.As(err, &p)
}

func parkedFault(m *controllerv1.Machine) error {
	f := m.GetStatus().GetFailure()
	return fault.E("follow", fault.Kind(f.GetKind()), m.GetName(), parked{f.GetMessage()}).WithHint(f.GetHint())
}

// tell shows the events of a wish as they come, over broken streams, until ctx ends. It returns the last one's sequence.
func tell(ctx context.Context, client *dial.Client, goal Goal) (seen uint64) {
	for failures := 0; failures < maxFailures && ctx.Err() == nil; failures++ {
		stream, err := client.Events.WatchEvents(ctx, &controllerv1.WatchEventsRequest{Machine: goal.Name, AfterSequence: seen, Follow: true})
		for err == nil {
			var response *controllerv1.WatchEventsResponse
			if response, err = stream.Recv(); err == nil {
				seen, failures = response.GetEvent().GetSequence(), 0
				show(goal, response.GetEvent())
			}
		}
		if ctx.Err() == nil && (fault.Is(err, fault.Resync) || fault.Is(err, fault.Unavailable)) {
			seen = 0 // a controller that was started anew counts from the start
		}
		_ = wait(ctx, pause)
	}
	return seen
}

func show(goal Goal, e *controllerv1.Event) {
	if goal.UID != "" && e.GetMachineUid() != goal.UID {
		return
	}
	if generation, err := strconv.ParseUint(e.GetAttributes()["generation"], 10, 64); err == nil {
		if generation < goal.Generation {
			return
		}
	} else if e.GetTime().AsTime().Before(goal.Since) {
		return
	}
	switch e.GetType() {
	case "PHASE_CHANGED":
		for _, line := range goal.Words[strings.ToLower(e.GetMessage())] {
			goal.Progress.Step(line)
		}
	case "PROGRESS":
		if line := e.GetMessage(); goal.Alone && isPhaseLine(line) {
			goal.Progress.Step(line)
		} else {
			goal.Progress.Step(fmt.Sprintf("(%s) %s", goal.Name, line))
		}
	}
}

// isPhaseLine tells a line about the whole machine, written as docker-machine wrote its own, from what a host reports.
func isPhaseLine(line string) bool {
	return strings.HasSuffix(line, "...") && line[0] >= 'A' && line[0] <= 'Z'
}

func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
